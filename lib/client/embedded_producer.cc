#include "client/embedded_producer.h"

#include <algorithm>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "base/no_throw.h"
#include "base/status_macros.h"
#include "client/payload.h"

namespace millrace::client {
namespace {

constexpr size_t kMaxHeaders = 10'000;
// The last millisecond of the year 9998. Beyond it times have no common text form.
constexpr int64_t kMaxTimestampMs = 253'370'764'799'999;

DeliveryHub::Options HubOptions(const Context& context, const ProducerOptions& options) {
  return {.max_buffered_bytes = options.max_buffered_bytes,
          .delivery_timeout = options.delivery_timeout,
          .clock = context.clock,
          .executor = context.executor(),
          .wait_for_callbacks = context.options.executor == nullptr,
          .may_hold = context.options.executor == nullptr && !context.drives_broker(),
          .observer = context.options.observer,
          .log = context.log,
          .metrics = context.metrics};
}

void CloseLanes(TopicCache& topics) {
  topics.Close();
  topics.ForEachLane([](Lane& lane) { lane.Close(); });
}

// Where no thread syncs, those who wait for deliveries do; and those without a deadline save the
// others the way.
void DriveSyncs(TopicCache& topics) {
  topics.ForEachLane([](Lane& lane) {
    const auto& partition = lane.partition();
    // Records are answered with it; where there is no memory for it, the lane syncs later.
    NoThrow([&]() -> Status {
      if (partition->high_watermark() >= partition->log_end()) return absl::OkStatus();
      return partition->SyncTo(partition->log_end());
    }).IgnoreError();
  });
}

}  // namespace

EmbeddedProducer::EmbeddedProducer(std::shared_ptr<Context> context, ProducerOptions options)
    : context_(std::move(context)),
      options_(std::move(options)),
      partitioner_(IsDefault(options_.partitioner) ? nullptr : options_.partitioner.get()),
      hub_(std::make_shared<DeliveryHub>(HubOptions(*context_, options_), context_->broker.get())),
      topics_(std::make_shared<TopicCache>(context_->broker, hub_, options_)) {
  // What lingers is sent before the broker closes; later records are refused. The hook has what it
  // needs: one of the callbacks that it waits for may destroy the producer.
  close_hook_ = context_->AddCloseHook(
      [context = context_.get(), hub = hub_, topics = topics_](absl::Duration deadline) {
        CloseLanes(*topics);
        if (context->drives_broker()) DriveSyncs(*topics);
        if (!context->InsideCallback())
          hub->WaitFinished(hub->last_batch_id(), deadline, {}, [=] { return context->Drive(); })
              .IgnoreError();  // what has no answer then gets one from the broker, or from Close
      });
}

EmbeddedProducer::~EmbeddedProducer() {
  if (context_->forked()) {
    // Their locks may be held by threads that are not here.
    new std::shared_ptr<DeliveryHub>(hub_);
    new std::shared_ptr<TopicCache>(topics_);
    return;
  }
  context_->RemoveCloseHook(close_hook_);
  if (context_->InsideCallback()) {
    // Waiting would be for the thread that this runs on. What is under way is answered all the
    // same.
    closed_.store(true);
    CloseLanes(*topics_);
    return;
  }
  const Status status = NoThrow([&] { return Close(context_->options.close_timeout); });
  if (!status.ok())
    MILLRACE_LOG(*context_->log, kWarning, fmt::format("destroying a producer: {}", Text(status)));
}

Status EmbeddedProducer::usable() const {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  if (closed_.load(std::memory_order_relaxed))
    return MakeError(ErrorId::kClosed, "the producer was closed");
  return absl::OkStatus();
}

// ---- one record

Future<Delivery> EmbeddedProducer::Send(ProducerRecord& r, const SendOptions& o) {
  Completion completion;
  completion.future =
      std::make_shared<DeliveryFuture>(context_->clock, context_->executor(), context_);
  const std::shared_ptr<DeliveryFuture> future = completion.future;
  if (Status status = Enqueue(r, completion, o, true); !status.ok())
    return FutureAccess::Ready<Delivery>(std::move(status));
  return FutureAccess::Make<Delivery>(future);
}

Status EmbeddedProducer::Send(ProducerRecord& r, DeliveryCallback done, const SendOptions& o,
                              bool wait) {
  if (!done) return MakeError(ErrorId::kInvalidArgument, "the delivery callback is empty");
  Completion completion;
  completion.callback = std::move(done);
  return Enqueue(r, completion, o, wait);
}

Status EmbeddedProducer::Enqueue(ProducerRecord& r, Completion& completion, const SendOptions& o,
                                 bool wait) try {
  MILLRACE_RETURN_IF_ERROR(usable());
  if (context_->options.observer != nullptr) Observe(r, completion);
  bool begins_batch = false;  // as far as is known
  // A topic that changes meanwhile is looked up again; each round sees a newer state of it.
  for (int attempt = 0; attempt < 10; ++attempt) {
    Placed placed;
    MILLRACE_RETURN_IF_ERROR(Prepare(r, context_->clock->Now(), &placed));
    const size_t charge = placed.record.charge;
    const size_t batch_charge = begins_batch ? hub_->BatchCharge(charge) : 0;
    MILLRACE_RETURN_IF_ERROR(Reserve(charge + batch_charge, o.stop, wait));
    Space space(*hub_);
    space.Hold(charge, batch_charge);
    completion.timestamp_ms = placed.record.timestamp_ms;
    const Lane::Added added = placed.lane->Add(placed.record, completion, o.sync, space);
    if (added == Lane::Added::kYes) return absl::OkStatus();
    begins_batch = added == Lane::Added::kNoSpace;
    MILLRACE_RETURN_IF_ERROR(usable());
  }
  return MakeError(ErrorId::kUnavailable,
                   fmt::format("topic '{}' changes all the time", r.topic.str()),
                   {.topic = r.topic.str()});
} catch (const std::bad_alloc&) {
  return OutOfMemory();
}

void EmbeddedProducer::Observe(ProducerRecord& r, Completion& completion) {
  completion.sent_at = context_->clock->Elapsed();
  try {
    context_->options.observer->OnSend(r);
  } catch (...) {
    context_->metrics->callbacks_threw.fetch_add(1, std::memory_order_relaxed);
    MILLRACE_LOG(*context_->log, kError, Text(CurrentException("Observer::OnSend")));
  }
}

Status EmbeddedProducer::Prepare(ProducerRecord& r, absl::Time now, Placed* out) {
  MILLRACE_ASSIGN_OR_RETURN(out->topic, topics_->Find(r.topic.str()));
  PreparedRecord& record = out->record;
  record.key = PayloadAccess::View(r.key);
  record.value = PayloadAccess::View(r.value);
  if (r.headers.size() > kMaxHeaders)
    return MakeError(ErrorId::kInvalidArgument,
                     fmt::format("the record has {} headers, at most {} are taken",
                                 r.headers.size(), kMaxHeaders),
                     {.topic = r.topic.str()});
  for (auto& [name, value] : r.headers)
    out->headers.push_back({.key = name, .value = PayloadAccess::View(value)});
  record.headers = out->headers;
  MILLRACE_RETURN_IF_ERROR(CheckSize(*out));
  record.bytes = record::BatchBuilder::MaxRecordBytes(record.key, record.value, record.headers);
  record.charge = Batch::ChargeOf(record.bytes);
  if (record.charge > options_.max_buffered_bytes)
    return MakeError(
        ErrorId::kRecordTooLarge,
        fmt::format("the record takes up to {} bytes of memory, max_buffered_bytes is {}",
                    record.charge, options_.max_buffered_bytes),
        {.topic = r.topic.str()});
  if (out->topic->require_keys && record.key.is_null())
    return MakeError(ErrorId::kInvalidRecord,
                     fmt::format("topic '{}' is compacted: a record needs a key", r.topic.str()),
                     {.topic = r.topic.str()});
  MILLRACE_RETURN_IF_ERROR(CheckTimestamp(r, now, out));
  return Pick(r, out);
}

namespace {

size_t NullableBytes(Bytes bytes) {
  return bytes.is_null() ? 1 : VarintSize(static_cast<int32_t>(bytes.size())) + bytes.size();
}

// What a batch takes that holds this record alone.
size_t BatchBytes(const PreparedRecord& r) {
  size_t body = 3 + NullableBytes(r.key) + NullableBytes(r.value) +
                VarintSize(static_cast<int32_t>(r.headers.size()));
  for (const record::HeaderView& header : r.headers)
    body += NullableBytes(Bytes(header.key)) + NullableBytes(header.value);
  return record::kHeaderBytes + VarintSize(static_cast<int32_t>(body)) + body;
}

}  // namespace

Status EmbeddedProducer::CheckSize(const Placed& placed) const {
  // Added up in 64 bits from parts that are each below 2^31, so nothing overflows; and no byte is
  // read before the lengths are known to be sane.
  constexpr size_t kMost = INT32_MAX;
  const PreparedRecord& r = placed.record;
  size_t sum = r.key.size();
  bool too_large = r.key.size() > kMost || r.value.size() > kMost;
  sum += too_large ? 0 : r.value.size();
  for (const record::HeaderView& header : r.headers) {
    too_large |= header.key.size() > kMost || header.value.size() > kMost;
    if (too_large) break;
    sum += header.key.size() + header.value.size();
  }
  too_large |= sum > kMost - (size_t{1} << 20);
  const ErrorContext where{.topic = placed.topic->topic};
  if (too_large)
    return MakeError(
        ErrorId::kRecordTooLarge,
        fmt::format("the record, with a key of {} bytes, a value of {} and {} headers, "
                    "is larger than the format's {} bytes",
                    r.key.size(), r.value.size(), r.headers.size(), kMost),
        where);
  // A compressed batch may well be larger before; whether it fits shows when it is compressed.
  if (placed.topic->compressed) return absl::OkStatus();
  // Six varints, three bytes and the batch's header are the most that comes to it.
  constexpr size_t kMostOverhead = record::kHeaderBytes + 3 + size_t{6} * 5;
  if (sum + kMostOverhead + 16 * r.headers.size() <= placed.topic->max_batch_bytes)
    return absl::OkStatus();
  const size_t alone = BatchBytes(r);
  if (alone <= placed.topic->max_batch_bytes) return absl::OkStatus();
  return MakeError(ErrorId::kRecordTooLarge,
                   fmt::format("the record makes a batch of {} bytes, topic '{}' takes {} "
                               "({})",
                               alone, placed.topic->topic, placed.topic->max_batch_bytes,
                               placed.topic->max_batch_config),
                   where);
}

Status EmbeddedProducer::CheckTimestamp(const ProducerRecord& r, absl::Time now,
                                        Placed* out) const {
  const int64_t now_ms = absl::ToUnixMillis(now);
  if (!r.timestamp.has_value()) {
    out->record.timestamp_ms = std::max<int64_t>(now_ms, 0);
    return absl::OkStatus();
  }
  const int64_t timestamp_ms = absl::ToUnixMillis(*r.timestamp);
  const LaneSet& topic = *out->topic;
  const int64_t least = topic.before_max_ms >= now_ms ? 0 : now_ms - topic.before_max_ms;
  const int64_t most = topic.after_max_ms >= kMaxTimestampMs - now_ms ? kMaxTimestampMs
                                                                      : now_ms + topic.after_max_ms;
  if (timestamp_ms < least || timestamp_ms > most)
    return MakeError(
        ErrorId::kInvalidTimestamp,
        fmt::format("the record's timestamp is {} ms, topic '{}' takes {} to {} now "
                    "(message.timestamp.before.max.ms, message.timestamp.after.max.ms)",
                    timestamp_ms, topic.topic, least, most),
        {.topic = topic.topic});
  out->record.timestamp_ms = timestamp_ms;
  return absl::OkStatus();
}

Status EmbeddedProducer::Pick(const ProducerRecord& r, Placed* out) const {
  const LaneSet& topic = *out->topic;
  const auto count = static_cast<int32_t>(topic.lanes.size());
  int32_t partition = 0;
  std::string_view who = "the record's partition";
  if (r.partition.has_value()) {
    partition = *r.partition;
  } else if (partitioner_ == nullptr) {
    partition = out->record.key.is_null() ? topic.sticky->Pick(count)
                                          : PartitionOfKey(out->record.key, count);
  } else {
    who = "the partitioner's answer";
    try {
      partition = partitioner_->Pick(topic.topic, out->record.key, out->record.value, count);
    } catch (...) {
      context_->metrics->callbacks_threw.fetch_add(1, std::memory_order_relaxed);
      return CurrentException("the partitioner");
    }
  }
  if (partition < 0 || partition >= count)
    return MakeError(ErrorId::kUnknownPartition,
                     fmt::format("{} is {}, topic '{}' has the partitions 0 to {}", who, partition,
                                 topic.topic, count - 1),
                     {.topic = topic.topic, .partition = partition});
  out->lane = topic.lanes[static_cast<size_t>(partition)].get();
  return absl::OkStatus();
}

Status EmbeddedProducer::Reserve(size_t bytes, const std::stop_token& stop, bool wait) {
  if (hub_->TryReserve(bytes)) return absl::OkStatus();
  if (!wait || context_->InsideCallback())
    return MakeError(ErrorId::kBufferFull,
                     fmt::format("{} bytes wait for their answer, {} more exceed "
                                 "max_buffered_bytes ({})",
                                 hub_->buffered_bytes(), bytes, options_.max_buffered_bytes));
  FlushLanes();  // what lingers holds space
  return hub_->Reserve(bytes, context_->clock->Elapsed() + options_.max_block, stop,
                       [this] { return Drive(); });
}

// ---- all of them

absl::Duration EmbeddedProducer::Drive() const { return context_->Drive(); }

void EmbeddedProducer::FlushLanes() {
  topics_->ForEachLane([](Lane& lane) { lane.Flush(); });
}

Status EmbeddedProducer::Flush(absl::Duration timeout, const std::stop_token& stop) {
  MILLRACE_RETURN_IF_ERROR(usable());
  if (context_->InsideCallback())
    return MakeError(ErrorId::kReentrant, "Flush inside a delivery callback would wait for itself");
  const absl::Duration deadline = context_->clock->Elapsed() + timeout;
  const uint64_t last = hub_->last_batch_id();
  FlushLanes();
  // Nothing ends a sync that has begun.
  const bool unbounded = timeout == absl::InfiniteDuration() && !stop.stop_possible();
  if (hub_->buffered_records() != 0 && (unbounded || context_->drives_broker()))
    DriveSyncs(*topics_);
  return hub_->WaitFinished(last, deadline, stop, [this] { return Drive(); });
}

Status EmbeddedProducer::Close(absl::Duration timeout) {
  if (context_->forked()) return context_->usable();
  if (closed_.load()) return absl::OkStatus();
  if (context_->InsideCallback())
    return MakeError(ErrorId::kReentrant, "Close inside a delivery callback would wait for itself");
  if (closed_.exchange(true)) return absl::OkStatus();
  const absl::Duration deadline = context_->clock->Elapsed() + timeout;
  CloseLanes(*topics_);
  if (context_->drives_broker()) DriveSyncs(*topics_);
  const Status status = NoThrow([&] {
    return hub_->WaitFinished(hub_->last_batch_id(), deadline, {}, [this] { return Drive(); });
  });
  if (!status.ok())
    NoThrow([&] {
      hub_->AbortAll();
      return absl::OkStatus();
    }).IgnoreError();  // what it leaves is answered by the broker's close
  return status;
}

}  // namespace millrace::client
