// millrace/consumer.h
#pragma once
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "millrace/future.h"
#include "millrace/record.h"

namespace millrace {

enum class StartFrom { kEarliest, kLatest, kFail };
enum class Isolation { kReadUncommitted, kReadCommitted };
enum class Commits {
  kManual,
  kOnNextPoll,  // each Poll first commits what the previous one returned; Close commits the last
  kMarked,      // commits the contiguous prefix of records passed to MarkDone
};
enum class GroupProtocol { kAuto, kClassic, kConsumer };  // kConsumer: KIP-848; kAuto: if the broker can

// Called only inside Poll, Unsubscribe and Close, on the thread that called them. Blocking commits are
// allowed here. An exception that leaves a listener is caught and returned by that call as kAborted.
class RebalanceListener {
 public:
  virtual ~RebalanceListener() = default;
  virtual void OnAssigned(class Consumer&, const std::vector<TopicPartition>&) {}
  virtual void OnRevoked(class Consumer&, const std::vector<TopicPartition>&) {}  // may still commit
  virtual void OnLost(class Consumer&, const std::vector<TopicPartition>&) {}     // may not
};

struct ConsumerOptions {
  std::string group = {};  // empty: no group, use Assign
  std::vector<std::string> topics = {};
  std::string group_instance_id = {};
  GroupProtocol protocol = GroupProtocol::kAuto;
  Commits commits = Commits::kOnNextPoll;
  StartFrom start_from = StartFrom::kEarliest;
  Isolation isolation = Isolation::kReadCommitted;
  size_t max_poll_records = 500;
  size_t max_poll_bytes = 8 << 20;
  size_t max_prefetch_bytes = 32 << 20;  // remote backends; embedded reads need none
  absl::Duration max_poll_interval = absl::Minutes(5);
  absl::Duration session_timeout = absl::Seconds(45);  // over the wire; in process only max_poll_interval applies
  std::shared_ptr<RebalanceListener> listener = nullptr;
};

struct OffsetAndTime {
  Offset offset = -1;
  absl::Time timestamp;
};

// Used by one thread at a time; a second concurrent call is detected and returns kFailedPrecondition.
// Only Wake, MarkDone and the const observers may be called from any thread. Move-only.
class Consumer {
 public:
  Consumer(Consumer&&) noexcept;
  Consumer& operator=(Consumer&&) noexcept;
  ~Consumer();  // leaves the group; commits nothing, so an early return or a throw redelivers

  Status Subscribe(std::vector<std::string> topics);  // does not wait for the assignment
  Status SubscribePattern(std::string re2);
  Status Unsubscribe();
  Status Assign(std::vector<TopicPartition> partitions);

  // Returns as soon as one record is readable. An empty batch: `timeout` passed. kCancelled: `stop`
  // was requested or Wake was called. Errors are only ever here, each once and never inside records;
  // records fetched beside a failed partition come with the next Poll. Retriable faults are retried
  // inside and seen in metrics, not here.
  StatusOr<RecordBatch> Poll(absl::Duration timeout, std::stop_token stop = {});
  void Wake();
  int event_fd() const;  // readable while Poll(0) would return something

  Status Commit(absl::Duration timeout = absl::Seconds(30));  // positions returned by Poll so far
  Status Commit(const OffsetMap& next, absl::Duration timeout = absl::Seconds(30));
  Future<OffsetMap> CommitAsync();
  Future<OffsetMap> CommitAsync(OffsetMap next);
  void MarkDone(const RecordView& r);  // any thread, any order; with Commits::kMarked

  Status Seek(const TopicPartition& tp, Offset next);
  Status SeekToBeginning(const std::vector<TopicPartition>& tps = {});  // {}: the whole assignment
  Status SeekToEnd(const std::vector<TopicPartition>& tps = {});
  Status SeekToTime(absl::Time t, const std::vector<TopicPartition>& tps = {});
  Status Pause(const std::vector<TopicPartition>& tps);
  Status Resume(const std::vector<TopicPartition>& tps);

  std::vector<TopicPartition> assignment() const;
  std::optional<Offset> position(const TopicPartition& tp) const;
  StatusOr<OffsetMap> Committed(const std::vector<TopicPartition>& tps);
  StatusOr<OffsetMap> BeginningOffsets(const std::vector<TopicPartition>& tps);
  StatusOr<OffsetMap> EndOffsets(const std::vector<TopicPartition>& tps);
  StatusOr<std::map<TopicPartition, OffsetAndTime>> OffsetsForTimes(
      const std::map<TopicPartition, absl::Time>& when);
  StatusOr<std::map<TopicPartition, int64_t>> Lag();

  Status Close(absl::Duration timeout);  // commits if automatic, leaves the group

 private:
  friend class Client;
  Consumer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Queue semantics (KIP-932): records are acquired one by one under a lock, then acknowledged.
struct ShareConsumerOptions {
  std::string group;
  std::vector<std::string> topics;
  bool explicit_acks = false;  // false: Poll accepts all that the previous Poll returned
  size_t max_poll_records = 500;
};
class ShareConsumer {
 public:
  ShareConsumer(ShareConsumer&&) noexcept;
  ShareConsumer& operator=(ShareConsumer&&) noexcept;
  ~ShareConsumer();  // releases what is not acknowledged

  StatusOr<RecordBatch> Poll(absl::Duration timeout, std::stop_token stop = {});
  void Wake();
  int32_t delivery_count(const RecordView& r) const;
  absl::Time lock_deadline(const RecordView& r) const;
  Status Accept(const RecordView& r);   // done
  Status Release(const RecordView& r);  // give back, deliver again
  Status Reject(const RecordView& r);   // never again (dead letter if the topic names one)
  Status Renew(const RecordView& r);    // more time
  Status Commit(absl::Duration timeout = absl::Seconds(30));
  Future<OffsetMap> CommitAsync();
  Status Close(absl::Duration timeout);

 private:
  friend class Client;
  ShareConsumer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
