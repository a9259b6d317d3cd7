#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "millrace/status.h"
#include "millrace/topic_partition.h"
#include "record/batch.h"

namespace millrace::log {

// What a partition remembers of its idempotent producers (KIP-98): of each the epoch and the last
// five batches. Bounded: beyond `max_producers` the one that has not written for longest is
// forgotten, and is then taken as Kafka takes an unknown one. Belongs to the appender.
class ProducerState {
 public:
  static constexpr size_t kBatchesKept = 5;
  static constexpr size_t kMaxProducers = 10'000;

  explicit ProducerState(size_t max_producers = kMaxProducers) : max_producers_(max_producers) {}

  struct Original {
    Offset base_offset = -1, next_offset = -1;
    int64_t max_timestamp_ms = -1;
  };
  // Whether the batch may be appended: nullopt; the batch that it repeats; out_of_order_sequence;
  // invalid_producer_epoch. Batches without a producer id always may.
  StatusOr<std::optional<Original>> Check(const record::BatchHeader& header) const;
  // The sequence that the next batch of this producer and epoch must begin with.
  int32_t NextSequence(int64_t producer_id, int16_t epoch) const;
  // Remembers a batch that is in the log. Needs memory only where Reserve was not called before.
  void Update(const record::BatchHeader& header);
  // Makes room for the batch, so that once it is written it will be remembered.
  void Reserve(const record::BatchHeader& header);

  bool empty() const { return producers_.empty(); }
  size_t size() const { return producers_.size(); }

  // Kafka's producer snapshot, version 1. It has room for one batch a producer; the older four
  // follow behind it, under the same CRC, where Kafka's reader does not look.
  std::vector<std::byte> Snapshot() const;
  // corrupt_log when it is damaged.
  static StatusOr<ProducerState> FromSnapshot(std::span<const std::byte> bytes,
                                              size_t max_producers = kMaxProducers);

 private:
  struct Batch {
    int32_t last_sequence = -1;
    int32_t offset_delta = 0;
    Offset last_offset = -1;
    int64_t timestamp_ms = -1;
    int32_t first_sequence() const { return record::AddToSequence(last_sequence, -offset_delta); }
  };
  struct Producer {
    int64_t id = -1;
    int16_t epoch = -1;
    uint8_t batch_count = 0;  // batches[0] is the newest
    int32_t coordinator_epoch = -1;
    Offset transaction_first_offset = -1;
    uint32_t older = kNone, newer = kNone;  // the list by last write
    Batch batches[kBatchesKept];

    void Push(const Batch& batch);
  };
  static constexpr uint32_t kNone = UINT32_MAX;

  const Producer* Find(int64_t producer_id) const;
  // The producer's slot, made the newest of the list; a new one takes the oldest's where all are
  // used.
  Producer& Touch(int64_t producer_id);
  void Unlink(uint32_t slot);
  void LinkNewest(uint32_t slot);
  bool ReadOlderBatches(std::span<const std::byte> bytes, std::span<const int64_t> order);

  size_t max_producers_;
  std::vector<Producer> slots_;
  using Slots = std::unordered_map<int64_t, uint32_t>;  // by producer id
  Slots producers_;
  Slots::node_type spare_;  // for the next new producer
  uint32_t oldest_ = kNone, newest_ = kNone;
};

}  // namespace millrace::log
