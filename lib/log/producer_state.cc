#include "log/producer_state.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/crc32c.h"
#include "base/errors.h"

namespace millrace::log {
namespace {

constexpr int16_t kVersion = 1;
constexpr size_t kCrcAt = 2;
constexpr size_t kEntriesAt = 6;
constexpr size_t kEntryBytes = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;
constexpr size_t kOlderBatchBytes = 4 + 8 + 4 + 8;

Status Damaged(std::string_view what) {
  return MakeError(ErrorId::kCorruptLog, fmt::format("producer snapshot: {}", what));
}

}  // namespace

void ProducerState::Producer::Push(const Batch& batch) {
  std::shift_right(std::begin(batches), std::end(batches), 1);
  batches[0] = batch;
  batch_count = static_cast<uint8_t>(std::min<size_t>(batch_count + size_t{1}, kBatchesKept));
}

const ProducerState::Producer* ProducerState::Find(int64_t producer_id) const {
  // Mostly it is one producer that writes many batches in a row.
  if (newest_ != kNone && slots_[newest_].id == producer_id) return &slots_[newest_];
  const auto it = producers_.find(producer_id);
  return it == producers_.end() ? nullptr : &slots_[it->second];
}

StatusOr<std::optional<ProducerState::Original>> ProducerState::Check(
    const record::BatchHeader& header) const {
  if (header.producer_id < 0 || header.is_control()) return std::nullopt;
  const Producer* producer = Find(header.producer_id);
  if (producer == nullptr) return std::nullopt;
  if (header.producer_epoch == producer->epoch) {
    for (const Batch& batch : std::span(producer->batches).first(producer->batch_count)) {
      if (batch.first_sequence() == header.base_sequence &&
          batch.offset_delta == header.last_offset_delta) {
        return Original{.base_offset = batch.last_offset - batch.offset_delta,
                        .next_offset = batch.last_offset + 1,
                        .max_timestamp_ms = batch.timestamp_ms};
      }
    }
  }
  if (header.producer_epoch < producer->epoch) {
    return MakeError(ErrorId::kInvalidProducerEpoch,
                     fmt::format("producer {} has epoch {}, epoch {} is fenced", header.producer_id,
                                 producer->epoch, header.producer_epoch));
  }
  const int32_t expected = NextSequence(header.producer_id, header.producer_epoch);
  if (header.base_sequence != expected) {
    return MakeError(
        ErrorId::kOutOfOrderSequence,
        fmt::format("producer {} epoch {}: the batch begins with sequence {}, the next one is {}",
                    header.producer_id, header.producer_epoch, header.base_sequence, expected));
  }
  return std::nullopt;
}

int32_t ProducerState::NextSequence(int64_t producer_id, int16_t epoch) const {
  const Producer* producer = Find(producer_id);
  if (producer == nullptr || producer->epoch != epoch || producer->batch_count == 0) return 0;
  return record::AddToSequence(producer->batches[0].last_sequence, 1);
}

void ProducerState::Update(const record::BatchHeader& header) {
  if (header.producer_id < 0) return;
  Producer& producer = Touch(header.producer_id);
  if (producer.epoch != header.producer_epoch) {
    producer.epoch = header.producer_epoch;
    producer.batch_count = 0;
  }
  if (header.is_control() || header.base_sequence < 0) return;
  producer.Push(
      {.last_sequence = record::AddToSequence(header.base_sequence, header.last_offset_delta),
       .offset_delta = header.last_offset_delta,
       .last_offset = header.last_offset(),
       .timestamp_ms = header.max_timestamp_ms});
}

void ProducerState::Reserve(const record::BatchHeader& header) {
  if (header.producer_id < 0 || Find(header.producer_id) != nullptr) return;
  if (slots_.size() == slots_.capacity() && slots_.size() < max_producers_)
    slots_.reserve(std::min(max_producers_, 2 * slots_.size() + 1));
  producers_.reserve(producers_.size() + 1);
  if (!spare_.empty()) return;
  Slots one;
  one.emplace(header.producer_id, 0);
  spare_ = one.extract(one.begin());
}

ProducerState::Producer& ProducerState::Touch(int64_t producer_id) {
  if (newest_ != kNone && slots_[newest_].id == producer_id) return slots_[newest_];
  const auto it = producers_.find(producer_id);
  if (it != producers_.end()) {
    const uint32_t slot = it->second;
    Unlink(slot);
    LinkNewest(slot);
    return slots_[slot];
  }
  uint32_t slot = static_cast<uint32_t>(slots_.size());
  if (slots_.size() < max_producers_) {
    slots_.emplace_back();
  } else {
    slot = oldest_;
    producers_.erase(slots_[slot].id);
    Unlink(slot);
    slots_[slot] = Producer{};
  }
  slots_[slot].id = producer_id;
  if (spare_.empty()) {
    producers_.emplace(producer_id, slot);
  } else {
    spare_.key() = producer_id;
    spare_.mapped() = slot;
    producers_.insert(std::move(spare_));
  }
  LinkNewest(slot);
  return slots_[slot];
}

void ProducerState::Unlink(uint32_t slot) {
  const Producer& p = slots_[slot];
  (p.older == kNone ? oldest_ : slots_[p.older].newer) = p.newer;
  (p.newer == kNone ? newest_ : slots_[p.newer].older) = p.older;
}

void ProducerState::LinkNewest(uint32_t slot) {
  slots_[slot].older = newest_;
  slots_[slot].newer = kNone;
  (newest_ == kNone ? oldest_ : slots_[newest_].newer) = slot;
  newest_ = slot;
}

std::vector<std::byte> ProducerState::Snapshot() const {
  ByteWriter out;
  out.Integer<int16_t>(kVersion);
  out.Integer<uint32_t>(0);  // the CRC, patched below
  out.Integer<int32_t>(static_cast<int32_t>(producers_.size()));
  bool has_older = false;
  for (uint32_t slot = oldest_; slot != kNone; slot = slots_[slot].newer) {
    const Producer& p = slots_[slot];
    const Batch newest = p.batch_count > 0 ? p.batches[0] : Batch{};
    out.Integer(p.id);
    out.Integer(p.epoch);
    out.Integer(newest.last_sequence);
    out.Integer(newest.last_offset);
    out.Integer(newest.offset_delta);
    out.Integer(newest.timestamp_ms);
    out.Integer(p.coordinator_epoch);
    out.Integer(p.transaction_first_offset);
    has_older |= p.batch_count > 1;
  }
  for (uint32_t slot = has_older ? oldest_ : kNone; slot != kNone; slot = slots_[slot].newer) {
    const Producer& p = slots_[slot];
    const size_t older = p.batch_count > 1 ? p.batch_count - size_t{1} : 0;
    out.Integer(static_cast<int8_t>(older));
    for (const Batch& batch : std::span(p.batches).subspan(1, older)) {
      out.Integer(batch.last_sequence);
      out.Integer(batch.last_offset);
      out.Integer(batch.offset_delta);
      out.Integer(batch.timestamp_ms);
    }
  }
  out.Patch(kCrcAt, Crc32c(out.bytes().subspan(kEntriesAt)));
  return out.Take();
}

StatusOr<ProducerState> ProducerState::FromSnapshot(std::span<const std::byte> bytes,
                                                    size_t max_producers) {
  ByteReader in(bytes);
  const auto version = in.Integer<int16_t>();
  const auto crc = in.Integer<uint32_t>();
  const auto count = in.Integer<int32_t>();
  if (!in.ok()) return Damaged("cut off within its header");
  if (version != kVersion) return Damaged(fmt::format("version {}, only 1 is known", version));
  if (Crc32c(bytes.subspan(kEntriesAt)) != crc) return Damaged("fails its CRC");
  if (count < 0 || static_cast<size_t>(count) > in.remaining() / kEntryBytes)
    return Damaged(fmt::format("{} entries do not fit into it", count));
  ProducerState state(max_producers);
  std::vector<int64_t> order;
  for (int32_t i = 0; i < count; ++i) {
    const auto id = in.Integer<int64_t>();
    if (id < 0 || state.producers_.contains(id))
      return Damaged(fmt::format("producer id {} is negative or there twice", id));
    order.push_back(id);
    Producer& p = state.Touch(id);
    p.epoch = in.Integer<int16_t>();
    Batch batch;
    batch.last_sequence = in.Integer<int32_t>();
    batch.last_offset = in.Integer<int64_t>();
    batch.offset_delta = in.Integer<int32_t>();
    batch.timestamp_ms = in.Integer<int64_t>();
    p.coordinator_epoch = in.Integer<int32_t>();
    p.transaction_first_offset = in.Integer<int64_t>();
    if (batch.last_sequence >= 0 && batch.offset_delta >= 0) p.Push(batch);
  }
  if (in.remaining() > 0 && !state.ReadOlderBatches(in.rest(), order))
    return Damaged("what follows its entries is cut off");
  return state;
}

bool ProducerState::ReadOlderBatches(std::span<const std::byte> bytes,
                                     std::span<const int64_t> order) {
  ByteReader in(bytes);
  for (const int64_t id : order) {
    const auto older = in.Integer<int8_t>();
    if (!in.ok() || older < 0 || static_cast<size_t>(older) >= kBatchesKept ||
        static_cast<size_t>(older) > in.remaining() / kOlderBatchBytes) {
      return false;
    }
    const auto it = producers_.find(id);
    for (int8_t i = 0; i < older; ++i) {
      Batch batch;
      batch.last_sequence = in.Integer<int32_t>();
      batch.last_offset = in.Integer<int64_t>();
      batch.offset_delta = in.Integer<int32_t>();
      batch.timestamp_ms = in.Integer<int64_t>();
      if (it == producers_.end()) continue;  // forgotten: the snapshot holds more than the bound
      Producer& p = slots_[it->second];
      if (p.batch_count > 0) p.batches[p.batch_count++] = batch;
    }
  }
  return in.remaining() == 0;
}

}  // namespace millrace::log
