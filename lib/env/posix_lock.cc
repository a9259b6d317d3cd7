#include "env/posix_lock.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>

#include <absl/cleanup/cleanup.h>
#include <fmt/format.h>

#include "base/errors.h"
#include "base/mutex.h"
#include "env/errno_status.h"
#include "env/retrying.h"

namespace millrace {
namespace {

// The lock is one of an open file description (F_OFD_SETLK). The older lock of a process would let
// the same process, or a second copy of this library in it, take it twice, and would be lost when
// anybody in the process closed another descriptor of the file. But a forked child shares the
// description, and so would keep the lock after the parent is gone: it closes its copies first of
// all. An exec closes them too, by O_CLOEXEC.
class HeldLocks {
 public:
  // Never destroyed: locks may be given back while the process ends.
  static HeldLocks& Get() {
    static auto* const held = new HeldLocks;
    return *held;
  }

  // Held around open and lock too, so that no fork comes between them.
  Mutex mu;
  std::map<uint64_t, int> fds ABSL_GUARDED_BY(mu);  // by a number that is not used again
  uint64_t next ABSL_GUARDED_BY(mu) = 0;

 private:
  HeldLocks() { ::pthread_atfork(&BeforeFork, &AfterForkInParent, &AfterForkInChild); }
  static void BeforeFork() ABSL_NO_THREAD_SAFETY_ANALYSIS { Get().mu.Lock(); }
  static void AfterForkInParent() ABSL_NO_THREAD_SAFETY_ANALYSIS { Get().mu.Unlock(); }
  static void AfterForkInChild() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    // Closing does not unlock, as the parent still has the description. The child's copies of the
    // PosixLock objects must find nothing: the descriptors may soon be other files.
    for (const auto& [number, fd] : Get().fds) ::close(fd);
    Get().fds.clear();
    Get().mu.Unlock();
  }
};

class PosixLock : public FileLock {
 public:
  explicit PosixLock(uint64_t number) : number_(number) {}
  ~PosixLock() override {
    HeldLocks& held = HeldLocks::Get();
    MutexLock lock(held.mu);
    const auto at = held.fds.find(number_);
    if (at == held.fds.end()) return;  // in a forked child
    // Unlocked first: a child that was forked this moment may not have come to close its copy yet.
    struct flock whole_file = {};
    whole_file.l_type = F_UNLCK;
    whole_file.l_whence = SEEK_SET;
    ::fcntl(at->second, F_OFD_SETLK, &whole_file);
    ::close(at->second);
    held.fds.erase(at);
  }

 private:
  const uint64_t number_;
};

// The holder leaves its number in the file, for the message that others get.
std::string HolderOf(int fd) {
  char text[24];
  const ssize_t count = Retrying([&] { return ::pread(fd, text, sizeof text, 0); });
  int pid = 0;
  if (count > 0) std::from_chars(text, text + count, pid);
  if (pid <= 0) return "by another process, or by this one";
  if (pid == ::getpid()) return fmt::format("by this process ({})", pid);
  return fmt::format("by process {}, as that file says", pid);
}

void LeavePid(int fd) {
  // Only help for the reader of a message: a full disk must not keep anybody from opening.
  const std::string text = fmt::format("{}\n", ::getpid());
  const auto size = static_cast<ssize_t>(text.size());
  if (Retrying([&] { return ::ftruncate(fd, 0); }) != 0) return;
  // Half of a number would name somebody else.
  if (Retrying([&] { return ::pwrite(fd, text.data(), text.size(), 0); }) == size) return;
  Retrying([&] { return ::ftruncate(fd, 0); });
}

}  // namespace

StatusOr<std::unique_ptr<FileLock>> TakePosixLock(const std::string& path) {
  HeldLocks& held = HeldLocks::Get();
  MutexLock lock(held.mu);
  const int fd = Retrying([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666); });
  if (fd < 0) return ErrnoStatus(errno, fmt::format("open of {}", path));
  absl::Cleanup give_back = [fd] { ::close(fd); };  // unless all goes well; memory may run out
  struct flock whole_file = {};
  whole_file.l_type = F_WRLCK;
  whole_file.l_whence = SEEK_SET;
  if (Retrying([&] { return ::fcntl(fd, F_OFD_SETLK, &whole_file); }) != 0) {
    const int error = errno;
    const bool taken = error == EAGAIN || error == EACCES;
    return taken ? MakeError(ErrorId::kAlreadyOpen,
                             fmt::format("{}: is locked {}", path, HolderOf(fd)))
                 : ErrnoStatus(error, fmt::format("lock of {}", path));
  }
  LeavePid(fd);
  const auto entry = held.fds.emplace(held.next++, fd).first;
  absl::Cleanup forget = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { held.fds.erase(entry); };
  auto file_lock = std::make_unique<PosixLock>(entry->first);
  std::move(forget).Cancel();
  std::move(give_back).Cancel();
  return file_lock;
}

}  // namespace millrace
