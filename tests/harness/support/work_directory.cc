#include "harness/support/work_directory.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "harness/support/fatal.h"

namespace millrace::harness {

std::string MakeWorkDirectory(const std::string& name, Place place) {
  const bool memory = place == Place::kMemory && ::access("/dev/shm", W_OK) == 0;
  const std::string base = memory ? "/dev/shm" : std::filesystem::temp_directory_path().string();
  std::string path = fmt::format("{}/millrace-{}-XXXXXX", base, name);
  if (::mkdtemp(path.data()) == nullptr) Fatal("{}: {}", path, std::strerror(errno));
  return path;
}

}  // namespace millrace::harness
