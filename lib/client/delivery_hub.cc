#include "client/delivery_hub.h"

#include <algorithm>
#include <new>

#include <fmt/format.h>

#include "base/errors.h"
#include "client/callback_queue.h"
#include "client/context.h"
#include "client/lane.h"
#include "client/no_throw.h"

namespace millrace::client {
namespace {

constexpr size_t kMaxSpareBatches = 64;
// A batch that grew beyond this keeps no memory for its next use.
constexpr size_t kMaxSpareCompletions = 4096;

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

void Batch::Clear() {
  lane = nullptr;
  if (!builder.empty()) builder.Finish().IgnoreError();  // it was dropped, and not appended
  completions.clear();
  if (completions.capacity() > kMaxSpareCompletions) completions.shrink_to_fit();
  charged_bytes = 0;
  sync = caller_syncs = has_callbacks = false;
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
    : options_(std::move(options)), broker_(broker) {}

DeliveryHub::~DeliveryHub() = default;

bool DeliveryHub::TryReserve(size_t bytes) {
  if (buffered_bytes_.fetch_add(bytes) + bytes <= options_.max_buffered_bytes) return true;
  buffered_bytes_.fetch_sub(bytes);
  return false;
}

void DeliveryHub::Release(size_t bytes, size_t records) {
  buffered_bytes_.fetch_sub(bytes);
  buffered_records_.fetch_sub(records, std::memory_order_relaxed);
  if (waiters_.load() == 0) return;
  MutexLock lock(mu_);
  changed_.NotifyAll();
}

Status DeliveryHub::Reserve(size_t bytes, absl::Duration deadline, const std::stop_token& stop,
                            const std::function<absl::Duration()>& drive) {
  const absl::Duration began = options_.clock->Elapsed();
  options_.metrics->sends_throttled.fetch_add(1, std::memory_order_relaxed);
  const std::stop_callback wake(stop, [this] {
    MutexLock lock(mu_);
    changed_.NotifyAll();
  });
  waiters_.fetch_add(1);
  Status status;
  for (;;) {
    const absl::Duration nap = drive();
    MutexLock lock(mu_);
    if (TryReserve(bytes)) break;
    if (stop.stop_requested()) {
      status = MakeError(ErrorId::kCancelled, "the wait for buffer space was stopped");
      break;
    }
    const absl::Duration now = options_.clock->Elapsed();
    if (now >= deadline) {
      status = MakeError(ErrorId::kBufferFull,
                         fmt::format("{} bytes wait for their answer, {} more exceed "
                                     "max_buffered_bytes ({}); waited {} (max_block)",
                                     buffered_bytes(), bytes, options_.max_buffered_bytes,
                                     absl::FormatDuration(now - began)));
      break;
    }
    const absl::Duration until = std::min(deadline, now + nap);
    changed_.WaitWith(mu_,
                      [&](auto& cv, auto& held) { options_.clock->WaitUntil(cv, held, until); });
  }
  waiters_.fetch_sub(1);
  if (options_.observer != nullptr) {
    try {
      options_.observer->OnThrottled(options_.clock->Elapsed() - began);
    } catch (...) {
      options_.metrics->callbacks_threw.fetch_add(1, std::memory_order_relaxed);
    }
  }
  return status;
}

BatchRef DeliveryHub::NewBatch(std::shared_ptr<Lane> lane) {
  std::unique_ptr<Batch> batch;
  {
    MutexLock lock(mu_);
    if (!spare_.empty()) {
      batch = std::move(spare_.back());
      spare_.pop_back();
    }
  }
  if (batch == nullptr) batch = std::make_unique<Batch>(broker_->buffers());
  batch->lane = std::move(lane);
  batch->has_callbacks = options_.observer != nullptr;
  return BatchRef(batch.release());
}

void DeliveryHub::Register(Batch& batch) {
  batch.deadline = options_.clock->Elapsed() + options_.delivery_timeout;
  {
    MutexLock lock(mu_);
    batch.id_ = ++last_id_;
    batch.earlier_ = newest_;
    batch.later_ = nullptr;
    (newest_ != nullptr ? newest_->later_ : oldest_) = &batch;
    newest_ = &batch;
    batch.refs_.fetch_add(1, std::memory_order_relaxed);  // the list's
  }
  if (!timer_armed_.load(std::memory_order_relaxed) && !timer_armed_.exchange(true))
    ArmTimer(batch.deadline);
}

void DeliveryHub::Recycle(Batch* raw) {
  std::unique_ptr<Batch> batch(raw);
  batch->Clear();
  MutexLock lock(mu_);
  if (spare_.size() < kMaxSpareBatches) spare_.push_back(std::move(batch));
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
  const Status no_memory(absl::StatusCode::kResourceExhausted, "");
  try {
    if (completion.slot != nullptr) *completion.slot = outcome;
    if (completion.future != nullptr) completion.future->Set(outcome);
  } catch (const std::bad_alloc&) {
    if (completion.slot != nullptr) *completion.slot = no_memory;
    if (completion.future != nullptr) completion.future->Set(no_memory);
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
  StatusOr<Delivery> outcome = NoThrow([&] { return OutcomeOf(batch); });
  for (size_t i = 0; i < count; ++i) {
    const Completion& completion = batch.completions[i];
    if (completion.callback) continue;
    Adjust(outcome, batch.result_, i, completion.timestamp_ms);
    Tell(completion, outcome);
  }
  batch.told.store(true, std::memory_order_release);
  BatchRef keep(&batch);
  if (batch.has_callbacks) {
    try {
      options_.executor->Post([ref = keep] { ref->lane->hub().RunCallbacks(*ref); });
    } catch (const std::bad_alloc&) {
      RunCallbacks(batch);  // accepted means called, here if it must be
    }
  }
  if (!batch.has_callbacks || !options_.wait_for_callbacks) Finish(batch);
  if (batch.caller_syncs) NotifyAppended();
}

void DeliveryHub::RunCallbacks(Batch& batch) {
  const CallbackScope scope(options_.executor.get());
  StatusOr<Delivery> outcome = NoThrow([&] { return OutcomeOf(batch); });
  const absl::Duration now =
      options_.observer != nullptr ? options_.clock->Elapsed() : absl::ZeroDuration();
  for (size_t i = 0; i < batch.completions.size(); ++i) {
    Completion& completion = batch.completions[i];
    Adjust(outcome, batch.result_, i, completion.timestamp_ms);
    try {
      if (options_.observer != nullptr)
        options_.observer->OnDelivered(outcome, now - completion.sent_at);
      if (completion.callback) completion.callback(outcome);
    } catch (...) {
      options_.metrics->callbacks_threw.fetch_add(1, std::memory_order_relaxed);
      MILLRACE_LOG(*options_.log, kError, Text(CurrentException("a delivery callback")));
    }
    // What the callback captured goes now, in the scope that lets its destructor know where it is.
    completion.callback = nullptr;
  }
  ReleaseSpace(batch);
  if (options_.wait_for_callbacks) Finish(batch);
}

void DeliveryHub::ReleaseSpace(const Batch& batch) {
  Release(batch.charged_bytes, batch.completions.size());
  options_.metrics->buffered_bytes.fetch_sub(static_cast<int64_t>(batch.charged_bytes),
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
                                 const std::function<absl::Duration()>& drive) {
  const std::stop_callback wake(stop, [this] {
    MutexLock lock(mu_);
    changed_.NotifyAll();
  });
  waiters_.fetch_add(1);
  Status status;
  for (;;) {
    const absl::Duration nap = drive();
    MutexLock lock(mu_);
    if (oldest_ == nullptr || oldest_->id_ > id) break;
    if (stop.stop_requested()) {
      status = MakeError(ErrorId::kCancelled, "the wait for deliveries was stopped");
      break;
    }
    const absl::Duration now = options_.clock->Elapsed();
    if (now >= deadline) {
      status = MakeError(ErrorId::kTimedOut,
                         fmt::format("{} records ({} bytes) have no outcome yet",
                                     buffered_records(), buffered_bytes()),
                         {.persistence = Persistence::kPossiblyPersisted});
      break;
    }
    const absl::Duration until = std::min(deadline, now + nap);
    changed_.WaitWith(mu_,
                      [&](auto& cv, auto& held) { options_.clock->WaitUntil(cv, held, until); });
  }
  waiters_.fetch_sub(1);
  return status;
}

void DeliveryHub::WaitUntil(const std::function<bool()>& done,
                            const std::function<absl::Duration()>& drive) {
  waiters_.fetch_add(1);
  for (;;) {
    const absl::Duration nap = drive();
    MutexLock lock(mu_);
    if (done()) break;
    const absl::Duration until = options_.clock->Elapsed() + nap;
    changed_.WaitWith(mu_,
                      [&](auto& cv, auto& held) { options_.clock->WaitUntil(cv, held, until); });
  }
  waiters_.fetch_sub(1);
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
