#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>

#include "broker/partition.h"
#include "client/record_storage.h"
#include "record/record_reader.h"

namespace millrace::client {

// What is left of one Poll's bounds.
struct PollBudget {
  size_t records = 0;
  size_t bytes = 0;  // of keys, values and headers
  bool spent = false;
};

struct CursorOptions {
  broker::ReadLevel level = broker::ReadLevel::kCommitted;
  size_t max_expanded_bytes = 0;  // of one compressed batch
  std::shared_ptr<PinAccount> account;
};

// One partition as a consumer reads it: the position, and what was fetched beyond it. What a Poll
// had no room for stays here for the next one, so nothing is fetched twice. Belongs to the
// consumer's thread; position() may be read by any.
class PartitionCursor {
 public:
  static constexpr Offset kUnknown = -1;

  PartitionCursor(std::shared_ptr<broker::Partition> partition,
                  std::shared_ptr<const SliceInfo> info, CursorOptions options);

  const TopicPartition& name() const { return info_->partition; }
  broker::Partition& partition() const { return *partition_; }
  const std::shared_ptr<broker::Partition>& shared_partition() const { return partition_; }
  const std::shared_ptr<const SliceInfo>& info() const { return info_; }

  // The next offset to return; kUnknown until it is set.
  Offset position() const { return position_.load(std::memory_order_relaxed); }
  // Drops what was fetched elsewhere.
  void SetPosition(Offset position);
  // A Poll begins; Rewind goes back to where it began: what it took did not reach the user.
  void BeginPoll() { poll_began_at_ = position(); }
  void Rewind();
  // The topic was deleted and made again: reading begins anew there.
  void Replace(std::shared_ptr<broker::Partition> partition);

  Offset visible_end() const {
    return options_.level == broker::ReadLevel::kCommitted ? partition_->last_stable_offset()
                                                           : partition_->high_watermark();
  }
  // Of what was fetched and not returned yet: the buffer, and the open batch's if it is another.
  size_t fetched_bytes() const {
    const bool expanded = batch_buffer_ != nullptr && batch_buffer_ != fetched_;
    return (fetched_ == nullptr ? 0 : fetched_->capacity()) +
           (expanded ? batch_buffer_->capacity() : 0);
  }
  bool has_fetched() const { return fetched_ != nullptr; }
  // Something would be returned: fetched already, or in the log.
  bool readable() const { return has_fetched() || position() < visible_end(); }

  // Fetches from the position. Errors are those of Partition::Fetch.
  Status Fetch(size_t max_bytes);
  // Moves fetched records to `storage` until the budget is spent or nothing is left, and makes them
  // a slice. Errors (corrupt_message, record_too_large) leave the position at the record that is
  // meant.
  Status Take(BatchStorage& storage, PollBudget& budget, BufferPool& pool);
  // The timestamp of the record at the position; nullopt where there is none yet.
  StatusOr<std::optional<int64_t>> TimestampAtPosition(BufferPool& pool);

  // ---- the consumer's notes on it
  bool paused = false;
  bool resting = false;         // failed for good; Seek or Resume wakes it
  absl::Duration retry_at;      // after a fault that may pass
  bool returned_any = false;    // since the last commit
  Offset committed = kUnknown;  // by this consumer, last

 private:
  StatusOr<bool> OpenNextBatch(BufferPool& pool);
  bool TakeOpenBatch(BatchStorage& storage, PollBudget& budget);
  void CloseBatch();
  void DropFetched();
  void AddSlice(BatchStorage& storage, size_t begin);
  size_t BufferIndex(BatchStorage& storage) const;
  Status Unreadable(const Status& why, const record::BatchHeader& header) const;

  std::shared_ptr<broker::Partition> partition_;
  std::shared_ptr<const SliceInfo> info_;
  const CursorOptions options_;
  std::atomic<Offset> position_{kUnknown};
  Offset poll_began_at_ = kUnknown;

  // What was fetched, and of it what no batch was opened of yet.
  std::shared_ptr<const PinnedBuffer> fetched_;
  std::span<const std::byte> rest_;
  Offset fetched_next_ = 0;
  Offset fetched_end_ = 0;     // the visible end then
  Offset high_watermark_ = 0;  // likewise

  // The batch that records are being taken of.
  std::optional<record::RecordReader> reader_;
  record::BatchHeader header_;
  std::shared_ptr<const PinnedBuffer> batch_buffer_;  // fetched_, or what was expanded
  bool held_back_ = false;                            // `next_` was decoded and did not fit
  record::RecordFields next_;
};

}  // namespace millrace::client
