#include "env/file_systems.h"

#include <stdlib.h>

#include <catch2/catch.hpp>

#include "env/file_util.h"
#include "millrace/testing/simulated_disk.h"
#include "support/or_fail.h"

namespace millrace {

TemporaryDirectory::TemporaryDirectory() {
  const char* const base = ::getenv("TMPDIR");
  path_ = JoinPath(base == nullptr ? "/tmp" : base, "millrace-env-XXXXXX");
  REQUIRE(::mkdtemp(path_.data()) != nullptr);
}

TemporaryDirectory::~TemporaryDirectory() {
  const Status removed = RemoveTree(*FileSystem::Real(), path_);
  if (!removed.ok()) WARN(removed.ToString());
}

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
