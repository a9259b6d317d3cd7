#pragma once

#include <atomic>
#include <span>
#include <string>

#include "base/mutex.h"
#include "millrace/env.h"

namespace millrace::log {

// Every sync of a data directory goes through its gate. The first that fails shuts it for good:
// what the kernel could not write it may have dropped, and a second sync would then succeed without
// the data. So after a failure nothing is acknowledged from this directory in this process
// (reliability.md P9), and a reopen verifies from the device. Thread-safe.
class SyncGate {
 public:
  // Borrows `files`. `evidence_path` names the file that a failure leaves behind, as far as the
  // disk still lets it: the next open then knows that the page cache of this boot proves nothing.
  // Empty: none.
  SyncGate(FileSystem& files, std::string evidence_path);

  // OK only while no sync of the directory has failed.
  Status Sync(File& file);
  Status SyncDir(const std::string& directory);
  // Puts `bytes` in the place of the file: a power cut leaves the old or the new contents. An error
  // before the first sync (no_space, say) leaves the gate open and the old contents in place.
  Status ReplaceFile(const std::string& path, std::span<const std::byte> bytes);

  // An error that leaves everything as it was, and that room on the disk would end.
  bool IsLackOfRoom(const Status& status) const;
  // OK, or directory_failed with the first reason.
  Status failed() const;
  void Fail(const Status& why);

 private:
  Status Passed(Status status);

  FileSystem& files_;
  const std::string evidence_path_;
  std::atomic<bool> is_failed_{false};
  mutable Mutex mu_;
  Status first_failure_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::log
