// millrace/producer.h
#pragma once
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "millrace/future.h"
#include "millrace/record.h"

namespace millrace {

enum class Acks { kNone, kLeader, kAll };
enum class Compression { kNone, kGzip, kSnappy, kLz4, kZstd };

class Partitioner {
 public:
  virtual ~Partitioner() = default;
  // Must be fast, must not call back into Millrace; may run on any thread.
  virtual int32_t Pick(std::string_view topic, Bytes key, Bytes value, int32_t partition_count) = 0;
};
// murmur2 for keyed records exactly as the Java client does; sticky batches for records without a key.
std::shared_ptr<Partitioner> DefaultPartitioner();
std::shared_ptr<Partitioner> RoundRobinPartitioner();
uint32_t Murmur2(Bytes key);

struct ProducerOptions {
  Acks acks = Acks::kAll;
  bool idempotent = true;
  std::string transactional_id = {};
  absl::Duration transaction_timeout = absl::Minutes(1);
  absl::Duration linger = absl::ZeroDuration();
  size_t batch_bytes = 256 << 10;
  size_t max_buffered_bytes = 64 << 20;         // back-pressure starts here
  absl::Duration max_block = absl::Seconds(60);  // how long Send may wait for buffer space
  absl::Duration delivery_timeout = absl::Minutes(2);
  Compression compression = Compression::kNone;
  std::shared_ptr<Partitioner> partitioner = nullptr;  // null: DefaultPartitioner()
};

struct SendOptions {
  bool sync = false;          // delivered only once on stable storage (group-committed fdatasync)
  std::stop_token stop = {};  // ends a wait for buffer space
};

using DeliveryCallback = absl::AnyInvocable<void(const StatusOr<Delivery>&)>;

// A transaction. Not committed by the time it dies: aborted. Use from one thread at a time.
class Transaction {
 public:
  Transaction(Transaction&&) noexcept;
  Transaction& operator=(Transaction&&) noexcept;
  ~Transaction();
  // Queues a record; a failed delivery is reported by Commit, which then aborts.
  Status Send(ProducerRecord r);
  // Consumed positions commit with the transaction (read-process-write).
  Status AddOffsets(const class Consumer& c, const OffsetMap& next);
  Status Commit(absl::Duration timeout = absl::Minutes(1));
  Status Abort(absl::Duration timeout = absl::Minutes(1));

 private:
  friend class Producer;
  Transaction();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Thread-safe: any method from any thread. Move-only. Needs no polling: callbacks run on the client's
// executor. The destructor closes with the client's close_timeout; destroy in any order.
class Producer {
 public:
  Producer(Producer&&) noexcept;
  Producer& operator=(Producer&&) noexcept;
  ~Producer();

  // Queues `r`, waiting up to max_block for buffer space. A record that was not accepted comes back
  // as an already-failed future: kResourceExhausted (no space), kCancelled, kInvalidArgument...
  Future<Delivery> Send(ProducerRecord r, SendOptions o = {});

  // Queues `r`; OK means `done` will be called exactly once, anything else means never.
  Status Send(ProducerRecord r, DeliveryCallback done, SendOptions o = {});

  // As above but never waits: kResourceExhausted at once when the buffer is full.
  Status TrySend(ProducerRecord r, DeliveryCallback done);

  // Waits for the outcome of each, in order. Records for one partition are appended as one batch.
  std::vector<StatusOr<Delivery>> SendAll(std::span<ProducerRecord> rs, SendOptions o = {});

  // Sends what lingers and waits until everything accepted so far has an outcome. OK says nothing
  // about whether those outcomes were successes.
  Status Flush(absl::Duration timeout = absl::InfiniteDuration(), std::stop_token stop = {});

  size_t buffered_bytes() const;
  size_t buffered_records() const;

  StatusOr<Transaction> Begin();  // needs transactional_id

  Status Close(absl::Duration timeout);  // flush, then fail what is left with kAborted

 private:
  friend class Client;
  Producer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
