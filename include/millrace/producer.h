// millrace/producer.h - writing records.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "millrace/future.h"
#include "millrace/record.h"
#include "millrace/status.h"

namespace millrace {

// How many replicas must have a record before it is answered. Embedded there is one: kLeader
// answers after the write (the sync follows at once), kNone after the write too, kAll as
// BrokerOptions::flush says. [acks]
enum class Acks { kNone, kLeader, kAll };
// Of whole batches, so it pays with `linger`, SendAll or many threads. [compression.type]
enum class Compression { kNone, kGzip, kSnappy, kLz4, kZstd };

class Partitioner {
 public:
  virtual ~Partitioner() = default;
  // A number in [0, partition_count), partition_count > 0. Must be fast, must not call back into
  // Millrace; may run on any thread. What it throws becomes the record's error (callback_threw).
  virtual int32_t Pick(std::string_view topic, Bytes key, Bytes value, int32_t partition_count) = 0;
};
// murmur2 for keyed records exactly as the Java client does; records without a key stay with one
// partition until its batch is closed, then move to another one (KIP-480). Called by a Partitioner
// of your own it goes round for records without a key, since it sees no batches.
std::shared_ptr<Partitioner> DefaultPartitioner();
std::shared_ptr<Partitioner> RoundRobinPartitioner();  // counts for each topic apart
// Java's Utils.murmur2. The default partition of a key is (Murmur2(key) & 0x7fffffff) % count.
uint32_t Murmur2(Bytes key);

struct ProducerOptions {
  Acks acks = Acks::kAll;
  // A retry of a batch is recognised and not appended again (KIP-98). Without it batches carry no
  // producer id. [enable.idempotence]
  bool idempotent = true;
  // How long a record may wait for others to share its batch. Zero: it is appended at once, on the
  // caller's thread; what other threads send meanwhile forms the next batch. Only records with a
  // callback, sent faster than the callbacks run, may share one even then, for at most a
  // millisecond. [linger.ms]
  absl::Duration linger = absl::ZeroDuration();
  // A batch is closed when it holds this many bytes, before compression. Never more than the
  // topic's max.message.bytes and segment.bytes, so that no batch is refused. [batch.size]
  size_t batch_bytes = 256 << 10;
  // Memory of records that are not answered yet: their encoding and their bookkeeping, for which
  // twice a record's size and about 160 bytes are counted, and 5 KiB for each batch (less where the
  // bound leaves less beside a record: then one batch at a time fills it). What callbacks capture
  // is not. buffered_bytes never passes the bound; at it Send waits and TrySend refuses.
  // [buffer.memory]
  size_t max_buffered_bytes = 64 << 20;
  absl::Duration max_block = absl::Seconds(60);  // how long Send may wait for space [max.block.ms]
  // A record that has no outcome in this time is answered timed_out, once; it may still come to be
  // in the log (Persistence::kPossiblyPersisted). [delivery.timeout.ms]
  absl::Duration delivery_timeout = absl::Minutes(2);
  Compression compression = Compression::kNone;
  std::shared_ptr<Partitioner> partitioner = nullptr;  // null: DefaultPartitioner()
};

struct SendOptions {
  bool sync = false;          // delivered only once on stable storage (group-committed fdatasync)
  std::stop_token stop = {};  // ends a wait for buffer space
};

using DeliveryCallback = absl::AnyInvocable<void(const StatusOr<Delivery>&)>;

// Writes records to any topic. Records that one thread sends to one partition are appended in that
// order.
//
// Thread-safe: any method from any thread. Move-only. Needs no polling: callbacks run on the
// client's executor. The destructor closes with the client's close_timeout; destroy in any order.
//
// Inside a delivery callback Send never waits for space (it behaves as TrySend), and Flush and
// Close answer `reentrant`: they would wait for the thread they are on.
//
// Errors of a record, known before it is queued: invalid_topic, unknown_topic, unknown_partition,
// record_too_large (naming the limit), invalid_timestamp, invalid_argument (headers), buffer_full,
// cancelled, closed, forked. Errors of a delivery: those of the log (no_space, quota_reached,
// io_error, directory_failed, unknown_topic of a topic deleted meanwhile), timed_out, aborted.
class Producer {
 public:
  Producer(Producer&&) noexcept;
  Producer& operator=(Producer&&) noexcept;
  ~Producer();

  // Queues `r`, waiting up to max_block for buffer space. A record that was not accepted comes back
  // as an already-failed future. Costs one allocation more than the callback form.
  Future<Delivery> Send(ProducerRecord r, SendOptions o = {});

  // Queues `r`; OK means `done` will be called exactly once, anything else means never.
  Status Send(ProducerRecord r, DeliveryCallback done, SendOptions o = {});

  // As above but never waits for space: buffer_full at once. Without `linger` it may still append,
  // which writes to the file. (No Send waits for a sync, but where it makes the topic.)
  Status TrySend(ProducerRecord r, DeliveryCallback done);

  // Sends all of `rs` and waits for the outcome of each; answers in order. Records for one
  // partition are appended as one batch (as few as batch_bytes allows). Keys and values are left as
  // they were. Does a sync that it needs on this thread, and waits for it.
  std::vector<StatusOr<Delivery>> SendAll(std::span<ProducerRecord> rs, SendOptions o = {});

  // Sends what lingers and waits until everything accepted before the call has an outcome and its
  // callback has run, or lies in your own executor. OK says nothing of success.
  Status Flush(absl::Duration timeout = absl::InfiniteDuration(), std::stop_token stop = {});

  size_t buffered_bytes() const;    // of records accepted and without an outcome yet
  size_t buffered_records() const;  // likewise

  // Flushes, then answers what is left with kAborted. Later calls answer `closed`; closing again
  // OK.
  Status Close(absl::Duration timeout);

 private:
  friend class Client;
  Producer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
