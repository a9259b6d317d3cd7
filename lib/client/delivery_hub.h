#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "broker/broker.h"
#include "client/client_metrics.h"
#include "client/future_state.h"
#include "client/logger.h"
#include "millrace/producer.h"
#include "record/batch_builder.h"

namespace millrace::client {

class Batch;
class DeliveryHub;
class Lane;

// A counted reference to a batch; the last one gives it back for reuse.
class BatchRef {
 public:
  BatchRef() = default;
  explicit BatchRef(Batch* batch);
  BatchRef(const BatchRef& other) : BatchRef(other.batch_) {}
  BatchRef(BatchRef&& other) noexcept : batch_(std::exchange(other.batch_, nullptr)) {}
  BatchRef& operator=(BatchRef other) noexcept {
    std::swap(batch_, other.batch_);
    return *this;
  }
  ~BatchRef();
  explicit operator bool() const { return batch_ != nullptr; }
  Batch& operator*() const { return *batch_; }
  Batch* operator->() const { return batch_; }
  Batch* get() const { return batch_; }

 private:
  Batch* batch_ = nullptr;
};

// Get on the embedded backend syncs by itself: the future knows the batch that it waits for.
class DeliveryFuture : public FutureState<Delivery> {
 public:
  // `drive` does what is due in the broker, where waiting threads must; it may be empty.
  DeliveryFuture(std::shared_ptr<Clock> clock, std::weak_ptr<Executor> executor,
                 std::weak_ptr<class Context> context)
      : FutureState(std::move(clock), std::move(executor)), context_(std::move(context)) {}
  void SetBatch(BatchRef batch) {
    MutexLock lock(batch_mu_);
    batch_ = std::move(batch);
  }

 protected:
  absl::Duration Drive(bool unbounded) override;
  void Settled() override { SetBatch({}); }

 private:
  const std::weak_ptr<class Context> context_;
  Mutex batch_mu_;
  BatchRef batch_ ABSL_GUARDED_BY(batch_mu_);
};

// How one record's outcome is told: to a callback, a future, or a place in SendAll's answer.
struct Completion {
  DeliveryCallback callback;
  std::shared_ptr<DeliveryFuture> future;
  StatusOr<Delivery>* slot = nullptr;
  int64_t timestamp_ms = 0;
  absl::Duration sent_at;  // only where an observer wants to know
};

// Records of one partition that are appended together, and whom to tell. It is filled under its
// lane's lock, or by the one thread that has it; from then on only the atomics change, until its
// last reference goes.
class Batch {
 public:
  explicit Batch(BufferPool& pool) : builder(pool) {}

  // What it takes beside its records: the object, its first buffer, its place in an executor's
  // queue.
  static const size_t kOwnCharge;
  // An upper bound of what a record of `bytes` adds: buffers and vectors grow by doubling.
  static size_t ChargeOf(size_t bytes) { return 2 * (bytes + sizeof(Completion)); }

  enum class Stage : uint8_t {
    kCollecting,  // in its lane, open or queued
    kAppending,   // handed to the partition: may come to be in the log
    kDropped      // answered before that; must not be appended any more
  };

  // What the thread that runs callbacks touches stands together, apart from what the sender's does:
  // else the two would pass the whole batch to and fro between their caches.
  std::shared_ptr<Lane> lane;
  std::vector<Completion> completions;
  size_t charged_bytes = 0;  // what it holds of the buffer's bound
  std::atomic<bool> answered{false};
  std::atomic<bool> told{false};  // futures and slots have the outcome

 private:
  friend class BatchRef;
  friend class DeliveryHub;
  void Reset();  // what Recycle has left to be done
  std::atomic<int32_t> refs_{0};
  uint64_t id_ = 0;
  Batch* earlier_ = nullptr;  // in the hub's list of batches that are not finished
  Batch* later_ = nullptr;
  StatusOr<broker::Appended> result_ = broker::Appended{};

 public:
  alignas(64) record::BatchBuilder builder;
  bool sync = false;
  bool awaited = false;              // by SendAll
  bool caller_syncs = false;         // and SendAll will sync it
  bool has_callbacks = false;        // or an observer: something is left for the executor to run
  Stage stage = Stage::kCollecting;  // guarded by the lane's lock
  size_t allowed_bytes = 0;          // what the topic allowed when it was begun
  absl::Duration begun;
  absl::Duration linger_until;
  absl::Duration deadline;      // delivery_timeout
  std::atomic<Offset> end{-1};  // one past its last record, once it is written
};

// One producer's account of what is under way: bounds it, answers every record exactly once, and
// lets others wait for that. Outlives the producer until the last record is answered. Holds no
// reference to the broker, whose threads call it (see Context). Thread-safe. Its lock is a leaf.
class DeliveryHub : public std::enable_shared_from_this<DeliveryHub> {
 public:
  struct Options {
    size_t max_buffered_bytes = 0;
    absl::Duration delivery_timeout;
    std::shared_ptr<Clock> clock;
    // Kept by the client, and so by its producers. Not by the hub: the tasks that wait in it hold
    // the hub. Where it is gone, callbacks run on the thread that answers.
    std::weak_ptr<Executor> executor;
    // Those who wait for deliveries wait for their callbacks, too. Not with an executor of the
    // user's: it may run them on the very thread that waits.
    bool wait_for_callbacks = true;
    // A record may wait for callbacks to catch up, which a thread of ours runs.
    bool may_hold = false;
    std::shared_ptr<Observer> observer;
    std::shared_ptr<Logger> log;
    std::shared_ptr<ClientMetrics> metrics;
  };
  // `broker` is called only by threads that keep it alive: those inside of Send, and its own.
  DeliveryHub(Options options, broker::Broker* broker);
  ~DeliveryHub();

