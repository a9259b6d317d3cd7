#include "log/sync_gate.h"

#include <new>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "base/kill_point.h"
#include "base/no_throw.h"
#include "base/seeded_bug.h"
#include "base/status_macros.h"
#include "env/file_util.h"

namespace millrace::log {
namespace {

std::string_view TextOf(const Status& status) {
  const absl::string_view text = status.message();
  return {text.data(), text.size()};
}

// What everybody is answered from now on; without a text where there is no memory for one.
Status Failure(const Status& why) {
  try {
    return MakeError(ErrorId::kDirectoryFailed,
                     fmt::format("the data directory accepts nothing more until it is opened anew, "
                                 "since a write may have been lost: {}",
                                 TextOf(why)),
                     {.persistence = Persistence::kPossiblyPersisted});
  } catch (const std::bad_alloc&) {
    return Status(InfoOf(ErrorId::kDirectoryFailed).status, "");
  }
}

}  // namespace

SyncGate::SyncGate(FileSystem& files, std::string evidence_path)
    : files_(files), evidence_path_(std::move(evidence_path)) {}

Status SyncGate::Sync(File& file) {
  MILLRACE_RETURN_IF_ERROR(failed());
  // A sync that had no memory to say why it failed has failed.
  Status status = NoThrow([&] { return file.Sync(); });
  if (!status.ok()) {
    if (SeededBug(Bug::kRetryFailedSync)) status = file.Sync();
  }
  return Passed(std::move(status));
}

Status SyncGate::SyncDir(const std::string& directory) {
  MILLRACE_RETURN_IF_ERROR(failed());
  if (SeededBug(Bug::kSkipDirSync)) return absl::OkStatus();
  return Passed(NoThrow([&] { return files_.SyncDir(directory); }));
}

Status SyncGate::Passed(Status status) {
  if (SeededBug(Bug::kIgnoreFailedSync)) return absl::OkStatus();
  // A sync of the same file on another thread may have taken the error that is ours too.
  if (status.ok()) return failed();
  // The folder could not even be opened: nothing was asked of the disk, and nothing is lost.
  if (ErrorIdOf(status) == ErrorId::kTooManyFiles) return status;
  Fail(status);
  // Not the status: where the disk is full at the sync it would say that a retry may help.
  return failed();
}

Status SyncGate::ReplaceFile(const std::string& path, std::span<const std::byte> bytes) {
  MILLRACE_RETURN_IF_ERROR(failed());
  const std::string temporary = fmt::format("{}.tmp", path);
  const std::string directory = ParentDir(path);  // nothing needs memory behind the rename
  const auto write = [&]() -> Status {
    MILLRACE_ASSIGN_OR_RETURN(const auto file, files_.Open(temporary, OpenMode::kCreate));
    MILLRACE_RETURN_IF_ERROR(file->Truncate(0));  // a crash may have left a longer one
    MILLRACE_RETURN_IF_ERROR(file->WriteAt(0, bytes));
    if (!SeededBug(Bug::kRenameBeforeSync)) MILLRACE_RETURN_IF_ERROR(Sync(*file));
    MILLRACE_KILL_POINT(kReplacementWritten);
    return files_.Rename(temporary, path);
  };
  if (Status status = write(); !status.ok()) {
    files_.RemoveFile(temporary).IgnoreError();  // the first error is the one to report
    return status;
  }
  MILLRACE_KILL_POINT(kReplacementRenamed);
  return SyncDir(directory);
}

bool SyncGate::IsLackOfRoom(const Status& status) const {
  return ErrorIdOf(status) == ErrorId::kNoSpace && failed().ok();
}

Status SyncGate::failed() const {
  if (!is_failed_.load(std::memory_order_acquire)) return absl::OkStatus();
  MutexLock lock(mu_);
  return first_failure_;
}

void SyncGate::Fail(const Status& why) {
  {
    MutexLock lock(mu_);
    if (!first_failure_.ok()) return;
    first_failure_ = Failure(why);
    is_failed_.store(true, std::memory_order_release);
  }
  if (evidence_path_.empty()) return;
  // As far as it goes: the disk has just refused us, or memory has run out.
  NoThrow([&]() -> Status {
    MILLRACE_ASSIGN_OR_RETURN(const auto file, files_.Open(evidence_path_, OpenMode::kCreate));
    MILLRACE_RETURN_IF_ERROR(file->WriteAt(0, AsBytes(fmt::format("{}\n", TextOf(why)))));
    return file->Sync();
  }).IgnoreError();
}

}  // namespace millrace::log
