#include "env/bell.h"

#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>

namespace millrace {
namespace {

void FutexWait(std::atomic<uint32_t>* word, uint32_t expected, absl::Duration at_most) {
  const timespec timeout =
      absl::ToTimespec(std::clamp(at_most, absl::ZeroDuration(), absl::Hours(1)));
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAIT_PRIVATE, expected, &timeout,
          nullptr, 0);
}

void FutexWakeAll(std::atomic<uint32_t>* word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr,
          nullptr, 0);
}

}  // namespace

Bell::~Bell() {
  if (const int fd = fd_.load(); fd >= 0) close(fd);
}

void Bell::Ring() {
  const int saved_errno = errno;
  count_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0) FutexWakeAll(&count_);
  if (const int fd = fd_.load(std::memory_order_acquire); fd >= 0) {
    const uint64_t one = 1;
    // EAGAIN means that the descriptor is readable already, which is all that is wanted.
    [[maybe_unused]] const ssize_t n = write(fd, &one, sizeof one);
  }
  errno = saved_errno;
}

void Bell::Wait(Clock& clock, uint32_t seen, absl::Duration deadline, absl::Duration spin) {
  if (spin > absl::ZeroDuration()) {
    const absl::Duration spin_end = std::min(deadline, clock.Elapsed() + spin);
    do {
      for (int i = 0; i < 50; ++i)
        if (count() != seen) return;
    } while (clock.Elapsed() < spin_end);
  }
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (count_.load(std::memory_order_seq_cst) == seen) {
    const absl::Duration left = clock.SleepFor(deadline);
    if (left <= absl::ZeroDuration()) break;
    FutexWait(&count_, seen, left);
  }
  sleepers_.fetch_sub(1, std::memory_order_seq_cst);
}

int Bell::fd() {
  int fd = fd_.load(std::memory_order_acquire);
  if (fd >= 0) return fd;
  const int made = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (made < 0) return -1;
  if (fd_.compare_exchange_strong(fd, made)) return made;
  close(made);
  return fd;
}

void Bell::ClearFd() {
  uint64_t value;
  if (const int fd = fd_.load(std::memory_order_acquire); fd >= 0) {
    [[maybe_unused]] const ssize_t n = read(fd, &value, sizeof value);
  }
}

}  // namespace millrace
