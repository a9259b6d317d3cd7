// millrace/consumer.h - reading records, alone or as a member of a group.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "millrace/future.h"
#include "millrace/record.h"
#include "millrace/status.h"

namespace millrace {

// Where reading begins in a partition without a committed offset, and where it goes on when
// retention overtook the reader. [auto.offset.reset; Kafka's default is latest]
enum class StartFrom {
  kEarliest,
  kLatest,
  kFail  // Poll answers no_offset or offset_out_of_range, naming the partition
};
enum class Isolation { kReadUncommitted, kReadCommitted };  // [isolation.level], KIP-98
enum class Commits {
  kManual,
  // Each Poll first commits what the previous one returned; Close commits the last. These commits
  // are written behind, within 100 ms. [enable.auto.commit]
  kOnNextPoll,
  kMarked,  // as kOnNextPoll, but only the contiguous prefix of records passed to MarkDone
};

// Called only inside Poll, Unsubscribe and Close, on the thread that called them. Committing,
// seeking and pausing are allowed here; Poll, Close and the like answer `reentrant`. An exception
// that leaves a listener is caught and returned by that call as kAborted.
class RebalanceListener {
 public:
  virtual ~RebalanceListener() = default;
  virtual void OnAssigned(class Consumer&, const std::vector<TopicPartition>&) {}
  virtual void OnRevoked(class Consumer&, const std::vector<TopicPartition>&) {
  }  // may still commit
  virtual void OnLost(class Consumer&, const std::vector<TopicPartition>&) {}  // may not
};

struct ConsumerOptions {
  // Names the group that shares the topics' partitions and keeps the committed offsets. Empty: no
  // group, use Assign. [group.id]
  std::string group = {};
  std::vector<std::string> topics = {};  // subscribed to at once; needs `group`
  // Names this member across restarts: it keeps its partitions while it is away for less than
  // max_poll_interval (KIP-345). [group.instance.id]
  std::string group_instance_id = {};
  // How a group's partitions are shared out: "uniform" (empty means that) or "range" (KIP-848).
  std::string assignor = {};
  Commits commits = Commits::kOnNextPoll;
  StartFrom start_from = StartFrom::kEarliest;
  Isolation isolation = Isolation::kReadCommitted;
  size_t max_poll_records = 500;  // a hard bound of what one Poll returns [max.poll.records]
  // Ends a Poll's batch, too: of keys, values and headers. At least one record is returned, and a
  // whole batch of the log is read, however large it is.
  size_t max_poll_bytes = 8 << 20;
  // Memory that this consumer's batches and pins may hold in all: buffers, and about a hundred
  // bytes for each record. Beyond it Poll answers pinned_too_much until some are dropped. Fetched
  // and not returned yet are, beside that, max_poll_bytes and what is read at once (1 MiB, or a
  // batch). Also the most that one compressed batch may expand to.
  size_t max_pinned_bytes = 256 << 20;
  // A member that does not poll for this long loses its partitions to the others. A Poll that waits
  // counts as polling. [max.poll.interval.ms]
  absl::Duration max_poll_interval = absl::Minutes(5);
  std::shared_ptr<RebalanceListener> listener = nullptr;
};

struct OffsetAndTime {
  Offset offset = -1;
  absl::Time timestamp;
};

// Reads records. Used by one thread at a time; a second concurrent call is detected and returns
// concurrent_use (kFailedPrecondition). Only Wake, MarkDone and the const observers may be called
// from any thread. Move-only.
//
// Positions are the next offset to read; so are committed offsets. With `group`, positions begin at
// the committed offsets; one that lies past the end of its leader epoch (a power cut took records
// that had been read) is moved back to where the histories part, logged, and counted in
// millrace_positions_moved_back_total (KIP-320).
class Consumer {
 public:
  Consumer(Consumer&&) noexcept;
  Consumer& operator=(Consumer&&) noexcept;
  ~Consumer();  // leaves the group; commits nothing, so an early return or a throw redelivers

