#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <utility>

#include <absl/cleanup/cleanup.h>
#include <fmt/format.h>

#include "base/errors.h"
#include "env/errno_status.h"
#include "env/posix_lock.h"
#include "env/retrying.h"
#include "millrace/env.h"

namespace millrace {
namespace {

// The size that a file of this process may have. To write past it would be answered by SIGXFSZ,
// which kills the host, and a library has no business with the host's signals: so it is asked
// before. A limit that is lowered below the window that a file is being written in is not seen.
constexpr uint64_t kLimitWindow = 64 << 10;
uint64_t MaxFileBytes() {
  struct rlimit limit;
  if (::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return INT64_MAX;
  return std::min<uint64_t>(limit.rlim_cur, INT64_MAX);
}

Status TooLong(std::string_view what, uint64_t max_bytes) {
  return ErrnoStatus(EFBIG,
                     max_bytes == INT64_MAX
                         ? std::string(what)
                         : fmt::format("{}, past RLIMIT_FSIZE of {} bytes", what, max_bytes));
}

class PosixFile : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { ::close(fd_); }

  StatusOr<size_t> ReadAt(uint64_t position, std::span<std::byte> out) override {
    if (position > INT64_MAX) return 0;
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t count = Retrying([&] {
        return ::pread(fd_, out.data() + done, out.size() - done,
                       static_cast<off_t>(position + done));
      });
      if (count < 0)
        return ErrnoStatus(errno, Describe("read", position + done, out.size() - done));
      if (count == 0) break;
      done += static_cast<size_t>(count);
    }
    return done;
  }

  Status WriteAt(uint64_t position, std::span<const std::byte> bytes) override {
    if (bytes.empty()) return absl::OkStatus();
    if (position + bytes.size() > allowed_end_.load(std::memory_order_relaxed) ||
        position + bytes.size() < position) {
      const uint64_t max_bytes = MaxFileBytes();
      if (position > max_bytes || bytes.size() > max_bytes - position) {
        return TooLong(Describe("write", position, bytes.size()), max_bytes);
      }
      const uint64_t window_end = (position + bytes.size() + kLimitWindow) & ~(kLimitWindow - 1);
      allowed_end_.store(std::min(max_bytes, window_end), std::memory_order_relaxed);
    }
    while (!bytes.empty()) {
      const ssize_t count = Retrying(
          [&] { return ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(position)); });
      if (count < 0) return ErrnoStatus(errno, Describe("write", position, bytes.size()));
      // No regular file does so; without an answer the loop would not end.
      if (count == 0) return ErrnoStatus(EIO, Describe("write", position, bytes.size()));
      bytes = bytes.subspan(static_cast<size_t>(count));
      position += static_cast<size_t>(count);
    }
    return absl::OkStatus();
  }

  Status Sync() override {
    if (Retrying([&] { return ::fdatasync(fd_); }) == 0) return absl::OkStatus();
    return ErrnoStatus(errno, fmt::format("sync of {}", path_));
  }

  Status Truncate(uint64_t size_bytes) override {
    const uint64_t max_bytes = MaxFileBytes();
    const auto what = [&] {
      return fmt::format("truncation of {} to {} bytes", path_, size_bytes);
    };
    if (size_bytes > max_bytes) {
      // Only growth is limited.
      const auto now = Size();
      if (!now.ok() || size_bytes > *now) return TooLong(what(), max_bytes);
    }
    const auto size = static_cast<off_t>(size_bytes);
    if (Retrying([&] { return ::ftruncate(fd_, size); }) == 0) return absl::OkStatus();
    return ErrnoStatus(errno, what());
  }

  StatusOr<uint64_t> Size() override {
    struct stat info;
    if (::fstat(fd_, &info) == 0) return static_cast<uint64_t>(info.st_size);
    return ErrnoStatus(errno, fmt::format("size of {}", path_));
  }

  Status DropCache() override {
    const int error = ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
    if (error == 0) return absl::OkStatus();
    return ErrnoStatus(error, fmt::format("drop of the cached pages of {}", path_));
  }

 private:
  std::string Describe(std::string_view operation, uint64_t position, size_t count) const {
    return fmt::format("{} of {} bytes at position {} of {}", operation, count, position, path_);
  }

  const int fd_;
  const std::string path_;
  std::atomic<uint64_t> allowed_end_{0};  // RLIMIT_FSIZE allowed as much when it was last asked
};

int FlagsOf(OpenMode mode) {
  switch (mode) {
    case OpenMode::kRead:
      return O_RDONLY;
    case OpenMode::kReadWrite:
      return O_RDWR;
    case OpenMode::kCreate:
      return O_RDWR | O_CREAT;
    case OpenMode::kCreateNew:
      return O_RDWR | O_CREAT | O_EXCL;
  }
  return O_RDONLY;
}

