#include "client/delivery_hub.h"

#include <algorithm>
#include <new>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/no_throw.h"
#include "client/callback_queue.h"
#include "client/context.h"
#include "client/lane.h"

namespace millrace::client {
namespace {

constexpr size_t kMaxSpareBatches = 64;
constexpr size_t kMaxSpareBytes = 1 << 20;

// What a spare batch holds beside itself and a small buffer.
size_t SpareBytes(const Batch& batch) { return batch.completions.capacity() * sizeof(Completion); }

// Counts a waiter for the length of a scope.
class Waiter {
 public:
  explicit Waiter(std::atomic<int32_t>& count) : count_(count) { count_.fetch_add(1); }
  ~Waiter() { count_.fetch_sub(1); }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

 private:
  std::atomic<int32_t>& count_;
};

}  // namespace

// ---- references

BatchRef::BatchRef(Batch* batch) : batch_(batch) {
  if (batch_ != nullptr) batch_->refs_.fetch_add(1, std::memory_order_relaxed);
}

BatchRef::~BatchRef() {
  if (batch_ == nullptr || batch_->refs_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  // The hub must live until the batch lies in its list again; the batch itself lets go of it there.
  const std::shared_ptr<DeliveryHub> hub = batch_->lane->shared_hub();
  hub->Recycle(batch_);
}

const size_t Batch::kOwnCharge = sizeof(Batch) + 4096 + 128;

void Batch::Reset() {
  if (!builder.empty()) builder.Finish().IgnoreError();  // it was dropped, and not appended
  charged_bytes = 0;
  sync = awaited = caller_syncs = has_callbacks = false;
  stage = Stage::kCollecting;
  end.store(-1, std::memory_order_relaxed);
  answered.store(false, std::memory_order_relaxed);
  told.store(false, std::memory_order_relaxed);
  result_ = broker::Appended{};
}

absl::Duration DeliveryFuture::Drive(bool unbounded) {
  BatchRef batch;
  {
    MutexLock lock(batch_mu_);
    batch = batch_;
  }
  const std::shared_ptr<Context> context = context_.lock();
  if (context == nullptr || !batch) return absl::InfiniteDuration();
  const Offset end = batch->end.load(std::memory_order_acquire);
  // A sync may take longer than a caller with a deadline wants to wait; the sync lane does it then.
  if (end >= 0 && !batch->answered.load() && (unbounded || context->drives_broker()))
    batch->lane->partition()->SyncTo(end).IgnoreError();  // the record is answered with it
  return context->Drive();
}

// ---- the hub

DeliveryHub::DeliveryHub(Options options, broker::Broker* broker)
    : options_(std::move(options)),
      executor_name_(options_.executor.lock().get()),
      broker_(broker) {
  spare_.reserve(kMaxSpareBatches);  // a destructor gives batches back
}

DeliveryHub::~DeliveryHub() = default;

bool DeliveryHub::TryReserve(size_t bytes) {
  size_t held = buffered_bytes_.load();
  while (bytes <= options_.max_buffered_bytes && held <= options_.max_buffered_bytes - bytes)
    if (buffered_bytes_.compare_exchange_weak(held, held + bytes)) return true;
  return false;
}

void DeliveryHub::Release(size_t bytes, size_t records) {
  buffered_bytes_.fetch_sub(bytes);
  buffered_records_.fetch_sub(records, std::memory_order_relaxed);
  if (waiters_.load() == 0) return;
  MutexLock lock(mu_);
  changed_.NotifyAll();
}

template <typename Done>
DeliveryHub::Ended DeliveryHub::WaitFor(const Done& done, absl::Duration deadline,
                                        const std::stop_token& stop, const Drive& drive) {
  const std::stop_callback wake(stop, [this] {
    MutexLock lock(mu_);
    changed_.NotifyAll();
  });
  const Waiter waiter(waiters_);
  for (;;) {
    const absl::Duration nap = drive();
    MutexLock lock(mu_);
    if (done()) return Ended::kDone;
    if (stop.stop_requested()) return Ended::kStopped;
    const absl::Duration now = options_.clock->Elapsed();
    if (now >= deadline) return Ended::kTimedOut;
    const absl::Duration until = std::min(deadline, now + nap);
    changed_.WaitWith(mu_,
                      [&](auto& cv, auto& held) { options_.clock->WaitUntil(cv, held, until); });
  }
}

Status DeliveryHub::Reserve(size_t bytes, absl::Duration deadline, const std::stop_token& stop,
                            const Drive& drive) {
  const absl::Duration began = options_.clock->Elapsed();
  options_.metrics->sends_throttled.fetch_add(1, std::memory_order_relaxed);
  const Ended ended = WaitFor([&] { return TryReserve(bytes); }, deadline, stop, drive);
  const absl::Duration waited = options_.clock->Elapsed() - began;
  if (options_.observer != nullptr) {
    try {
      options_.observer->OnThrottled(waited);
    } catch (...) {
      options_.metrics->callbacks_threw.fetch_add(1, std::memory_order_relaxed);
    }
  }
  if (ended == Ended::kStopped)
    return MakeError(ErrorId::kCancelled, "the wait for buffer space was stopped");
  if (ended == Ended::kDone) return absl::OkStatus();
  return MakeError(ErrorId::kBufferFull,
                   fmt::format("{} bytes wait for their answer, {} more exceed "
                               "max_buffered_bytes ({}); waited {} (max_block)",
                               buffered_bytes(), bytes, options_.max_buffered_bytes,
                               absl::FormatDuration(waited)));
}

BatchRef DeliveryHub::NewBatch(std::shared_ptr<Lane> lane, bool registered, size_t charge) {
  const absl::Duration now = registered ? options_.clock->Elapsed() : absl::ZeroDuration();
  const auto prepared = [&](std::unique_ptr<Batch> batch) {
    batch->Reset();
    batch->lane = std::move(lane);
    batch->has_callbacks = options_.observer != nullptr;
    batch->begun = now;
    batch->deadline = now + options_.delivery_timeout;
    batch->charged_bytes = charge;
    return BatchRef(batch.release());
  };
  BatchRef made;
  {
    MutexLock lock(mu_);
    if (!spare_.empty()) {
      spare_bytes_ -= SpareBytes(*spare_.back());
      made = prepared(std::move(spare_.back()));
      spare_.pop_back();
      if (registered) RegisterLocked(*made);
    }
  }
  if (!made) {
    made = prepared(std::make_unique<Batch>(broker_->buffers()));
    MutexLock lock(mu_);
    if (registered) RegisterLocked(*made);
  }
  if (registered) ArmTimerFor(*made);
  return made;
}

void DeliveryHub::Register(Batch& batch) {
  batch.deadline = options_.clock->Elapsed() + options_.delivery_timeout;
  {
    MutexLock lock(mu_);
    RegisterLocked(batch);
  }
  ArmTimerFor(batch);
}

void DeliveryHub::RegisterLocked(Batch& batch) {
  batch.id_ = ++last_id_;
  batch.earlier_ = newest_;
  batch.later_ = nullptr;
  (newest_ != nullptr ? newest_->later_ : oldest_) = &batch;
  newest_ = &batch;
  batch.refs_.fetch_add(1, std::memory_order_relaxed);  // the list's
}

void DeliveryHub::ArmTimerFor(const Batch& batch) {
  if (!timer_armed_.load(std::memory_order_relaxed) && !timer_armed_.exchange(true))
    ArmTimer(batch.deadline);
}

void DeliveryHub::Recycle(Batch* raw) {
  std::unique_ptr<Batch> batch(raw);
  batch->lane = nullptr;
  batch->completions.clear();
  if (batch->charged_bytes > 0) Release(std::exchange(batch->charged_bytes, 0), 0);  // never used
  if (!batch->result_.ok()) batch->Reset();  // not appended, perhaps: its bytes go now
  const size_t held = SpareBytes(*batch);
  MutexLock lock(mu_);
  if (spare_.size() == kMaxSpareBatches || spare_bytes_ + held > kMaxSpareBytes) return;
  spare_.push_back(std::move(batch));
  spare_bytes_ += held;
}

StatusOr<Delivery> DeliveryHub::OutcomeOf(const Batch& batch) const {
  if (!batch.result_.ok()) return batch.result_.status();
  Delivery delivery;
  delivery.partition = batch.lane->partition()->name();
  return delivery;
}

namespace {

// Makes the batch's outcome that of its `index`-th record.
void Adjust(StatusOr<Delivery>& outcome, const StatusOr<broker::Appended>& result, size_t index,
            int64_t timestamp_ms) {
  if (!outcome.ok()) return;
  outcome->offset = result->base_offset + static_cast<Offset>(index);
  outcome->timestamp = absl::FromUnixMillis(
      result->log_append_time_ms >= 0 ? result->log_append_time_ms : timestamp_ms);
}

}  // namespace

namespace {

void Tell(const Completion& completion, const StatusOr<Delivery>& outcome) {
  try {
    if (completion.slot != nullptr) *completion.slot = outcome;
    if (completion.future != nullptr) completion.future->Set(outcome);
  } catch (const std::bad_alloc&) {
    if (completion.slot != nullptr) *completion.slot = OutOfMemory();
    if (completion.future != nullptr) completion.future->Set(OutOfMemory());
  }
}

}  // namespace

void DeliveryHub::Answer(Batch& batch, const StatusOr<broker::Appended>& result) {
  if (batch.answered.exchange(true)) return;
  batch.result_ = result;
  const size_t count = batch.completions.size();
  (result.ok() ? options_.metrics->records_delivered : options_.metrics->records_failed)
      .fetch_add(count, std::memory_order_relaxed);
  // Before anybody is told, who may look at the figures at once.
  if (!batch.has_callbacks) ReleaseSpace(batch);
  std::optional<StatusOr<Delivery>> outcome;
  for (size_t i = 0; i < count; ++i) {
    const Completion& completion = batch.completions[i];
    if (completion.callback) continue;
    if (!outcome.has_value()) outcome = NoThrow([&] { return OutcomeOf(batch); });
    Adjust(*outcome, batch.result_, i, completion.timestamp_ms);
    Tell(completion, *outcome);
  }
  batch.told.store(true, std::memory_order_release);
  BatchRef keep(&batch);
  if (batch.has_callbacks) {
    batch.lane->NoteCallbacksDue();
    bool posted = false;
    try {
      if (const std::shared_ptr<Executor> executor = options_.executor.lock()) {
        executor->Post([ref = keep] { ref->lane->hub().RunCallbacks(*ref); });
        posted = true;
      }
    } catch (...) {
      // Without memory, or an executor of the user's that takes nothing more.
    }
    if (!posted) RunCallbacks(batch);  // accepted means called, here if it must be
  }
  if (!batch.has_callbacks || !options_.wait_for_callbacks) Finish(batch);
  if (batch.awaited) NotifyAppended();
}

template <typename Call>
void DeliveryHub::CallUser(std::string_view what, const Call& call) try {
  call();
} catch (...) {
  options_.metrics->callbacks_threw.fetch_add(1, std::memory_order_relaxed);
  MILLRACE_LOG(*options_.log, kError, Text(CurrentException(what)));
}

void DeliveryHub::RunCallbacks(Batch& batch) {
  const CallbackScope scope(executor_name_);
  StatusOr<Delivery> outcome = NoThrow([&] { return OutcomeOf(batch); });
  const absl::Duration now =
      options_.observer != nullptr ? options_.clock->Elapsed() : absl::ZeroDuration();
  for (size_t i = 0; i < batch.completions.size(); ++i) {
    Completion& completion = batch.completions[i];
    Adjust(outcome, batch.result_, i, completion.timestamp_ms);
    // Each by itself: where an observer throws the record's callback is called all the same.
    if (options_.observer != nullptr)
      CallUser("Observer::OnDelivered",
               [&] { options_.observer->OnDelivered(outcome, now - completion.sent_at); });
    if (completion.callback) CallUser("a delivery callback", [&] { completion.callback(outcome); });
    // What the callback captured goes now, in the scope that lets its destructor know where it is.
    completion.callback = nullptr;
  }
  ReleaseSpace(batch);
  if (options_.wait_for_callbacks) Finish(batch);
  batch.lane->NoteCalled();
}

void DeliveryHub::ReleaseSpace(Batch& batch) {
  const size_t bytes = std::exchange(batch.charged_bytes, 0);
  Release(bytes, batch.completions.size());
  options_.metrics->buffered_bytes.fetch_sub(static_cast<int64_t>(bytes),
                                             std::memory_order_relaxed);
  options_.metrics->buffered_records.fetch_sub(static_cast<int64_t>(batch.completions.size()),
                                               std::memory_order_relaxed);
}

void DeliveryHub::Finish(Batch& batch) {
  {
    MutexLock lock(mu_);
    (batch.earlier_ != nullptr ? batch.earlier_->later_ : oldest_) = batch.later_;
    (batch.later_ != nullptr ? batch.later_->earlier_ : newest_) = batch.earlier_;
    if (waiters_.load() != 0) changed_.NotifyAll();
  }
  // The list's reference; the caller has one of its own, so this is never the last.
  batch.refs_.fetch_sub(1, std::memory_order_relaxed);
}

void DeliveryHub::NotifyAppended() {
  MutexLock lock(mu_);
  changed_.NotifyAll();
}

uint64_t DeliveryHub::last_batch_id() const {
  MutexLock lock(mu_);
  return last_id_;
}

Status DeliveryHub::WaitFinished(uint64_t id, absl::Duration deadline, const std::stop_token& stop,
                                 const Drive& drive) {
  const auto finished = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return oldest_ == nullptr || oldest_->id_ > id;
  };
  const Ended ended = WaitFor(finished, deadline, stop, drive);
  if (ended == Ended::kDone) return absl::OkStatus();
  if (ended == Ended::kStopped)
    return MakeError(ErrorId::kCancelled, "the wait for deliveries was stopped");
  return MakeError(ErrorId::kTimedOut,
                   fmt::format("{} records ({} bytes) have no outcome yet", buffered_records(),
                               buffered_bytes()),
                   {.persistence = Persistence::kPossiblyPersisted});
}

void DeliveryHub::WaitUntil(const std::function<bool()>& done, const Drive& drive) {
  WaitFor(done, absl::InfiniteDuration(), {}, drive);
}

// ---- delivery timeout

void DeliveryHub::ArmTimer(absl::Duration when) {
  try {
    broker_->CallAt(when, [weak = weak_from_this()] {
      if (const auto hub = weak.lock()) hub->Expire();
    });
  } catch (const std::bad_alloc&) {
    timer_armed_.store(false);  // the next batch tries again
  }
}

std::vector<BatchRef> DeliveryHub::Unanswered(absl::Duration due) {
  std::vector<BatchRef> found;
  MutexLock lock(mu_);
  for (Batch* batch = oldest_; batch != nullptr && batch->deadline <= due; batch = batch->later_)
    if (!batch->answered.load()) found.emplace_back(batch);
  return found;
}

void DeliveryHub::Expire() {
  for (const BatchRef& batch : Unanswered(options_.clock->Elapsed())) {
    const bool dropped = batch->lane->Drop(*batch);
    const TopicPartition& name = batch->lane->partition()->name();
    Answer(*batch,
           MakeError(ErrorId::kTimedOut,
                     fmt::format("{}-{}: not answered within delivery_timeout ({}){}", name.topic,
                                 name.partition, absl::FormatDuration(options_.delivery_timeout),
                                 dropped ? "; not appended" : ""),
                     {.topic = name.topic,
                      .partition = name.partition,
                      .persistence =
                          dropped ? Persistence::kNotPersisted : Persistence::kPossiblyPersisted}));
  }
  std::optional<absl::Duration> next;
  {
    MutexLock lock(mu_);
    const Batch* batch = oldest_;
    while (batch != nullptr && batch->answered.load()) batch = batch->later_;
    if (batch != nullptr)
      next = batch->deadline;
    else
      timer_armed_.store(false);
  }
  if (next.has_value()) ArmTimer(*next);
}

void DeliveryHub::AbortAll() {
  for (const BatchRef& batch : Unanswered(absl::InfiniteDuration())) {
    const bool dropped = batch->lane->Drop(*batch);
    const TopicPartition& name = batch->lane->partition()->name();
    Answer(*batch, MakeError(ErrorId::kAborted,
                             fmt::format("{}-{}: the producer was closed before the record was "
                                         "answered",
                                         name.topic, name.partition),
                             {.topic = name.topic,
                              .partition = name.partition,
                              .persistence = dropped ? Persistence::kNotPersisted
                                                     : Persistence::kPossiblyPersisted}));
  }
}

}  // namespace millrace::client
