#include "env/file_systems.h"

#include "env/file_util.h"
#include "millrace/testing/simulated_disk.h"

namespace millrace {

FileSystemUnderTest MakeFileSystem(const std::string& name) {
  if (name == "memory") return {.name = name, .files = NewMemoryFileSystem(), .root = "root"};
  if (name == "simulated") {
    return {.name = name, .files = std::make_shared<testing::SimulatedDisk>(), .root = "/root"};
  }
  auto directory = std::make_shared<TemporaryDirectory>();
  return {.name = name,
          .files = FileSystem::Real(),
          .root = JoinPath(directory->path(), "root"),
          .directory = directory};
}

}  // namespace millrace
