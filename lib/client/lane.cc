#include "client/lane.h"

#include <new>
#include <utility>

#include "base/endian.h"
#include "base/errors.h"
#include "base/no_throw.h"

namespace millrace::client {
namespace {

// A thread appends at most so many batches in a row for others; then upkeep goes on. Otherwise one
// caller of Send could be kept for as long as others send.
constexpr int kMaxTurns = 64;

// Nagle's rule (RFC 896), turned around: where so many answers wait for their callbacks, the sender
// outruns them, and what it sends meanwhile can share a write without anybody waiting longer.
constexpr int32_t kAheadOfCallbacks = 16;
// Callbacks that take long hold back no record for longer than this.
constexpr absl::Duration kMostHeld = absl::Milliseconds(1);

// SplitMix64's mixing of a counter.
uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

int32_t Sticky::Pick(int32_t partition_count) {
  int32_t current = current_.load(std::memory_order_relaxed);
  if (current >= 0 && current < partition_count) return current;
  const auto count = static_cast<uint64_t>(partition_count);
  const uint64_t random = Mix(state_.fetch_add(0x9e3779b97f4a7c15, std::memory_order_relaxed));
  auto next = static_cast<int32_t>(random % count);
  // Another one than before: of the others, each is as likely.
  const int32_t last = last_.load(std::memory_order_relaxed);
  if (count > 1 && next == last)
    next = static_cast<int32_t>((static_cast<uint64_t>(next) + 1 + (random >> 32) % (count - 1)) %
                                count);
  if (current_.compare_exchange_strong(current, next, std::memory_order_relaxed)) {
    last_.store(next, std::memory_order_relaxed);
    return next;
  }
  return current >= 0 && current < partition_count ? current : next;
}

void Sticky::Leave(int32_t partition) {
  current_.compare_exchange_strong(partition, -1, std::memory_order_relaxed);
}

Lane::Lane(std::shared_ptr<DeliveryHub> hub, std::shared_ptr<broker::Partition> partition,
           std::shared_ptr<Sticky> sticky, LaneSettings settings)
    : hub_(std::move(hub)),
      partition_(std::move(partition)),
      sticky_(std::move(sticky)),
      settings_(settings) {}

Lane::Added Lane::Add(const PreparedRecord& r, Completion& completion, bool sync, Space& space) {
  bool mine = false;
  std::optional<absl::Duration> arm;
  Job first;
  {
    MutexLock lock(mu_);
    if (closed_) return Added::kClosed;
    // What comes below must not fail once the record is in.
    if (queue_.capacity() < queue_.size() + 2) queue_.reserve(2 * queue_.size() + 8);
    if (open_ && open_->builder.size_bytes() + r.bytes > settings_.batch_bytes) CloseOpen();
    const bool lingers = settings_.linger > absl::ZeroDuration();
    const bool held = !lingers && !sync && completion.callback && hub_->options().may_hold &&
                      callbacks_due_.load(std::memory_order_acquire) >= kAheadOfCallbacks;
    if (!open_) {
      const size_t charge = space.for_batch > 0 ? space.for_batch : hub_->BatchCharge(r.charge);
      if (space.for_batch == 0 && !hub_->TryReserve(charge)) return Added::kNoSpace;
      space.for_batch = charge;  // until the batch has it
      open_ = hub_->NewBatch(shared_from_this(), /*registered=*/true, charge);
      space.for_batch = 0;
      open_->allowed_bytes = settings_.max_batch_bytes;
      open_->linger_until = open_->begun + (lingers ? settings_.linger : kMostHeld);
    }
    if ((lingers || held) && !std::exchange(linger_armed_, true)) arm = open_->linger_until;
    open_->completions.push_back(std::move(completion));
    try {
      open_->builder.Append(r.timestamp_ms, r.key, r.value, r.headers);
    } catch (const std::bad_alloc&) {
      completion = std::move(open_->completions.back());
      open_->completions.pop_back();
      throw;
    }
    open_->charged_bytes += std::exchange(space.for_record, 0);
    open_->sync |= sync;
    const Completion& added = open_->completions.back();
    open_->has_callbacks |= static_cast<bool>(added.callback);
    if (added.future != nullptr) added.future->SetBatch(open_);
    if (open_->builder.size_bytes() >= settings_.batch_bytes || (!lingers && !held && !appending_))
      CloseOpen();
    mine = TakeTurn();
    if (mine && partition_->is_open()) first = PopForAppend();
  }
  if (arm.has_value()) ArmLinger(*arm);
  if (mine) Append(std::move(first));
  return Added::kYes;
}

bool Lane::Enqueue(std::span<const BatchRef> batches) {
  bool mine = false;
  {
    MutexLock lock(mu_);
    if (closed_) return false;
    queue_.reserve(queue_.size() + batches.size() + 2);
    CloseOpen();
    for (const BatchRef& batch : batches) {
      hub_->Register(*batch);
      CountClosed(*batch);
      queue_.push_back(batch);
    }
    sticky_->Leave(partition_->name().partition);
    mine = TakeTurn();
  }
  if (mine) Append({});
  return true;
}

LaneSettings Lane::settings() const {
  MutexLock lock(mu_);
  return settings_;
}

void Lane::SetSettings(const LaneSettings& settings) {
  MutexLock lock(mu_);
  settings_ = settings;
}

void Lane::Flush() {
  bool mine = false;
  {
    MutexLock lock(mu_);
    CloseOpen();
    mine = TakeTurn();
  }
  if (mine) Append({});
}

// After the last callback nobody is left who would close a batch that is held. The lock comes after
// that of an Add which still saw some.
void Lane::NoteCalled() {
  if (callbacks_due_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  bool mine = false;
  {
    MutexLock lock(mu_);
    if (settings_.linger == absl::ZeroDuration() && !appending_) CloseOpen();
    mine = TakeTurn();
  }
  if (mine) Append({});
}

void Lane::Close() {
  {
    MutexLock lock(mu_);
    closed_ = true;
  }
  Flush();
}

bool Lane::Drop(Batch& batch) {
  MutexLock lock(mu_);
  if (batch.stage == Batch::Stage::kAppending) return false;
  batch.stage = Batch::Stage::kDropped;
  if (open_.get() == &batch) CloseOpen();  // so that nothing is added any more
  return true;
}

void Lane::CloseOpen() {
  if (!open_) return;
  CountClosed(*open_);
  queue_.push_back(std::move(open_));
  sticky_->Leave(partition_->name().partition);
}

void Lane::CountClosed(const Batch& batch) const {
  ClientMetrics& metrics = *hub_->options().metrics;
  const size_t count = batch.completions.size();
  metrics.records_sent.fetch_add(count, std::memory_order_relaxed);
  metrics.buffered_records.fetch_add(static_cast<int64_t>(count), std::memory_order_relaxed);
  metrics.buffered_bytes.fetch_add(static_cast<int64_t>(batch.charged_bytes),
                                   std::memory_order_relaxed);
}

bool Lane::TakeTurn() { return !QueueEmpty() && !std::exchange(appending_, true); }

// The next batch that is still to be appended; none when the queue is empty.
Lane::Job Lane::PopForAppend() {
  Job job;
  while (!job.batch && !QueueEmpty()) {
    job.batch = std::move(queue_[queue_begin_++]);
    if (QueueEmpty()) {
      queue_.clear();
      queue_begin_ = 0;
    }
    if (job.batch->stage == Batch::Stage::kDropped) job.batch = {};
  }
  if (job.batch) job.batch->stage = Batch::Stage::kAppending;
  job.settings = settings_;
  return job;
}

// The first append of a partition may have to make it. No sender is kept waiting for that.
void Lane::Append(Job job) {
  if (!job.batch && !partition_->is_open()) {
    try {
      return hub_->broker().RunApart([self = shared_from_this()] { self->AppendQueued({}); });
    } catch (const std::bad_alloc&) {
      // Then here.
    }
  }
  AppendQueued(std::move(job));
}

void Lane::AppendQueued(Job job) {
  for (int turn = 0;; ++turn) {
    if (job.batch) AppendOne(*job.batch, job.settings);
    bool hand_over = false;
    {
      MutexLock lock(mu_);
      if (QueueEmpty() && settings_.linger == absl::ZeroDuration()) CloseOpen();
      hand_over = turn == kMaxTurns && !QueueEmpty();
      job = hand_over ? Job{} : PopForAppend();
      if (!job.batch) appending_ = false;
    }
    if (hand_over) FlushLater();
    if (!job.batch) return;
  }
}

void Lane::AppendOne(Batch& batch, const LaneSettings& settings) {
  Status status;
  try {
    StatusOr<record::EncodedBatch> encoded =
        batch.builder.Finish(settings.codec, settings.compression_level);
    status = encoded.status();
    if (status.ok()) {
      const broker::AppendOptions options{.acks = settings.acks,
                                          .sync = batch.sync,
                                          .idempotent = settings.idempotent,
                                          .caller_syncs = batch.caller_syncs,
                                          .allowed_bytes = batch.allowed_bytes};
      status = partition_->Append(*encoded, options,
                                  [ref = BatchRef(&batch)](const StatusOr<broker::Appended>& a) {
                                    ref->lane->hub().Answer(*ref, a);
                                  });
      if (status.ok()) {
        // The partition has written the base offset into the batch.
        const Offset base = LoadBigEndian<int64_t>(encoded->buffer.data());
        batch.end.store(base + encoded->record_count, std::memory_order_release);
        if (batch.awaited) hub_->NotifyAppended();
      }
      batch.builder.Reuse(std::move(encoded->buffer));
    }
  } catch (const std::bad_alloc&) {
    status = OutOfMemory();
  }
  if (!status.ok()) hub_->Answer(batch, status);
}

// The record that asked for this is accepted already: where there is no memory for a timer, what
// the timer is for happens now.
void Lane::ArmLinger(absl::Duration when) {
  try {
    hub_->broker().CallAt(when, [self = shared_from_this()] { self->OnLinger(); });
  } catch (const std::bad_alloc&) {
    {
      MutexLock lock(mu_);
      linger_armed_ = false;
    }
    Flush();
  }
}

void Lane::FlushLater() {
  try {
    hub_->broker().CallAt(hub_->options().clock->Elapsed(),
                          [self = shared_from_this()] { self->Flush(); });
  } catch (const std::bad_alloc&) {
    Flush();
  }
}

void Lane::OnLinger() {
  bool mine = false;
  std::optional<absl::Duration> again;
  {
    MutexLock lock(mu_);
    if (open_ && open_->linger_until > hub_->options().clock->Elapsed())
      again = open_->linger_until;
    else
      CloseOpen();
    linger_armed_ = again.has_value();
    mine = TakeTurn();
  }
  if (again.has_value()) ArmLinger(*again);
  if (mine) Append({});
}

}  // namespace millrace::client
