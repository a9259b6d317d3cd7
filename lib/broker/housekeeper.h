#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "broker/shared.h"
#include "broker/topic_table.h"

namespace millrace::broker {

// What upkeep does for partitions from time to time: rolling, retention and idle descriptors in one
// pass over all of them, and the scrub, which reads the device at a bounded rate. Both in slices.
// Thread-safe.
class Housekeeper {
 public:
  static constexpr absl::Duration kPassEvery = absl::Seconds(30);

  // Borrows both.
  Housekeeper(Shared& shared, TopicTable& table) : shared_(shared), table_(table) {}
  void AddJobs(Upkeep& upkeep);
  void Start();    // arms them
  void ArmPass();  // a pass now
  // What a pass does besides partitions: `fn` at the end of each.
  void AtEndOfPass(std::function<void()> fn) { at_end_ = std::move(fn); }

 private:
  absl::Duration Pass(absl::Duration now);
  absl::Duration Scrub(absl::Duration now);
  void ScrubSome(LocalPartition& partition, size_t bytes, bool* done);

  Shared& shared_;
  TopicTable& table_;
  std::function<void()> at_end_;
  size_t pass_job_ = 0;
  size_t scrub_job_ = 0;
  Mutex mu_;
  TopicTable::Partitions passing_ ABSL_GUARDED_BY(mu_);    // left of this pass, the last one first
  TopicTable::Partitions scrubbing_ ABSL_GUARDED_BY(mu_);  // left of this round
};

}  // namespace millrace::broker
