#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "client/logger.h"
#include "millrace/env.h"
#include "millrace/run.h"

namespace millrace::client {

// What Run shares with its workers: records that wait for a handler, in strands. Of one strand one
// record is handled at a time, in order; strands run side by side. kPartition has one a partition,
// kKey one a key, kNone one a record. Thread-safe. Outlives Run where a handler does not return
// within drain_timeout.
class RunEngine {
 public:
  struct World {
    std::shared_ptr<Clock> clock;
    std::shared_ptr<Logger> log;
    std::shared_ptr<Producer> dead_letters;  // null: a record that fails ends Run
    std::string dead_letter_topic;
  };
  RunEngine(World world, RunOptions options, Handler handler);

  // Starts the workers; each holds `engine`. `consumer` is used until Finish.
  static Status Start(const std::shared_ptr<RunEngine>& engine, Consumer* consumer);
  void Dispatch(RecordBatch batch);

  // ---- the polling thread
  bool Full() const;          // above max_in_flight
  bool HasRoomAgain() const;  // at most half of it is used
  void WaitForProgress(absl::Duration at_most);
  std::optional<Status> failure() const;
  // Asks the handlers of these partitions to return, drops what waits, and waits (up to
  // drain_timeout) for those that run. Without partitions: of all.
  void Drain(const std::vector<TopicPartition>* tps, bool wait);
  // Ends the workers. Those whose handler does not return are left to themselves.
  void Finish();

 private:
  struct Lot {  // one partition, from the first record of it to its handing over
    std::stop_source stop;
    size_t in_flight = 0;
  };
  struct Task {
    std::shared_ptr<const RecordBatch> batch;
    RecordView record;
    std::shared_ptr<Lot> lot;
  };
  using StrandKey = std::pair<const Lot*, uint64_t>;
  struct Strand {
    StrandKey key;
    std::deque<Task> tasks;
  };

  void Work();
  StrandKey KeyOf(const Task& task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // True: the record is done.
  bool Handle(const Task& task);
  Status Attempt(const Task& task);
  Status Bury(const Task& task, const Status& error);
  void Backoff(const Task& task, int attempt);
  void Fail(Status status);
  void MarkDone(const RecordView& record);

  const World world_;
  const RunOptions options_;
  Handler handler_;

  mutable Mutex mu_;
  CondVar work_;      // for workers
  CondVar progress_;  // for the polling thread and for Drain
  Consumer* consumer_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mu_);
  size_t working_ ABSL_GUARDED_BY(mu_) = 0;  // workers that have not ended
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  std::map<TopicPartition, std::shared_ptr<Lot>> lots_ ABSL_GUARDED_BY(mu_);
  std::map<StrandKey, std::shared_ptr<Strand>> strands_ ABSL_GUARDED_BY(mu_);
  std::deque<std::shared_ptr<Strand>> ready_ ABSL_GUARDED_BY(mu_);
  size_t in_flight_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t loose_ ABSL_GUARDED_BY(mu_) = 0;  // strands of kNone, and of records without a key
  std::optional<Status> failure_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::client
