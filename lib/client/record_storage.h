#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/buffer.h"
#include "base/mutex.h"
#include "client/client_metrics.h"
#include "client/mark_tracker.h"
#include "millrace/record.h"
#include "record/record_reader.h"

namespace millrace::client {

// What a partition's records point to for their name. Made when the partition is assigned.
struct SliceInfo {
  TopicPartition partition;
  std::shared_ptr<MarkTracker> marks;  // with Commits::kMarked
};

// How many bytes one consumer's batches and pins hold.
struct PinAccount {
  explicit PinAccount(std::shared_ptr<ClientMetrics> m) : metrics(std::move(m)) {}
  std::atomic<size_t> bytes{0};
  const std::shared_ptr<ClientMetrics> metrics;
};

// So many bytes, counted as pinned while the object lives.
class PinCharge {
 public:
  PinCharge() = default;
  PinCharge(std::shared_ptr<PinAccount> account, size_t bytes);
  PinCharge(PinCharge&& other) noexcept
      : account_(std::move(other.account_)), bytes_(std::exchange(other.bytes_, 0)) {}
  PinCharge& operator=(PinCharge&& other) noexcept {
    std::swap(account_, other.account_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~PinCharge();
  const std::shared_ptr<PinAccount>& account() const { return account_; }

 private:
  std::shared_ptr<PinAccount> account_;
  size_t bytes_ = 0;
};

// A buffer that records lie in; it counts as pinned while anything refers to it.
class PinnedBuffer {
 public:
  PinnedBuffer(Buffer buffer, std::shared_ptr<PinAccount> account)
      : buffer_(std::move(buffer)), charge_(std::move(account), buffer_.capacity()) {}
  size_t capacity() const { return buffer_.capacity(); }
  const std::shared_ptr<PinAccount>& account() const { return charge_.account(); }

 private:
  const Buffer buffer_;
  const PinCharge charge_;
};

// One decoded record. A RecordView refers to it; `self` is first, so that a pointer to an entry is
// a pointer to a view of it.
struct Entry {
  const void* self = nullptr;  // this entry
  const SliceInfo* slice = nullptr;
  size_t buffer_index = 0;  // of the storage's buffers
  record::RecordFields fields;
  int32_t leader_epoch = -1;
  bool is_log_append_time = false;
};
static_assert(sizeof(RecordView) == sizeof(void*));

// What a RecordBatch owns.
struct BatchStorage {
  std::vector<Entry> entries;
  std::vector<std::shared_ptr<const SliceInfo>> infos;
  std::vector<std::shared_ptr<const PinnedBuffer>> buffers;
  std::vector<RecordBatch::Slice> slices;

  // A range of entries that became a slice; iterators are made when no entry moves any more.
  struct Range {
    size_t begin = 0, end = 0;
  };
  std::vector<Range> ranges;  // one a slice
  PinCharge charge;           // for all of these

  // The pool's, while it is lent.
  absl::Duration lent_at;
  BatchStorage* earlier = nullptr;
  BatchStorage* later = nullptr;

  size_t HeldBytes() const;
  void Clear();
};

// A batch over `storage`, which counts for `account`. Needs no memory: its records may have been
// taken from their partitions.
RecordBatch MakeBatch(std::shared_ptr<BatchStorage> storage,
                      std::shared_ptr<PinAccount> account) noexcept;

// Lends storages, so that the array of entries is not made anew for each Poll. Thread-safe;
// storages may outlive it.
class StoragePool : public std::enable_shared_from_this<StoragePool> {
 public:
  // Comes back when the last owner lets go of it.
  std::shared_ptr<BatchStorage> Take(absl::Duration now);
  // Since when the one is lent that was lent first; null when none is.
  std::optional<absl::Duration> oldest_lent() const;

 private:
  std::unique_ptr<BatchStorage> TakeSpare();
  void Lend(BatchStorage& storage) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void GiveBack(std::unique_ptr<BatchStorage> storage) noexcept;

  mutable Mutex mu_;
  BatchStorage* oldest_ ABSL_GUARDED_BY(mu_) = nullptr;  // of those that are lent
  BatchStorage* newest_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::vector<std::unique_ptr<BatchStorage>> spare_ ABSL_GUARDED_BY(mu_);
  size_t spare_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace millrace::client

namespace millrace {

struct RecordViewAccess {
  static RecordView Make(const client::Entry* entry) {
    RecordView view;
    view.rec_ = entry;
    return view;
  }
  static bool Valid(const RecordView& view) { return view.rec_ != nullptr; }
  static const client::Entry& EntryOf(const RecordView& view) {
    return *static_cast<const client::Entry*>(view.rec_);
  }
};

struct RecordBatchAccess {
  static RecordBatch Make(std::shared_ptr<const client::BatchStorage> storage) {
    RecordBatch batch;
    batch.impl_ = std::move(storage);
    return batch;
  }
  static RecordBatch::Iterator MakeIterator(const client::Entry* entry) {
    RecordBatch::Iterator iterator;
    iterator.pos_ = entry;
    return iterator;
  }
};

}  // namespace millrace
