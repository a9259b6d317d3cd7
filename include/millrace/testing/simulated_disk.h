// millrace/testing/simulated_disk.h - a disk in memory that loses what was not synced, tears and
// reorders writes, fails calls on demand and fills up. Library: millrace::testing.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/env.h"

namespace millrace::testing {

enum class DiskOp {
  kOpen,
  kRead,
  kWrite,
  kSync,
  kTruncate,
  kSize,
  kDropCache,
  kStat,
  kList,
  kCreateDir,
  kRemoveFile,
  kRemoveDir,
  kRename,
  kLink,
  kSyncDir,
  kLock,
  kClose,
};
std::string_view Name(DiskOp op);

struct DiskCall {
  uint64_t number = 0;  // counts every call, from 1
  DiskOp op = DiskOp::kOpen;
  std::string path;
};

// What happens to a call. `error` is an errno; kind says what else is true of it.
struct Fault {
  enum class Kind {
    kFail,            // nothing is done, `error` is answered
    kShortThenFail,   // kWrite: half of the bytes are written, then `error`
    kSyncDropsPages,  // kSync: the unsynced writes are lost, yet reads still show them until
                      // DropCache, and the next sync succeeds without them, as on Linux
    kSyncKeepsPages,  // kSync: fails, the writes stay unsynced
  };
  int error = 5;  // EIO
  Kind kind = Kind::kFail;
};

// How a power cut treats the directory operations that no SyncDir covers. Unsynced writes fare
// badly in both.
enum class CutMode {
  // They survive as a prefix of their order, as on ext4 and XFS. The sync of a file keeps those up
  // to its creation, or its last change of size: so a new file that was synced is there.
  kJournalled,
  // Any of them survive, as POSIX allows; a rename across directories may even survive by half.
  kAdversarial,
};

// Thread-safe. A file is a durable image and the list of operations since its last sync; a
// directory likewise. Reads see everything (the page cache). With one seed the same calls give the
// same image. The root is there, "a/b" and "/a/b" are one path, and a file ends at 4 GiB. Open
// files keep working on the disk that they were opened on; images share nothing with it that a
// caller could notice.
class SimulatedDisk : public FileSystem {
 public:
  explicit SimulatedDisk(uint64_t seed = 1);
  ~SimulatedDisk() override;

  // Asked before each call (after the freeze none); a value makes it happen. Called without locks,
  // on the calling thread, which it may hold up: that is a slow disk.
  void SetFaults(std::function<std::optional<Fault>(const DiskCall&)> rule);
  // From call number `n` on nothing reaches the disk: every call answers EIO and changes nothing.
  // What the cut itself does to unsynced data is decided by PowerCut. frozen(): a call was refused.
  void FreezeAt(uint64_t n);
  bool frozen() const;
  uint64_t calls() const;
  void SetCapacity(uint64_t bytes);  // beyond it writes answer ENOSPC

  // The disk as a machine would find it after the power came back: a new disk that holds what was
  // durable and a random part (by `seed`) of what was not: each unsynced write kept, dropped or
  // torn at 512 bytes; a file's size ahead of its data (zeros or garbage); directory operations by
  // `mode`. Holds no locks, has a new boot id.
  std::shared_ptr<SimulatedDisk> PowerCut(uint64_t seed, CutMode mode) const;
  // The disk after the process died and the machine lived: nothing is lost, locks are free.
  std::shared_ptr<SimulatedDisk> ProcessKill() const;
  // A deep copy with everything durable, for sweeps that damage bytes.
  std::shared_ptr<SimulatedDisk> Clone() const;

  // Direct access for tests that damage files; not counted, never fails except for missing paths.
  StatusOr<std::string> Peek(const std::string& path) const;
  Status Poke(const std::string& path, std::string_view contents);  // durable at once; creates
  Status Erase(const std::string& path);
  // Every file's path from the root, without a slash in front, sorted.
  std::vector<std::string> AllFiles() const;

  StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  StatusOr<FileInfo> Stat(const std::string& path) override;
  StatusOr<std::vector<std::string>> List(const std::string& directory) override;
  Status CreateDir(const std::string& path) override;
  Status RemoveFile(const std::string& path) override;
  Status RemoveDir(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Link(const std::string& from, const std::string& to) override;
  Status SyncDir(const std::string& directory) override;
  StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  std::string BootId() override;
  std::string MountId(const std::string& path) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace millrace::testing
