#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "millrace/env.h"

namespace millrace::broker {

// What the sync lane may be asked to sync: a partition.
class Syncable {
 public:
  virtual ~Syncable() = default;
  // Syncs what is written by now and completes what waits for it.
  virtual void RunSync() = 0;

 private:
  friend class SyncLane;
  enum class Lane : uint8_t { kIdle, kQueued, kRunning, kRunningAgain };
  std::atomic<Lane> lane_{Lane::kIdle};
  std::shared_ptr<Syncable> behind_;  // in the lane's queue; guarded by its lock
};

// The threads that do nothing but sync. A partition stands in the queue at most once, and while it
// is being synced a new request only makes its thread go round once more: many appends share one
// sync, and they wake a thread only when none is about to look. The queue is a list of the items
// themselves: what was written gets its sync, whether there is memory for a queue or not. An item
// for whose sync there was none rests until RunResting. Thread-safe.
class SyncLane {
 public:
  // `idle_wake` is called for new work where there are no threads of its own (may be null).
  // `on_rest` when an item rests: RunResting should come soon (may be null).
  explicit SyncLane(std::function<void()> idle_wake, std::function<void()> on_rest = nullptr);
  ~SyncLane();

  void Start(int threads);
  void Enqueue(const std::shared_ptr<Syncable>& item);
  // Does on this thread what is queued now.
  void RunQueued();
  // Queues again what rests.
  void RunResting();
  // Returns once the queue is empty and nothing is being synced; lends a hand. What is still queued
  // at the deadline (of `clock`'s Elapsed) is dropped.
  void Drain(Clock& clock, absl::Duration deadline);
  // Ends the threads once the queue is empty; lets go of what rests, and without threads of all.
  void Stop();
  bool OnOwnThread() const;  // whether this is one of the lane's threads

 private:
  void Loop();
  // First in, first out.
  struct Queue {
    void Push(std::shared_ptr<Syncable> item);
    std::shared_ptr<Syncable> Pop();  // of one that is not empty
    void Append(Queue other);
    void Clear();
    bool empty() const { return first == nullptr; }
    std::shared_ptr<Syncable> first;
    Syncable* last = nullptr;
    size_t size = 0;
  };
  std::shared_ptr<Syncable> Take() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Run(const std::shared_ptr<Syncable>& item) ABSL_LOCKS_EXCLUDED(mu_);
  void Push(std::shared_ptr<Syncable> item) ABSL_LOCKS_EXCLUDED(mu_);
  bool RunFirst() ABSL_LOCKS_EXCLUDED(mu_);  // false when there was none

  const std::function<void()> idle_wake_;
  const std::function<void()> on_rest_;
  mutable Mutex mu_;
  CondVar work_;
  CondVar idle_;
  Queue queue_ ABSL_GUARDED_BY(mu_);
  Queue resting_ ABSL_GUARDED_BY(mu_);    // for whose sync there was no memory
  int waiting_ ABSL_GUARDED_BY(mu_) = 0;  // threads asleep that nobody has woken
  int running_ ABSL_GUARDED_BY(mu_) = 0;  // items being synced
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::broker
