// millrace/record.h - records as written and as read.
#pragma once
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "millrace/bytes.h"
#include "millrace/topic_partition.h"

namespace millrace {

// A topic name for a record to be sent: a view (copied before Send returns) or, from a temporary
// string, owned.
class TopicName {
 public:
  TopicName() = default;
  TopicName(std::string_view s) : v_(s) {}
  TopicName(const char* s) : v_(Bytes(s).str()) {}
  TopicName(const std::string& s) : v_(std::string_view(s)) {}
  TopicName(std::string&& s) : v_(std::move(s)) {}
  std::string_view str() const {
    return std::visit([](const auto& s) { return std::string_view(s); }, v_);
  }

 private:
  std::variant<std::string_view, std::string> v_;
};

struct ProducerRecord {
  TopicName topic;
  std::optional<int32_t> partition = {};  // unset: the partitioner picks
  Payload key = {};
  Payload value = {};  // null: a tombstone, which deletes the key from a compacted topic
  // At most 10,000. A name may be empty or come more than once; a value may be null.
  std::vector<std::pair<std::string, Payload>> headers = {};
  std::optional<absl::Time> timestamp = {};  // unset: the broker's clock; kept in milliseconds
};

// Where a record landed.
struct Delivery {
  TopicPartition partition;
  Offset offset = -1;
  absl::Time timestamp;  // the record's own, or the broker's where the topic says LogAppendTime
};

// One record inside a RecordBatch. Valid exactly as long as some RecordBatch or PinnedRecord holds
// its storage; cheap to copy; reading it from many threads at once is safe.
class RecordView {
 public:
  std::string_view topic() const;
  int32_t partition() const;
  Offset offset() const;
  int32_t leader_epoch() const;  // of the leader that appended it (KIP-101)
  absl::Time timestamp() const;
  bool is_log_append_time() const;  // the timestamp is the broker's, not the producer's (KIP-32)
  Bytes key() const;
  Bytes value() const;
  bool is_tombstone() const { return value().is_null(); }
  // Headers are parsed at each call: a loop over all of them by index costs the square of their
  // count; by name, one pass.
  size_t header_count() const;
  std::pair<std::string_view, Bytes> header(size_t i) const;  // i < header_count()
  std::optional<Bytes> header(std::string_view name) const;   // the last one of that name

 private:
  friend class RecordBatch;
  friend struct RecordViewAccess;
  const void* rec_ = nullptr;
};

struct OwnedRecord {  // a deep copy, for keeping
  TopicPartition partition;
  Offset offset = -1;
  absl::Time timestamp;
  std::optional<std::string> key, value;
  std::vector<std::pair<std::string, std::optional<std::string>>> headers;
};
OwnedRecord Copy(const RecordView& r);

// Keeps one record's storage alive without keeping the rest of its RecordBatch. A record that is
// small beside the buffer it lies in is copied, so that a pin never holds more than four times the
// record's size. Copies of a pin share it. Empty when default-constructed or moved from.
class PinnedRecord {
 public:
  PinnedRecord() = default;
  explicit operator bool() const { return pin_ != nullptr; }
  const RecordView& operator*() const { return view_; }
  const RecordView* operator->() const { return &view_; }

 private:
  friend class RecordBatch;
  std::shared_ptr<const void> pin_;
  RecordView view_;
};

// What one Poll returned: an owner of storage (pooled read buffers). Move-only.
// May outlive the Consumer, the Client and the Broker; destroying objects in any order is safe and
// never blocks. While it lives its buffers are held (metric millrace_pinned_bytes). Const methods
// may be called from many threads at once.
class RecordBatch {
 public:
  class Iterator {
   public:
    using value_type = RecordView;
    using difference_type = std::ptrdiff_t;
    using pointer = const RecordView*;
    using reference = const RecordView&;
    using iterator_category = std::forward_iterator_tag;
    // The reference stays good as long as the batch, also when the iterator moves on.
    const RecordView& operator*() const { return *static_cast<const RecordView*>(pos_); }
    const RecordView* operator->() const { return static_cast<const RecordView*>(pos_); }
    Iterator& operator++();
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator&) const = default;

   private:
    friend struct RecordBatchAccess;
    const void* pos_ = nullptr;
  };
  struct Slice {  // the records of one partition, in offset order
    TopicPartition partition;
    Iterator first, last;
    Offset next_offset = 0;     // the position after this slice
    Offset high_watermark = 0;  // lag = high_watermark - next_offset
    bool at_end = false;        // nothing more was readable when fetched
    Iterator begin() const { return first; }
    Iterator end() const { return last; }
  };

  RecordBatch() = default;
  RecordBatch(RecordBatch&&) noexcept = default;
  RecordBatch& operator=(RecordBatch&&) noexcept = default;
  RecordBatch(const RecordBatch&) = delete;
  RecordBatch& operator=(const RecordBatch&) = delete;
  ~RecordBatch() = default;

  Iterator begin() const MILLRACE_LIFETIMEBOUND;
  Iterator end() const MILLRACE_LIFETIMEBOUND;
  size_t size() const;
  bool empty() const { return size() == 0; }
  const std::vector<Slice>& slices() const MILLRACE_LIFETIMEBOUND;  // for per-partition workers
  OffsetMap next_offsets() const;  // what to commit once all of it is processed
  // `r` must be one of this batch's records.
  PinnedRecord Pin(const RecordView& r) const;

 private:
  friend struct RecordBatchAccess;
  std::shared_ptr<const void> impl_;
};

}  // namespace millrace
