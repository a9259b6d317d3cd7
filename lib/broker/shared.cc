#include "broker/shared.h"

#include <new>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/no_throw.h"
#include "base/status_macros.h"

namespace millrace::broker {
namespace {
constexpr absl::Duration kMarksEvery = absl::Milliseconds(100);
constexpr absl::Duration kSyncAgainAfter = absl::Milliseconds(10);
}  // namespace

Shared::Shared(Options given)
    : options(std::move(given)),
      files(options.env.files),
      clock(options.env.clock ? options.env.clock : Clock::Real()),
      random(options.env.random ? options.env.random : Random::Real()),
      directory_path(options.directory),
      lane([this] { upkeep.Wake(); },
           [this] { upkeep.Arm(resting_job, clock->Elapsed() + kSyncAgainAfter); }),
      upkeep(*clock) {
  if (options.directory.empty()) {
    files = NewMemoryFileSystem();
    directory_path = "millrace";
  } else if (files == nullptr) {
    files = FileSystem::Real();
  }
}

std::string Shared::Where() const {
  return options.directory.empty() ? "memory:" : options.directory;
}

Status Shared::Usable() const {
  if (fork.forked()) [[unlikely]] {
    return MakeError(ErrorId::kForked,
                     fmt::format("{}: opened by the process that forked this one; a child opens a "
                                 "directory of its own",
                                 Where()));
  }
  if (closing.load(std::memory_order_acquire)) [[unlikely]] {
    return MakeError(ErrorId::kClosed, fmt::format("{}: the broker is closed", Where()));
  }
  return absl::OkStatus();
}

Status Shared::Writable() const {
  MILLRACE_RETURN_IF_ERROR(Usable());
  return WritableInside();
}

Status Shared::WritableInside() const {
  if (options.read_only) [[unlikely]] {
    return MakeError(ErrorId::kReadOnly, fmt::format("{}: opened with read_only", Where()));
  }
  if (failed.load(std::memory_order_acquire)) [[unlikely]]
    return directory->failed();
  return absl::OkStatus();
}

void Shared::NoteFailure(const Status& why) {
  directory->Fail(why);  // the first one counts; before the flag, so that who sees it can ask why
  if (failed.exchange(true, std::memory_order_acq_rel)) return;
  metrics.sync_failures.fetch_add(1, std::memory_order_relaxed);
  NoThrow([&] {
    Log(Severity::kError,
        fmt::format("{}: nothing more is acknowledged: {}", Where(),
                    std::string_view(why.message().data(), why.message().size())));
    return absl::OkStatus();
  }).IgnoreError();  // a line of the log
  TellWaiting();
}

void Shared::TellWaiting() {
  try {
    if (fail_waiting) fail_waiting(directory->failed());
  } catch (const std::bad_alloc&) {
    waiting_untold.store(true);
    upkeep.Arm(resting_job, clock->Elapsed() + kSyncAgainAfter);
  }
}

void Shared::ArmMarks() { upkeep.Arm(marks_job, clock->Elapsed() + kMarksEvery); }

Status Shared::WithBallast(const std::function<Status()>& fn) {
  Status status = fn();
  if (ErrorIdOf(status) == ErrorId::kNoSpace && release_ballast && release_ballast()) status = fn();
  return status;
}

}  // namespace millrace::broker
