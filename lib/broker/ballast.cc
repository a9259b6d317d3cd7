#include "broker/ballast.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/status_macros.h"

namespace millrace::broker {
namespace {
constexpr absl::Duration kAttemptEvery = absl::Milliseconds(100);
}  // namespace

bool Ballast::Release() {
  if (path_.empty()) return false;
  MutexLock lock(mu_);
  const bool removed = files_.RemoveFile(path_).ok();
  if (removed) given_back_.store(true, std::memory_order_release);
  return std::exchange(attempt_failed_, false) || removed;
}

Status Ballast::Restore() {
  if (path_.empty()) return absl::OkStatus();
  MutexLock lock(mu_);
  return RestoreLocked();
}

bool Ballast::TryAgain() {
  MutexLock lock(mu_);
  if (clock_.Elapsed() < next_attempt_) return false;
  return RestoreLocked().ok();
}

Status Ballast::RestoreLocked() {
  const auto there = files_.Stat(path_);
  if (there.ok() && there->size_bytes == kBytes) return absl::OkStatus();
  next_attempt_ = clock_.Elapsed() + kAttemptEvery;
  MILLRACE_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                            files_.Open(path_, OpenMode::kCreate));
  // Bytes that differ, since a file system may not store what compresses to nothing.
  std::vector<std::byte> block(64 << 10);
  uint64_t state = 1;
  std::ranges::generate(block, [&] {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::byte>(state >> 56);
  });
  Status status;
  for (uint64_t at = 0; at < kBytes && status.ok(); at += block.size()) {
    status = file->WriteAt(at, block);
  }
  if (!status.ok()) {
    files_.RemoveFile(path_)
        .IgnoreError();  // half a ballast would only take the room that is missing
    attempt_failed_ = true;
  }
  given_back_.store(!status.ok(), std::memory_order_release);
  return status;
}

}  // namespace millrace::broker
