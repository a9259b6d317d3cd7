// System calls that a signal interrupts or that do less than they were asked to. Regular files
// hardly ever do so, network file systems do: so this binary has calls of its own in the place of
// libc's.
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <string>

#include <catch2/catch.hpp>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "env/file_systems.h"
#include "env/file_util.h"
#include "support/or_fail.h"

namespace {

std::atomic<bool> troubled{false};
std::atomic<int> calls{0};
std::atomic<int> device_errors{0};  // that many syncs fail

// Every other call is interrupted, and the others move at most seven bytes.
bool Interrupted() {
  if (!troubled || ++calls % 2 == 0) return false;
  errno = EINTR;
  return true;
}
size_t Allowed(size_t count) { return troubled ? std::min<size_t>(count, 7) : count; }

}  // namespace

extern "C" ssize_t pread(int fd, void* to, size_t count, off_t position) {
  if (Interrupted()) return -1;
  return ::syscall(SYS_pread64, fd, to, Allowed(count), position);
}
extern "C" ssize_t pwrite(int fd, const void* from, size_t count, off_t position) {
  if (Interrupted()) return -1;
  return ::syscall(SYS_pwrite64, fd, from, Allowed(count), position);
}
extern "C" int fdatasync(int fd) {
  if (Interrupted()) return -1;
  if (device_errors > 0) {
    --device_errors;
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

namespace millrace {
namespace {

struct Troubled {
  Troubled() { troubled = true; }
  ~Troubled() { troubled = false; }
};

TEST_CASE("short and interrupted calls are completed", "[env][posix]") {
  const TemporaryDirectory directory;
  FileSystem& files = *FileSystem::Real();
  const auto file = OrFail(files.Open(JoinPath(directory.path(), "a"), OpenMode::kCreate));
  const std::string text = "a text that is longer than seven bytes";
  std::string read(100, '?');
  const Troubled trouble;
  OrFail(file->WriteAt(3, AsBytes(text)));
  OrFail(file->Sync());
  const size_t count = OrFail(file->ReadAt(3, std::as_writable_bytes(std::span(read))));
  CHECK(read.substr(0, count) == text);
}

TEST_CASE("a failed sync is reported and not repeated", "[env][posix]") {
  const TemporaryDirectory directory;
  FileSystem& files = *FileSystem::Real();
  const std::string path = JoinPath(directory.path(), "a");
  const auto file = OrFail(files.Open(path, OpenMode::kCreate));
  device_errors = 1;
  const Status status = file->Sync();
  device_errors = 0;
  CHECK(ErrorIdOf(status) == ErrorId::kIoError);
  CHECK_THAT(status.ToString(), Catch::Contains("sync of " + path));
}

}  // namespace
}  // namespace millrace
