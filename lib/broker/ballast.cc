#include "broker/ballast.h"

#include <algorithm>
#include <vector>

#include "base/status_macros.h"

namespace millrace::broker {

bool Ballast::Release() {
  if (path_.empty()) return false;
  MutexLock lock(mu_);
  return files_.RemoveFile(path_).ok();
}

Status Ballast::Restore() {
  if (path_.empty()) return absl::OkStatus();
  MutexLock lock(mu_);
  const auto there = files_.Stat(path_);
  if (there.ok() && there->size_bytes == kBytes) return absl::OkStatus();
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
  // Half a ballast would only take the room that is missing.
  if (!status.ok()) files_.RemoveFile(path_).IgnoreError();
  return status;
}

}  // namespace millrace::broker
