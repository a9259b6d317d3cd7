#include "client/embedded_consumer.h"

#include <algorithm>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/no_throw.h"
#include "base/status_macros.h"

namespace millrace::client {
namespace {

// As large as pays off: one read of this size costs little more a byte than a larger one.
constexpr size_t kFetchBytes = 1 << 20;
// A wait that ended this soon was not worth a sleep; then the next one spins for as long first.
constexpr absl::Duration kSpin = absl::Microseconds(50);
constexpr absl::Duration kOldBatch = absl::Minutes(1);

const void* ThisThread() {
  thread_local char token;
  return &token;
}

}  // namespace

// ---- one thread at a time

EmbeddedConsumer::Use::Use(EmbeddedConsumer& consumer, Nested nested) : consumer_(consumer) {
  const void* none = nullptr;
  if (consumer_.user_.compare_exchange_strong(none, ThisThread(), std::memory_order_acquire)) {
    consumer_.depth_ = 1;
    return;
  }
  if (none != ThisThread()) {
    status_ = MakeError(ErrorId::kConcurrentUse,
                        "another thread is in a call of this consumer; it is for one at a time");
  } else if (nested == Nested::kRefused) {
    status_ =
        MakeError(ErrorId::kReentrant, "called inside a rebalance listener of the same consumer");
  } else {
    ++consumer_.depth_;
  }
}

EmbeddedConsumer::Use::~Use() {
  if (!status_.ok() || --consumer_.depth_ > 0) return;
  if (std::exchange(consumer_.abandoned_, false))
    consumer_.LeaveAndDrop(consumer_.context_->options.close_timeout).IgnoreError();
  consumer_.user_.store(nullptr, std::memory_order_release);
}

EmbeddedConsumer::EmbeddedConsumer(std::shared_ptr<Context> context, ConsumerOptions options)
    : context_(std::move(context)),
      options_(std::move(options)),
      account_(std::make_shared<PinAccount>(context_->metrics)) {
  const uint64_t high = context_->broker->random().Next();
  member_id_ = Uuid::FromRandom(high, context_->broker->random().Next()).ToString();
  close_hook_ = context_->AddCloseHook([bell = bell_](absl::Duration) { bell->Ring(); });
}

EmbeddedConsumer::~EmbeddedConsumer() {
  if (context_->forked()) return;
  context_->RemoveCloseHook(close_hook_);
  DropAllCursors();
}

Status EmbeddedConsumer::usable() const {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  if (closed_.load(std::memory_order_relaxed))
    return MakeError(ErrorId::kClosed, "the consumer was closed");
  return absl::OkStatus();
}

// ---- waking

void EmbeddedConsumer::Wake() {
  wake_.store(true, std::memory_order_release);
  bell_->Ring();
}

int EmbeddedConsumer::event_fd() {
  const int fd = bell_->fd();
  if (!fd_used_.exchange(true)) bell_->Ring();  // what came before is seen by the first Poll
  return fd;
}

// An error ends a Poll before it has looked at everything, so the next one may find something.
void EmbeddedConsumer::RingIfReadable(const Status& polled) {
  if (!fd_used_.load(std::memory_order_relaxed)) return;
  const bool readable =
      !polled.ok() || !errors_.empty() || std::ranges::any_of(order_, [](const Cursor& cursor) {
        return !cursor->paused && !cursor->resting && cursor->readable();
      });
  if (readable) bell_->Ring();
}

// ---- Poll

StatusOr<RecordBatch> EmbeddedConsumer::Poll(Consumer& self, absl::Duration timeout,
                                             const std::stop_token& stop) try {
  const Use use(*this, Nested::kRefused);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  if (mode_ == Mode::kNone)
    return MakeError(ErrorId::kNotAssigned,
                     "the consumer reads nothing: Subscribe to topics or Assign partitions first");
  if (fd_used_.load(std::memory_order_relaxed)) bell_->ClearFd();
  LookForOldBatches();
  const absl::Duration deadline = context_->clock->Elapsed() + timeout;
  std::optional<Status> failed = CommitBetweenPolls();
  StatusOr<RecordBatch> batch = failed.has_value() ? StatusOr<RecordBatch>(*std::move(failed))
                                                   : PollLoop(self, deadline, stop);
  RingIfReadable(batch.status());
  if (batch.ok() && !batch->empty()) {
    context_->metrics->polls.fetch_add(1, std::memory_order_relaxed);
    context_->metrics->records_polled.fetch_add(batch->size(), std::memory_order_relaxed);
    if (context_->options.observer != nullptr) {
      try {
        context_->options.observer->OnPolled(*batch);
      } catch (...) {
        context_->metrics->callbacks_threw.fetch_add(1, std::memory_order_relaxed);
      }
    }
  }
  return batch;
} catch (const std::bad_alloc&) {
  return OutOfMemory();
}

std::optional<Status> EmbeddedConsumer::Interrupted(const std::stop_token& stop) {
  if (Status status = usable(); !status.ok()) return status;
  if (stop.stop_requested()) return MakeError(ErrorId::kCancelled, "stop was requested");
  if (wake_.exchange(false, std::memory_order_acquire))
    return MakeError(ErrorId::kCancelled, "Wake was called");
  return std::nullopt;
}

// One that is forgotten somewhere shows in a line of the log, now and then.
void EmbeddedConsumer::LookForOldBatches() {
  const absl::Duration now = context_->clock->Elapsed();
  const std::optional<absl::Duration> since = storages_->oldest_lent();
  if (!since.has_value() || now - *since < kOldBatch || now - last_old_batch_ < kOldBatch) return;
  last_old_batch_ = now;
  MILLRACE_LOG(
      *context_->log, kWarning,
      fmt::format("a batch that Poll returned has been held for {}; all batches and pins "
                  "of this consumer hold {} bytes (max_pinned_bytes is {})",
                  absl::FormatDuration(now - *since),
                  account_->bytes.load(std::memory_order_relaxed), options_.max_pinned_bytes));
}

StatusOr<RecordBatch> EmbeddedConsumer::PollLoop(Consumer& self, absl::Duration deadline,
                                                 const std::stop_token& stop) {
  struct RingBell {
    Bell* bell;
    void operator()() const { bell->Ring(); }
  };
  std::optional<std::stop_callback<RingBell>> on_stop;
  for (;;) {
    const uint32_t seen = bell_->count();
    if (std::optional<Status> why = Interrupted(stop)) return *std::move(why);
    context_->Drive();
    if (mode_ == Mode::kSubscribed) {
      MILLRACE_RETURN_IF_ERROR(StepGroup(self));
      if (std::optional<Status> why = Interrupted({})) return *std::move(why);  // by a listener
    }
    MILLRACE_RETURN_IF_ERROR(ResolvePositions());
    MILLRACE_ASSIGN_OR_RETURN(std::shared_ptr<BatchStorage> storage, Gather());
    const bool found = !storage->entries.empty();
    const bool moved = std::exchange(moved_, false);  // a position, to where there may be records
    if (found || (!moved && context_->clock->Elapsed() >= deadline))
      return MakeBatch(std::move(storage), account_);
    storage.reset();
    if (moved) continue;
    if (!on_stop.has_value() && stop.stop_possible()) on_stop.emplace(stop, RingBell{bell_.get()});
    Sleep(seen, deadline);
  }
}

void EmbeddedConsumer::Sleep(uint32_t seen, absl::Duration deadline) {
  const absl::Duration began = context_->clock->Elapsed();
  absl::Duration until = deadline;
  if (context_->drives_broker()) until = std::min(until, began + absl::Milliseconds(2));
  if (mode_ == Mode::kSubscribed)
    until = std::min(until, last_touch_ + options_.max_poll_interval / 20);
  for (const Cursor& cursor : order_)
    if (cursor->retry_at > began) until = std::min(until, cursor->retry_at);
  bell_->Wait(*context_->clock, seen, until, arrivals_are_close_ ? kSpin : absl::ZeroDuration());
  // A wait that something ended soon says that more may come as soon.
  arrivals_are_close_ = bell_->count() != seen && context_->clock->Elapsed() - began < kSpin;
}

StatusOr<std::shared_ptr<BatchStorage>> EmbeddedConsumer::Gather() {
  if (!errors_.empty()) {
    Status error = std::move(errors_.front());
    errors_.pop_front();
    return error;
  }
  std::shared_ptr<BatchStorage> storage = storages_->Take(context_->clock->Elapsed());
  for (const Cursor& cursor : order_) cursor->BeginPoll();
  try {
    GatherInto(*storage);
  } catch (const std::bad_alloc&) {
    for (const Cursor& cursor : order_) cursor->Rewind();
    throw;
  }
  if (storage->entries.empty() && !errors_.empty()) {
    Status error = std::move(errors_.front());
    errors_.pop_front();
    return error;
  }
  return storage;
}

void EmbeddedConsumer::GatherInto(BatchStorage& storage) {
  PollBudget budget{.records = options_.max_poll_records, .bytes = options_.max_poll_bytes};
  size_t waiting_bytes = 0;
  for (const Cursor& cursor : order_) waiting_bytes += cursor->fetched_bytes();
  // What was fetched and did not fit yet is bounded, too: at the bound it is served first. It is no
  // fault of the user's that it is held.
  const bool may_fetch = waiting_bytes <= options_.max_poll_bytes;
  const size_t limit = options_.max_pinned_bytes;
  const size_t most_pinned = std::max(limit, limit + waiting_bytes);  // SIZE_MAX is no bound
  if (PinnedTooMuch(most_pinned)) return;
  const size_t count = order_.size();
  const size_t first = count == 0 ? 0 : next_ % count;
  for (size_t i = 0; i < count; ++i) {
    const size_t at = (first + i) % count;
    PartitionCursor& cursor = *order_[at];
    if (cursor.paused || cursor.resting || cursor.position() == PartitionCursor::kUnknown) continue;
    if (!GatherFrom(cursor, storage, budget, may_fetch ? most_pinned : 0)) {
      next_ = at + 1;  // the others come first the next time
      return;
    }
  }
}

// The error of that waits for the caller of Poll, then.
bool EmbeddedConsumer::PinnedTooMuch(size_t most_pinned) {
  const size_t pinned = account_->bytes.load(std::memory_order_relaxed);
  if (pinned < most_pinned) return false;
  const size_t waiting = most_pinned - options_.max_pinned_bytes;
  errors_.push_back(
      MakeError(ErrorId::kPinnedTooMuch,
                fmt::format("batches and pins of this consumer hold {} bytes, max_pinned_bytes is "
                            "{}; drop some",
                            pinned - waiting, options_.max_pinned_bytes)));
  return true;
}

// Takes what is there already; fetches more up to `most_pinned`, or none where that is 0. False:
// this Poll is full.
bool EmbeddedConsumer::GatherFrom(PartitionCursor& cursor, BatchStorage& storage,
                                  PollBudget& budget, size_t most_pinned) {
  BufferPool& pool = context_->broker->buffers();
  for (;;) {
    if (cursor.has_fetched()) {
      if (Status status = cursor.Take(storage, budget, pool); !status.ok()) {
        Fail(cursor, status);
        return true;
      }
      if (budget.spent || budget.records == 0) return false;
    }
    if (most_pinned == 0 || cursor.retry_at > context_->clock->Elapsed()) return true;
    const Offset position = cursor.position();
    if (position == cursor.visible_end() && !cursor.partition().deleted()) return true;
    if (!storage.entries.empty() && account_->bytes.load(std::memory_order_relaxed) >= most_pinned)
      return false;
    if (PinnedTooMuch(most_pinned)) return false;
    const Status fetched = cursor.Fetch(std::clamp<size_t>(budget.bytes, 1, kFetchBytes));
    if (!fetched.ok()) {
      FetchFailed(cursor, fetched);
      return true;
    }
    if (!cursor.has_fetched() && cursor.position() == position) return true;
  }
}

}  // namespace millrace::client
