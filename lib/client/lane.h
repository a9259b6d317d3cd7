#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "client/delivery_hub.h"
#include "record/batch.h"

namespace millrace::client {

// The partition where a topic's records without a key go until its batch is closed (KIP-480).
// Thread-safe.
class Sticky {
 public:
  explicit Sticky(uint64_t seed) : state_(seed) {}
  int32_t Pick(int32_t partition_count);
  void Leave(int32_t partition);  // its batch was closed

 private:
  std::atomic<int32_t> current_{-1};
  std::atomic<int32_t> last_{-1};
  std::atomic<uint64_t> state_;
};

// A record whose limits were checked; views into what the caller holds.
struct PreparedRecord {
  int64_t timestamp_ms = 0;
  Bytes key;
  Bytes value;
  std::span<const record::HeaderView> headers;
  size_t bytes = 0;   // an upper bound of what it adds to a batch
  size_t charge = 0;  // what it takes of the buffer's bound
};

struct LaneSettings {
  absl::Duration linger;
  size_t batch_bytes = 0;      // a batch is closed before it outgrows this
  size_t max_batch_bytes = 0;  // what the topic allows
  record::Codec codec = record::Codec::kNone;
  int compression_level = 0;
  broker::AckLevel acks = broker::AckLevel::kAll;
  bool idempotent = true;
};

// One partition of one producer: the batch that is being filled, the closed ones behind it, and the
// right to append, which one thread holds at a time. Whoever adds a record while nobody appends
// takes that right and appends everything that is there, in order; records that come meanwhile form
// the next batch. So order is kept without a thread between producer and log, and threads that send
// at the same time share a write; so do the records of a thread that outruns its callbacks.
// Compression and checksum happen without the lock. Thread-safe. Its lock is taken before the
// hub's.
class Lane : public std::enable_shared_from_this<Lane> {
 public:
  Lane(std::shared_ptr<DeliveryHub> hub, std::shared_ptr<broker::Partition> partition,
       std::shared_ptr<Sticky> sticky, LaneSettings settings);

  const std::shared_ptr<broker::Partition>& partition() const { return partition_; }
  DeliveryHub& hub() const { return *hub_; }
  const std::shared_ptr<DeliveryHub>& shared_hub() const { return hub_; }

  enum class Added {
    kYes,
    kNoSpace,  // it has to begin a batch, and there is no space for one
    kClosed
  };
  // Adds the record to the open batch, and appends if nobody does. Takes out of `space`, which
  // holds the record's, what it uses. If it was not added, `completion` is as it was.
  Added Add(const PreparedRecord& r, Completion& completion, bool sync, Space& space);
  // Adds whole batches behind everything added before. False: closed.
  bool Enqueue(std::span<const BatchRef> batches);
  // A batch of one's own to fill, for Enqueue. `charge` is reserved, and the batch's from now on.
  BatchRef NewBatch(size_t charge) {
    return hub_->NewBatch(shared_from_this(), /*registered=*/false, charge);
  }
  LaneSettings settings() const;
  void SetSettings(const LaneSettings& settings);

  void Flush();  // closes the open batch and appends what nobody appends
  void Close();  // refuses what comes later, then flushes
  // Callbacks of a batch were posted to the executor, and have run.
  void NoteCallbacksDue() { callbacks_due_.fetch_add(1, std::memory_order_relaxed); }
  void NoteCalled();
  // Takes a batch out that must be answered before it was appended. False: too late, it is under
  // way.
  bool Drop(Batch& batch);

 private:
  void CloseOpen() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool TakeTurn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool QueueEmpty() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return queue_begin_ == queue_.size();
  }
  struct Job {
    BatchRef batch;
    LaneSettings settings;
  };
  Job PopForAppend() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CountClosed(const Batch& batch) const;
  // Both with the turn: the job, then what is queued. Append leaves it to another thread where the
  // partition is not open yet.
  void Append(Job job);
  void AppendQueued(Job job);
  void AppendOne(Batch& batch, const LaneSettings& settings);
  void ArmLinger(absl::Duration when);
  void OnLinger();
  void FlushLater();

  const std::shared_ptr<DeliveryHub> hub_;
  const std::shared_ptr<broker::Partition> partition_;
  const std::shared_ptr<Sticky> sticky_;

  std::atomic<int32_t> callbacks_due_{0};

  mutable Mutex mu_;
  LaneSettings settings_ ABSL_GUARDED_BY(mu_);
  BatchRef open_ ABSL_GUARDED_BY(mu_);
  // Closed, in order; those before queue_begin_ are gone.
  std::vector<BatchRef> queue_ ABSL_GUARDED_BY(mu_);
  size_t queue_begin_ ABSL_GUARDED_BY(mu_) = 0;
  bool appending_ ABSL_GUARDED_BY(mu_) = false;
  bool linger_armed_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace millrace::client
