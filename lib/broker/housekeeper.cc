#include "broker/housekeeper.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace millrace::broker {
namespace {

constexpr absl::Duration kScrubEvery = absl::Milliseconds(250);  // one portion
constexpr absl::Duration kScrubFirst = absl::Minutes(1);         // after opening
constexpr absl::Duration kScrubRest = absl::Hours(24);           // between two rounds
constexpr size_t kScrubAtOnce = 64 << 10;

}  // namespace

void Housekeeper::AddJobs(Upkeep& upkeep) {
  pass_job_ = upkeep.AddJob([this](absl::Duration now) { return Pass(now); });
  scrub_job_ = upkeep.AddJob([this](absl::Duration now) { return Scrub(now); });
}

void Housekeeper::Start() {
  const absl::Duration now = shared_.clock->Elapsed();
  shared_.upkeep.Arm(pass_job_, now + kPassEvery);
  const bool on_disk = !shared_.options.directory.empty();
  if (on_disk && shared_.options.scrub_bytes_per_second > 0) {
    shared_.upkeep.Arm(scrub_job_, now + kScrubFirst);
  }
}

void Housekeeper::ArmPass() { shared_.upkeep.Arm(pass_job_, shared_.clock->Elapsed()); }

absl::Duration Housekeeper::Pass(absl::Duration now) {
  {
    MutexLock lock(mu_);
    if (passing_.empty()) {
      passing_ = table_.All();
      std::ranges::reverse(passing_);
    }
  }
  while (true) {
    std::shared_ptr<LocalPartition> next;
    {
      MutexLock lock(mu_);
      if (passing_.empty()) break;
      next = std::move(passing_.back());
      passing_.pop_back();
    }
    next->Housekeep(shared_.clock->Now());
    if (shared_.clock->Elapsed() < now + Upkeep::kSlice) continue;
    MutexLock lock(mu_);
    // Goes on after the others; but a round that is through is through, however long it took: else
    // a slow disk would make one round follow the other without end.
    if (!passing_.empty()) return now;
  }
  if (at_end_) at_end_();
  return shared_.clock->Elapsed() + kPassEvery;
}

absl::Duration Housekeeper::Scrub(absl::Duration now) {
  std::shared_ptr<LocalPartition> partition;
  {
    MutexLock lock(mu_);
    if (scrubbing_.empty()) scrubbing_ = table_.All();
    if (scrubbing_.empty()) return now + kScrubRest;
    partition = scrubbing_.back();
  }
  const auto portion =
      static_cast<size_t>(static_cast<double>(shared_.options.scrub_bytes_per_second) *
                          absl::ToDoubleSeconds(kScrubEvery));
  bool done = false;
  for (size_t read = 0; read < portion && !done; read += kScrubAtOnce) {
    ScrubSome(*partition, std::min(kScrubAtOnce, portion - read), &done);
    if (shared_.clock->Elapsed() >= now + Upkeep::kSlice) break;
  }
  if (done) {
    MutexLock lock(mu_);
    if (!scrubbing_.empty() && scrubbing_.back() == partition) scrubbing_.pop_back();
    if (scrubbing_.empty()) return now + kScrubRest;
  }
  return now + kScrubEvery;
}

void Housekeeper::ScrubSome(LocalPartition& partition, size_t bytes, bool* done) {
  *done = true;
  const auto log = partition.log();
  if (!log.ok()) return;
  const size_t damage_before = (*log)->damage().size();
  const auto round_is_over = (*log)->Scrub(bytes, shared_.pool);
  const auto damage = (*log)->damage();
  for (size_t i = damage_before; i < damage.size(); ++i) {
    shared_.Log(Severity::kError, fmt::format("{}-{}: scrub: {}", partition.name().topic,
                                              partition.name().partition, damage[i].what));
  }
  *done = !round_is_over.ok() || *round_is_over;
}

}  // namespace millrace::broker