  // Joins the group for these topics, in place of what was subscribed to before; the partitions
  // come with a later Poll (KIP-848). invalid_topic, invalid_group.
  Status Subscribe(std::vector<std::string> topics);
  // All topics, present and future, whose whole name matches. RE2 syntax; invalid_argument if not.
  Status SubscribePattern(std::string re2);
  Status Unsubscribe();  // commits if automatic, leaves the group or drops the assignment
  // Reads these partitions, all and only these, without sharing them with anybody. unknown_topic,
  // unknown_partition. Partitions that stay keep their positions; those of a topic that was deleted
  // and made anew begin anew.
  Status Assign(std::vector<TopicPartition> partitions);

  // Returns as soon as one record is readable. An empty batch: `timeout` passed. kCancelled: `stop`
  // was requested or Wake was called. not_assigned: there is neither subscription nor assignment.
  // A member reads when what its group decided is on stable storage (Flush::kEachBatch); even a
  // Poll that should not wait gives that 20 ms, once, and the making of a directory's first group a
  // tenth of a second.
  //
  // Errors are only ever here, each once and never inside records; records fetched beside a failed
  // partition come with the next Poll. A partition that failed for good (corrupt_log, no_offset,
  // offset_out_of_range, record_too_large) rests until Seek or Resume names it; the others go on.
  // Retriable faults are retried inside and seen in metrics, not here.
  StatusOr<RecordBatch> Poll(absl::Duration timeout, std::stop_token stop = {});
  // Makes the Poll that waits, or else the next one, answer kCancelled. Async-signal-safe.
  void Wake();
  // Readable while Poll(0) would return something; for epoll/libuv/asio. -1: out of descriptors.
  int event_fd() const;

  // Commits and waits until that is on stable storage. Without offsets: the positions returned by
  // Poll so far (with kMarked: what MarkDone completed). unknown_member: the group went on without
  // this member. offset_out_of_range: an offset beyond what can be read. timed_out: the disk is not
  // done with it; it goes on, and the positions may come to be committed (possibly_persisted).
  Status Commit(absl::Duration timeout = absl::Seconds(30));
  Status Commit(const OffsetMap& next, absl::Duration timeout = absl::Seconds(30));
  // The same, with the waiting left to the future. Commits of one consumer take effect in the order
  // of the calls.
  Future<OffsetMap> CommitAsync();
  Future<OffsetMap> CommitAsync(OffsetMap next);
  // With Commits::kMarked: any thread, any order. Records of partitions that were taken away since
  // are ignored.
  void MarkDone(const RecordView& r);

  // Offsets must exist (or be the end): offset_out_of_range names the range, and the position
  // stays.
  Status Seek(const TopicPartition& tp, Offset next);
  Status SeekToBeginning(const std::vector<TopicPartition>& tps = {});  // {}: the whole assignment
  Status SeekToEnd(const std::vector<TopicPartition>& tps = {});
  // To the first record at or after `t`; to the end where there is none.
  Status SeekToTime(absl::Time t, const std::vector<TopicPartition>& tps = {});
  Status Pause(const std::vector<TopicPartition>& tps);
  Status Resume(const std::vector<TopicPartition>& tps);

  std::vector<TopicPartition> assignment() const;
  // nullopt: not assigned, or no position yet (the first Poll finds it).
  std::optional<Offset> position(const TopicPartition& tp) const;
  // These take any partition, assigned or not. Partitions without a committed offset are left out.
  StatusOr<OffsetMap> Committed(const std::vector<TopicPartition>& tps);
  StatusOr<OffsetMap> BeginningOffsets(const std::vector<TopicPartition>& tps);
  StatusOr<OffsetMap> EndOffsets(const std::vector<TopicPartition>& tps);
  // The first record at or after each time; partitions without one are left out.
  StatusOr<std::map<TopicPartition, OffsetAndTime>> OffsetsForTimes(
      const std::map<TopicPartition, absl::Time>& when);
  // Of each assigned partition: how many offsets lie before the end.
  StatusOr<std::map<TopicPartition, int64_t>> Lag();
  // Of each assigned partition: the age of the next record to read, by its timestamp; zero at the
  // end. Reads that record.
  StatusOr<std::map<TopicPartition, absl::Duration>> LagTime();

  // Commits if automatic, leaves the group, and waits until that is on stable storage. timed_out:
  // the consumer is closed and has left all the same, and the disk goes on with it. Later calls
  // answer `closed`; closing again OK.
  Status Close(absl::Duration timeout);

 private:
  friend class Client;
  Consumer();
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace millrace