// Equal to no other: who does not know where it is must not believe that nothing has changed.
std::string UnknownId() { return fmt::format("unknown-{:016x}", Random::Real()->Next()); }

Status Done(int result, std::string_view operation, const std::string& path) {
  if (result == 0) return absl::OkStatus();
  return ErrnoStatus(errno, fmt::format("{} of {}", operation, path));
}
Status Done(int result, std::string_view operation, const std::string& from,
            const std::string& to) {
  if (result == 0) return absl::OkStatus();
  return ErrnoStatus(errno, fmt::format("{} of {} to {}", operation, from, to));
}

class PosixFileSystem : public FileSystem {
 public:
  StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    const int flags = FlagsOf(mode) | O_CLOEXEC;
    const int fd = Retrying([&] { return ::open(path.c_str(), flags, 0666); });
    if (fd < 0) return ErrnoStatus(errno, fmt::format("open of {}", path));
    absl::Cleanup give_back = [fd] { ::close(fd); };  // should there be no memory for the object
    auto file = std::make_unique<PosixFile>(fd, path);
    std::move(give_back).Cancel();
    struct stat info;
    if (::fstat(fd, &info) != 0) return ErrnoStatus(errno, fmt::format("open of {}", path));
    // The kernel opens a directory for reading, and refuses every read of it.
    if (S_ISDIR(info.st_mode)) return ErrnoStatus(EISDIR, fmt::format("open of {}", path));
    return file;
  }

  StatusOr<FileInfo> Stat(const std::string& path) override {
    struct stat info;
    if (::stat(path.c_str(), &info) != 0)
      return ErrnoStatus(errno, fmt::format("stat of {}", path));
    if (S_ISDIR(info.st_mode)) return FileInfo{.is_directory = true};
    return FileInfo{.size_bytes = static_cast<uint64_t>(info.st_size)};
  }

  StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    const auto what = [&] { return fmt::format("list of {}", directory); };
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(directory.c_str()), &::closedir);
    if (stream == nullptr) return ErrnoStatus(errno, what());
    std::vector<std::string> names;
    for (;;) {
      errno = 0;  // the end and an error look alike otherwise
      const struct dirent* const entry = ::readdir(stream.get());
      if (entry == nullptr) break;
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    if (errno != 0) return ErrnoStatus(errno, what());
    std::ranges::sort(names);
    return names;
  }

  Status CreateDir(const std::string& path) override {
    return Done(::mkdir(path.c_str(), 0777), "creation", path);
  }
  Status RemoveFile(const std::string& path) override {
    return Done(::unlink(path.c_str()), "removal", path);
  }
  Status RemoveDir(const std::string& path) override {
    return Done(::rmdir(path.c_str()), "removal", path);
  }
  Status Rename(const std::string& from, const std::string& to) override {
    return Done(::rename(from.c_str(), to.c_str()), "rename", from, to);
  }
  Status Link(const std::string& from, const std::string& to) override {
    return Done(::link(from.c_str(), to.c_str()), "link", from, to);
  }

  Status SyncDir(const std::string& directory) override {
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    const int fd = Retrying([&] { return ::open(directory.c_str(), flags); });
    if (fd < 0) return ErrnoStatus(errno, fmt::format("sync of {}", directory));
    const absl::Cleanup close = [fd] { ::close(fd); };
    return Done(Retrying([&] { return ::fsync(fd); }), "sync", directory);
  }

  StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    return TakePosixLock(path);
  }

  std::string BootId() override {
    const int fd =
        Retrying([] { return ::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC); });
    char text[64];
    const ssize_t count = fd < 0 ? -1 : Retrying([&] { return ::read(fd, text, sizeof text); });
    if (fd >= 0) ::close(fd);
    if (count <= 0) return UnknownId();
    const std::string_view id(text, static_cast<size_t>(count));
    return std::string(id.substr(0, id.find('\n')));
  }

  std::string MountId(const std::string& path) override {
    // Linux 6.8 has numbers that are not used again after an unmount; the headers here are older.
    constexpr unsigned kUniqueMountId = 0x4000;  // STATX_MNT_ID_UNIQUE
    for (const unsigned mask : {kUniqueMountId, unsigned{STATX_MNT_ID}}) {
      struct statx info;
      if (::statx(AT_FDCWD, path.c_str(), 0, mask, &info) != 0) return UnknownId();
      if ((info.stx_mask & mask) == 0) continue;
      return fmt::format("{}:{} {:x}", info.stx_dev_major, info.stx_dev_minor, info.stx_mnt_id);
    }
    return UnknownId();
  }
};

}  // namespace

// Never destroyed: a host's static objects may still close files while the process ends.
std::shared_ptr<FileSystem> FileSystem::Real() {
  static const auto* const files =
      new std::shared_ptr<FileSystem>(std::make_shared<PosixFileSystem>());
  return *files;
}

}  // namespace millrace
