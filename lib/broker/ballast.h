#pragma once

#include <atomic>
#include <string>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "millrace/env.h"

namespace millrace::broker {

// A file of real blocks that is given back to a full disk, so that commits, metadata, recovery and
// the close go on when users' appends do not. While it is given back, users' appends stay refused:
// what room there is belongs to the broker until the file can be made again. Thread-safe.
class Ballast {
 public:
  static constexpr uint64_t kBytes = 1 << 20;

  // Borrows both. An empty path: there is no ballast, and none is missed.
  Ballast(FileSystem& files, Clock& clock, std::string path)
      : files_(files), clock_(clock), path_(std::move(path)) {}
  // Gives the room back; true when there is more of it than a moment ago.
  bool Release();
  // Makes the file if it is not there. no_space when the disk is still full.
  Status Restore();
  // Whether users may append. Where the ballast is given back, tries to make it again now and then.
  bool HasRoom() { return !given_back_.load(std::memory_order_acquire) || TryAgain(); }

 private:
  bool TryAgain();
  Status RestoreLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  FileSystem& files_;
  Clock& clock_;
  const std::string path_;
  std::atomic<bool> given_back_{false};
  Mutex mu_;
  // An attempt took room for a moment and gave it back: who ran into that should look again.
  bool attempt_failed_ ABSL_GUARDED_BY(mu_) = false;
  absl::Duration next_attempt_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
};

}  // namespace millrace::broker
