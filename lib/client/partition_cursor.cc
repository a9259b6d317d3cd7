#include "client/partition_cursor.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "record/codec.h"

namespace millrace::client {
namespace {

size_t PayloadBytes(const record::RecordFields& fields) {
  return fields.key.size() + fields.value.size() + fields.headers.size();
}

}  // namespace

PartitionCursor::PartitionCursor(std::shared_ptr<broker::Partition> partition,
                                 std::shared_ptr<const SliceInfo> info, CursorOptions options)
    : partition_(std::move(partition)), info_(std::move(info)), options_(std::move(options)) {}

void PartitionCursor::SetPosition(Offset position) {
  DropFetched();
  resting = false;
  retry_at = absl::ZeroDuration();
  position_.store(position, std::memory_order_relaxed);
  if (info_->marks != nullptr) info_->marks->Reset();
}

void PartitionCursor::Rewind() {
  if (position() == poll_began_at_) return;
  DropFetched();
  position_.store(poll_began_at_, std::memory_order_relaxed);
  if (info_->marks != nullptr) info_->marks->Unreturn(poll_began_at_);
}

void PartitionCursor::Replace(std::shared_ptr<broker::Partition> partition) {
  // Records of the deleted topic that are marked late must not count for those that have their
  // offsets now.
  auto info = std::make_shared<SliceInfo>(*info_);
  if (info->marks != nullptr) info->marks = std::make_shared<MarkTracker>();
  info_ = std::move(info);
  partition_ = std::move(partition);
  SetPosition(kUnknown);
  returned_any = false;
  committed = kUnknown;
}

void PartitionCursor::CloseBatch() {
  reader_.reset();
  batch_buffer_ = nullptr;
  held_back_ = false;
}

// What is fetched again is read again from the position on: nothing is passed over.
void PartitionCursor::DropFetched() {
  CloseBatch();
  fetched_ = nullptr;
  rest_ = {};
}

Status PartitionCursor::Unreadable(const Status& why, const record::BatchHeader& header) const {
  return InPartition(
      log::UnreadableBatch(why, header, fmt::format("{}-{}", name().topic, name().partition)),
      name().topic, name().partition);
}

Status PartitionCursor::Fetch(size_t max_bytes) {
  const Offset from = position();
  MILLRACE_ASSIGN_OR_RETURN(broker::FetchResult result,
                            partition_->Fetch(from, max_bytes, options_.level));
  high_watermark_ = result.high_watermark;
  fetched_end_ = options_.level == broker::ReadLevel::kCommitted ? result.last_stable_offset
                                                                 : result.high_watermark;
  fetched_next_ = result.next_offset;
  if (result.bytes.empty()) {
    if (result.next_offset > from) position_.store(result.next_offset, std::memory_order_relaxed);
    return absl::OkStatus();
  }
  rest_ = result.bytes;
  fetched_ = std::make_shared<PinnedBuffer>(std::move(result.buffer), options_.account);
  return absl::OkStatus();
}

// Opens the next batch that holds something at or after the position. False: none is left.
StatusOr<bool> PartitionCursor::OpenNextBatch(BufferPool& pool) {
  while (!rest_.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(header_, record::ParseHeader(rest_));
    const std::span<const std::byte> batch =
        rest_.first(std::min(header_.size_bytes(), rest_.size()));
    // Control batches (KIP-98) are for the log alone.
    if (!header_.is_control() && header_.last_offset() >= position()) {
      MILLRACE_ASSIGN_OR_RETURN(
          record::Payload payload,
          record::ExpandedPayload(header_, batch, options_.max_expanded_bytes, pool));
      reader_.emplace(header_, payload.records);
      batch_buffer_ =
          payload.owner ? std::make_shared<PinnedBuffer>(std::move(payload.owner), options_.account)
                        : fetched_;
      rest_ = rest_.subspan(batch.size());
      return true;
    }
    if (header_.next_offset() > position())
      position_.store(header_.next_offset(), std::memory_order_relaxed);
    rest_ = rest_.subspan(batch.size());
  }
  if (fetched_next_ > position()) position_.store(fetched_next_, std::memory_order_relaxed);
  fetched_ = nullptr;
  return false;
}

Status PartitionCursor::Take(BatchStorage& storage, PollBudget& budget, BufferPool& pool) {
  const size_t begin = storage.entries.size();
  const Offset position_before = position();
  Status status;
  while (!budget.spent) {
    if (!reader_.has_value()) {
      const StatusOr<bool> opened = OpenNextBatch(pool);
      if (!opened.ok()) status = Unreadable(opened.status(), header_);
      if (!opened.ok() || !*opened) break;
    }
    if (TakeOpenBatch(storage, budget)) break;  // the budget is spent
    status = Unreadable(reader_->status(), header_);
    if (!status.ok()) break;
    position_.store(header_.next_offset(), std::memory_order_relaxed);
    CloseBatch();
  }
  if (!status.ok()) DropFetched();
  if (position() != position_before) AddSlice(storage, begin);
  return status;
}

// True: the budget is spent, and the batch may hold more. False: it holds no more, or is damaged.
bool PartitionCursor::TakeOpenBatch(BatchStorage& storage, PollBudget& budget) {
  const size_t buffer_index = BufferIndex(storage);
  if (buffer_index == storage.buffers.size()) storage.buffers.push_back(batch_buffer_);
  for (;;) {
    Entry& entry = storage.entries.emplace_back();
    if (held_back_) {
      entry.fields = next_;
      held_back_ = false;
    } else if (!reader_->Next(&entry.fields)) {
      storage.entries.pop_back();
      return false;
    }
    if (entry.fields.offset < position()) {
      storage.entries.pop_back();
      continue;
    }
    const size_t bytes = PayloadBytes(entry.fields);
    if (budget.records == 0 || (bytes > budget.bytes && storage.entries.size() > 1)) {
      next_ = entry.fields;
      held_back_ = true;
      storage.entries.pop_back();
      budget.spent = true;
      return true;
    }
    --budget.records;
    budget.bytes -= std::min(budget.bytes, bytes);
    entry.slice = info_.get();
    entry.buffer_index = buffer_index;
    entry.leader_epoch = header_.leader_epoch;
    entry.is_log_append_time = header_.is_log_append_time();
    position_.store(entry.fields.offset + 1, std::memory_order_relaxed);
  }
}

// Of the storage's buffers, the one that the open batch lies in, or one past the end.
size_t PartitionCursor::BufferIndex(BatchStorage& storage) const {
  const size_t count = storage.buffers.size();
  return count > 0 && storage.buffers.back() == batch_buffer_ ? count - 1 : count;
}

void PartitionCursor::AddSlice(BatchStorage& storage, size_t begin) {
  const size_t end = storage.entries.size();
  returned_any = true;
  if (info_->marks != nullptr) {
    std::vector<Offset> offsets;
    offsets.reserve(end - begin);
    for (size_t i = begin; i < end; ++i) offsets.push_back(storage.entries[i].fields.offset);
    info_->marks->Returned(offsets, position());
  }
  if (begin == end) return;  // only control records were passed
  RecordBatch::Slice slice;
  slice.partition = name();
  slice.next_offset = position();
  slice.high_watermark = std::max(high_watermark_, slice.next_offset);
  slice.at_end = slice.next_offset >= fetched_end_;
  // Fetched twice within one Poll: still one slice.
  if (!storage.slices.empty() && storage.slices.back().partition == slice.partition &&
      storage.ranges.back().end == begin) {
    storage.slices.back() = std::move(slice);
    storage.ranges.back().end = end;
    return;
  }
  storage.slices.push_back(std::move(slice));
  storage.ranges.push_back({begin, end});
  storage.infos.push_back(info_);
}

StatusOr<std::optional<int64_t>> PartitionCursor::TimestampAtPosition(BufferPool& pool) {
  if (held_back_) return next_.timestamp_ms;
  record::RecordFields fields;
  if (reader_.has_value()) {
    record::RecordReader copy = *reader_;
    while (copy.Next(&fields))
      if (fields.offset >= position()) return fields.timestamp_ms;
  }
  const Offset from = position();
  if (from == kUnknown || from >= visible_end()) return std::nullopt;
  MILLRACE_ASSIGN_OR_RETURN(const broker::FetchResult result,
                            partition_->Fetch(from, 1, options_.level));
  std::span<const std::byte> rest = result.bytes;
  while (!rest.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const record::BatchHeader header, record::ParseHeader(rest));
    const auto batch = rest.first(std::min(header.size_bytes(), rest.size()));
    rest = rest.subspan(batch.size());
    if (header.is_control()) continue;
    const StatusOr<record::Payload> payload =
        record::ExpandedPayload(header, batch, options_.max_expanded_bytes, pool);
    if (!payload.ok()) return Unreadable(payload.status(), header);
    record::RecordReader reader(header, payload->records);
    while (reader.Next(&fields))
      if (fields.offset >= from) return fields.timestamp_ms;
    if (!reader.status().ok()) return Unreadable(reader.status(), header);
  }
  return std::nullopt;
}

}  // namespace millrace::client
