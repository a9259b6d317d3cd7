// millrace/env.h - what the engine asks of the world: files, time, randomness. A program gives its
// own at Broker::Open, usually in tests; null members of an Env stand for the real ones.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "millrace/status.h"

namespace millrace {

// An open file, read and written by position. Thread-safe: calls may overlap; what overlapping
// writes to the same bytes leave is undefined.
// Errors: no_space (ENOSPC, EDQUOT, EFBIG), io_error (nearly everything else), naming path and
// position.
class File {
 public:
  virtual ~File() = default;  // closes; never syncs
  // Reads up to out.size() bytes at `position`; fewer only where the file ends, 0 past its end.
  virtual StatusOr<size_t> ReadAt(uint64_t position, std::span<std::byte> out) = 0;
  // Writes all of `bytes`. After an error any part of them may have been written.
  virtual Status WriteAt(uint64_t position, std::span<const std::byte> bytes) = 0;
  // Makes what was written, and the size, durable (fdatasync). Of concurrent syncs of one file one
  // may get an error that the other does not see: callers keep to one at a time.
  virtual Status Sync() = 0;
  virtual Status Truncate(uint64_t size_bytes) = 0;  // shorter, or longer with zeros
  virtual StatusOr<uint64_t> Size() = 0;
  // Asks that later reads come from the device and not from memory. Only synced bytes are dropped.
  virtual Status DropCache() = 0;
};

// Held: no other process, and no other FileSystem user of this process, gets the same lock.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

enum class OpenMode {
  kRead,       // must exist
  kReadWrite,  // must exist
  kCreate,     // read and write; created when absent
  kCreateNew,  // read and write; already_exists (absl::StatusCode) when present
};

struct FileInfo {
  uint64_t size_bytes = 0;
  bool is_directory = false;
};

// A tree of files. Thread-safe. Paths are taken as given; parents must exist. A missing path is
// not_found; no descriptor left, too_many_files; no right, permission_denied. A created, renamed or
// removed entry is durable only after SyncDir of its directory.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) = 0;
  virtual StatusOr<FileInfo> Stat(const std::string& path) = 0;
  // Names of the entries, without "." and "..", sorted.
  virtual StatusOr<std::vector<std::string>> List(const std::string& directory) = 0;
  virtual Status CreateDir(const std::string& path) = 0;  // absl already_exists when present
  virtual Status RemoveFile(const std::string& path) = 0;
  virtual Status RemoveDir(const std::string& path) = 0;                      // must be empty
  virtual Status Rename(const std::string& from, const std::string& to) = 0;  // replaces `to`
  virtual Status Link(const std::string& from, const std::string& to) = 0;    // a hard link
  virtual Status SyncDir(const std::string& directory) = 0;
  // already_open when somebody holds it. Creates the file, which says who (the process id, as
  // text), and never removes it. A forked child does not hold it.
  virtual StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;
  // Names this boot of the machine and the mount that holds `path`. When both equal what the last
  // opener saw, then no power was cut in between, and the page cache of that time is still there.
  virtual std::string BootId() = 0;
  virtual std::string MountId(const std::string& path) = 0;

  static std::shared_ptr<FileSystem> Real();
};

// Time. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // What o'clock it is: record timestamps, retention. May jump.
  virtual absl::Time Now() = 0;
  // Time since some start, never going back: deadlines and intervals.
  virtual absl::Duration Elapsed() = 0;
  // Waits on `cv`, with `lock` held as for std::condition_variable, until it is notified or
  // Elapsed() reaches `deadline`. May return early: callers loop.
  virtual void WaitUntil(std::condition_variable& cv, std::unique_lock<std::mutex>& lock,
                         absl::Duration deadline) = 0;
  // How long a thread may really sleep before it must look at Elapsed() again: the time that is
  // left, or less where this clock does not go by itself. For waits that need no condition
  // variable.
  virtual absl::Duration SleepFor(absl::Duration deadline) { return deadline - Elapsed(); }

  static std::shared_ptr<Clock> Real();
};

class Random {  // Thread-safe.
 public:
  virtual ~Random() = default;
  virtual uint64_t Next() = 0;  // 64 random bits
  static std::shared_ptr<Random> Real();
};

struct Env {
  std::shared_ptr<FileSystem> files = nullptr;
  std::shared_ptr<Clock> clock = nullptr;
  std::shared_ptr<Random> random = nullptr;
};

// Files that live in this process only, with the semantics of a disk that never fails. `max_bytes`
// bounds what all of them hold together; beyond it writes answer no_space.
std::shared_ptr<FileSystem> NewMemoryFileSystem(uint64_t max_bytes = uint64_t{1} << 30);

}  // namespace millrace
