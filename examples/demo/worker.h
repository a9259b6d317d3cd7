// One of the three workers: a thread that is a member of the group and keeps the state of packages.
#pragma once
#include <array>
#include <atomic>
#include <set>
#include <string>
#include <thread>

#include "millrace/client.h"
#include "package_log.h"

namespace demo {

inline constexpr absl::Duration kMaxPollInterval = absl::Seconds(2);

// How far the workers are, together. Atomic: written by the workers, read by whoever reports.
struct Progress {
  std::array<std::atomic<int64_t>, kPartitions> next_offset = {};  // to be worked on, a partition
  std::atomic<int64_t> delivered_again = 0;  // records that were in the state already
  int64_t total() const {
    int64_t sum = 0;
    for (const auto& next : next_offset) sum += next;
    return sum;
  }
};

// The state of a partition's packages lives in the partition of the same number of the state topic.
// All changes that one batch makes are appended there as one batch, with the offset that they
// reach: state and position are one. The group's committed offset comes after, and may be lost with
// the process; then records are delivered again, and the position kept with the state tells that
// they are known.
class Worker {
 public:
  // Borrows `progress` until destroyed.
  Worker(int number, millrace::Client client, Progress& progress);
  ~Worker() = default;  // asks the thread to stop, and waits for it

  // Polls once more and then no more, holding what that poll returned: a worker that hangs.
  void Hang() { hang_ = true; }
  // Records that were polled when it hung; -1 before.
  int64_t held() const { return held_; }
  std::set<int32_t> partitions() const;
  // OK, or why it ended.
  millrace::Status status() const;

 private:
  class Rebalances;
  // What the worker knows of a partition that is assigned to it.
  struct PartitionState {
    millrace::Offset next = 0;
    States packages;
  };

  millrace::Status Run(const std::stop_token& stop);
  millrace::Status Load(const std::vector<millrace::TopicPartition>& partitions);
  millrace::Status WorkOn(const millrace::RecordBatch::Slice& slice);

  const int number_;
  const millrace::Client client_;
  Progress& progress_;
  std::atomic<bool> hang_ = false;
  std::atomic<int64_t> held_ = -1;

  mutable std::mutex mu_;
  std::set<int32_t> assigned_;  // guarded by mu_
  millrace::Status status_;     // guarded by mu_

  std::optional<millrace::Producer> producer_;  // of the thread, as what follows
  std::map<int32_t, PartitionState> states_;
  millrace::Status load_status_;
  std::jthread thread_;  // the last: it uses everything above
};

}  // namespace demo
