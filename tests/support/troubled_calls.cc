#include "support/troubled_calls.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <utility>

namespace millrace {
namespace {

using Call = TroubledCalls::Call;

std::atomic<const TroubledCalls::Rule*> current{nullptr};

// Whether the call may be made; at most `count` bytes are to be moved then.
bool May(Call call, size_t* count) {
  const TroubledCalls::Rule* const rule = current;
  if (rule == nullptr) return true;
  const TroubledCalls::Outcome outcome = (*rule)(call, *count);
  *count = std::min(*count, outcome.at_most);
  if (outcome.error != 0) errno = outcome.error;
  return outcome.error == 0;
}
bool May(Call call) {
  size_t count = 0;
  return May(call, &count);
}

}  // namespace

TroubledCalls::TroubledCalls(Rule rule) { current = new Rule(std::move(rule)); }
TroubledCalls::~TroubledCalls() { delete current.exchange(nullptr); }

}  // namespace millrace

using millrace::Call;
using millrace::May;

extern "C" int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  if (!May(Call::kOpen)) return -1;
  return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}
extern "C" ssize_t pread(int fd, void* to, size_t count, off_t position) {
  if (!May(Call::kRead, &count)) return -1;
  return ::syscall(SYS_pread64, fd, to, count, position);
}
extern "C" ssize_t pwrite(int fd, const void* from, size_t count, off_t position) {
  if (!May(Call::kWrite, &count)) return -1;
  return ::syscall(SYS_pwrite64, fd, from, count, position);
}
extern "C" int fdatasync(int fd) {
  return May(Call::kSync) ? static_cast<int>(::syscall(SYS_fdatasync, fd)) : -1;
}
extern "C" int fsync(int fd) {
  return May(Call::kSync) ? static_cast<int>(::syscall(SYS_fsync, fd)) : -1;
}
extern "C" int ftruncate(int fd, off_t size) noexcept {
  return May(Call::kTruncate) ? static_cast<int>(::syscall(SYS_ftruncate, fd, size)) : -1;
}