  // ---- space
  bool TryReserve(size_t bytes);
  void Release(size_t bytes, size_t records);
  // What a thread that waits does meanwhile: see Context::Drive.
  using Drive = std::function<absl::Duration()>;
  // Waits until TryReserve succeeds. timed_out never: buffer_full at `deadline`; cancelled.
  Status Reserve(size_t bytes, absl::Duration deadline, const std::stop_token& stop,
                 const Drive& drive);
  size_t buffered_bytes() const { return buffered_bytes_.load(std::memory_order_relaxed); }
  size_t buffered_records() const { return buffered_records_.load(std::memory_order_relaxed); }
  void CountRecord() { buffered_records_.fetch_add(1, std::memory_order_relaxed); }

  // What a batch takes beside its records, of which the first takes `record_charge`. Of a bound
  // that is too small for both it takes what is left: then one batch fills the buffer.
  size_t BatchCharge(size_t record_charge) const {
    return std::min(Batch::kOwnCharge, options_.max_buffered_bytes - record_charge);
  }

  // ---- batches
  // `charge` is reserved, and the batch's from now on.
  BatchRef NewBatch(std::shared_ptr<Lane> lane, bool registered, size_t charge);
  // From here on it is waited for, and has a deadline.
  void Register(Batch& batch);
  void Answer(Batch& batch, const StatusOr<broker::Appended>& result);
  void NotifyAppended();  // somebody may wait for a batch's `end`
  uint64_t last_batch_id() const;
  // Waits until every batch up to `id` is finished: answered, and (wait_for_callbacks) called.
  Status WaitFinished(uint64_t id, absl::Duration deadline, const std::stop_token& stop,
                      const Drive& drive);
  // Waits until `done` holds, looking again whenever a batch of SendAll is appended or answered.
  void WaitUntil(const std::function<bool()>& done, const Drive& drive);
  // Answers everything that is under way and has no answer: aborted.
  void AbortAll();

  const Options& options() const { return options_; }
  broker::Broker& broker() const { return *broker_; }

 private:
  friend class BatchRef;
  enum class Ended { kDone, kStopped, kTimedOut };
  // `done` is asked under the lock, again and again.
  template <typename Done>
  Ended WaitFor(const Done& done, absl::Duration deadline, const std::stop_token& stop,
                const Drive& drive);
  void RegisterLocked(Batch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ArmTimerFor(const Batch& batch);
  void Recycle(Batch* batch);
  void ReleaseSpace(Batch& batch);
  void Finish(Batch& batch);
  void RunCallbacks(Batch& batch);
  // What `call` throws is logged and counted.
  template <typename Call>
  void CallUser(std::string_view what, const Call& call);
  void ArmTimer(absl::Duration when);
  void Expire();
  std::vector<BatchRef> Unanswered(absl::Duration due);
  StatusOr<Delivery> OutcomeOf(const Batch& batch) const;

  const Options options_;
  const Executor* const executor_name_;  // for CallbackScope; not to be called
  broker::Broker* const broker_;
  std::atomic<size_t> buffered_bytes_{0};
  std::atomic<size_t> buffered_records_{0};
  std::atomic<int32_t> waiters_{0};
  std::atomic<bool> timer_armed_{false};

  mutable Mutex mu_;
  CondVar changed_;
  // In the order of making, which is that of their deadlines.
  Batch* oldest_ ABSL_GUARDED_BY(mu_) = nullptr;
  Batch* newest_ ABSL_GUARDED_BY(mu_) = nullptr;
  uint64_t last_id_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<std::unique_ptr<Batch>> spare_ ABSL_GUARDED_BY(mu_);
  size_t spare_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

// Space for one record in a producer's buffer, and for the batch that it may begin. What is not
// taken out of it goes back.
class Space {
 public:
  explicit Space(DeliveryHub& hub) : hub_(hub) {}
  ~Space() {
    if (for_record + for_batch > 0) hub_.Release(for_record + for_batch, for_record > 0 ? 1 : 0);
  }
  Space(const Space&) = delete;
  Space& operator=(const Space&) = delete;
  // Takes note of what was reserved.
  void Hold(size_t record, size_t batch) {
    for_record = record;
    for_batch = batch;
    hub_.CountRecord();
  }
  size_t for_record = 0;
  size_t for_batch = 0;

 private:
  DeliveryHub& hub_;
};

}  // namespace millrace::client
