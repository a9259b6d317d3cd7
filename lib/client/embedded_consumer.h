#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "base/mutex.h"
#include "client/backend.h"
#include "client/context.h"
#include "client/future_state.h"
#include "client/partition_cursor.h"
#include "client/record_storage.h"
#include "client/sync_future.h"
#include "env/bell.h"

namespace millrace::client {

// Consumer over a broker in this process. One bell wakes it: the partitions that it reads ring it,
// its group does, and so do Wake, a stop request and the broker's end. Threads as Consumer: Wake,
// MarkDone, assignment and position from any, the rest from one at a time.
class EmbeddedConsumer final : public ConsumerBackend {
 public:
  EmbeddedConsumer(std::shared_ptr<Context> context, ConsumerOptions options);
  ~EmbeddedConsumer() override;
  // ConsumerOptions::topics: there is no public object yet.
  Status SubscribeAtStart(std::vector<std::string> topics) {
    return SubscribeTo(std::move(topics), {});
  }

  Status Subscribe(Consumer& self, std::vector<std::string> topics) override;
  Status SubscribePattern(Consumer& self, std::string re2) override;
  Status Unsubscribe(Consumer& self) override;
  Status Assign(std::vector<TopicPartition> partitions) override;
  StatusOr<RecordBatch> Poll(Consumer& self, absl::Duration timeout,
                             const std::stop_token& stop) override;
  void Wake() override;
  int event_fd() override;
  Status Commit(const OffsetMap* next, absl::Duration timeout) override;
  Future<OffsetMap> CommitAsync(const OffsetMap* next) override;
  void MarkDone(const RecordView& r) override;
  Status Seek(const TopicPartition& tp, Offset next) override;
  Status SeekToBeginning(const std::vector<TopicPartition>& tps) override;
  Status SeekToEnd(const std::vector<TopicPartition>& tps) override;
  Status SeekToTime(absl::Time t, const std::vector<TopicPartition>& tps) override;
  Status Pause(const std::vector<TopicPartition>& tps) override;
  Status Resume(const std::vector<TopicPartition>& tps) override;
  std::vector<TopicPartition> assignment() const override;
  std::optional<Offset> position(const TopicPartition& tp) const override;
  StatusOr<OffsetMap> Committed(const std::vector<TopicPartition>& tps) override;
  StatusOr<OffsetMap> BeginningOffsets(const std::vector<TopicPartition>& tps) override;
  StatusOr<OffsetMap> EndOffsets(const std::vector<TopicPartition>& tps) override;
  StatusOr<std::map<TopicPartition, OffsetAndTime>> OffsetsForTimes(
      const std::map<TopicPartition, absl::Time>& when) override;
  StatusOr<std::map<TopicPartition, int64_t>> Lag() override;
  StatusOr<std::map<TopicPartition, absl::Duration>> LagTime() override;
  Status Close(Consumer& self, absl::Duration timeout) override;
  void Abandon() override;

 private:
  using Cursor = std::shared_ptr<PartitionCursor>;
  using Partitions = std::vector<TopicPartition>;
  using ListenerCall = void (RebalanceListener::*)(Consumer&, const Partitions&);
  enum class Mode { kNone, kAssigned, kSubscribed };
  enum class Nested { kRefused, kAllowed };

  // One call by one thread at a time; a call from inside a listener of this consumer is nested.
  class Use {
   public:
    Use(EmbeddedConsumer& consumer, Nested nested);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    const Status& status() const { return status_; }

   private:
    EmbeddedConsumer& consumer_;
    Status status_;
  };

  Status usable() const;
  bool CommitsItself() const { return options_.commits != Commits::kManual; }

  // ---- polling (embedded_consumer.cc)
  StatusOr<RecordBatch> PollLoop(Consumer& self, absl::Duration deadline,
                                 const std::stop_token& stop);
  std::optional<Status> Interrupted(const std::stop_token& stop);
  StatusOr<std::shared_ptr<BatchStorage>> Gather();
  void GatherInto(BatchStorage& storage);
  bool PinnedTooMuch(size_t most_pinned);
  void LookForOldBatches();
  bool GatherFrom(PartitionCursor& cursor, BatchStorage& storage, PollBudget& budget,
                  size_t most_pinned);
  void Sleep(uint32_t seen, absl::Duration deadline);
  void RingIfReadable(const Status& polled = absl::OkStatus());

  // ---- positions (consumer_positions.cc)
  Status ResolvePositions();
  Status ResolvePosition(PartitionCursor& cursor,
                         const std::map<TopicPartition, coordinator::CommittedOffset>& committed);
  Offset AfterCommitted(PartitionCursor& cursor, const coordinator::CommittedOffset& committed);
  void FetchFailed(PartitionCursor& cursor, const Status& status);
  void ResetPosition(PartitionCursor& cursor, const Status& out_of_range);
  void Fail(PartitionCursor& cursor, const Status& status);
  bool FollowRecreated(PartitionCursor& cursor);
  StatusOr<std::vector<Cursor>> Named(const Partitions& tps) const;
  StatusOr<std::shared_ptr<broker::Partition>> Opened(const TopicPartition& tp) const;

  // ---- assignment and group (consumer_group.cc)
  Status AddCursors(const Partitions& tps);
  void DropCursors(const Partitions& tps);
  void DropAllCursors();
  Cursor Find(const TopicPartition& tp) const;
  Status PrepareGroup(absl::Duration timeout);
  absl::Duration PrepareGrace() const;
  Status StepGroup(Consumer& self);
  Status Beat(Consumer& self);
  Status TakeReply(Consumer& self);
  coordinator::Heartbeat MakeBeat() const;
  Status Reconcile(Consumer& self);
  Status Revoke(Consumer& self, const Partitions& tps);
  Status Lose(Consumer& self);
  Status Tell(Consumer& self, ListenerCall call, const Partitions& tps);
  Status SubscribeTo(std::vector<std::string> topics, std::string pattern);
  Status LeaveAndDrop(absl::Duration timeout);
  Status Leave(absl::Duration timeout);
  void TouchGroup();

  // ---- commits (consumer_commits.cc)
  OffsetMap Uncommitted(const std::set<TopicPartition>* only) const;
  void NoteCommit(const OffsetMap& next, const Status& status);
  void CommitWritten(const OffsetMap& next);
  Status CommitAndWait(const OffsetMap& next, absl::Duration timeout);
  std::optional<Status> CommitBetweenPolls();
  bool CommitsAtEnd() const;
  Status CommitAtEnd(absl::Duration timeout);
  Status CommitBeforeRevoke(const std::set<TopicPartition>& only);
  coordinator::OffsetCommit MakeCommit(const OffsetMap& next) const;

  const std::shared_ptr<Context> context_;
  const ConsumerOptions options_;
  const std::shared_ptr<Bell> bell_ = std::make_shared<Bell>();
  const std::shared_ptr<PinAccount> account_;
  const std::shared_ptr<StoragePool> storages_ = std::make_shared<StoragePool>();
  uint64_t close_hook_ = 0;
  std::atomic<bool> wake_{false};
  std::atomic<bool> fd_used_{false};
  std::atomic<bool> closed_{false};

  std::atomic<const void*> user_{nullptr};  // the thread that is in a call

  // ---- of the thread that has the consumer
  int depth_ = 0;
  bool abandoned_ = false;  // destroyed inside a listener; the outermost call leaves the group
  Mode mode_ = Mode::kNone;
  std::vector<Cursor> order_;  // the assignment, in the order of serving
  size_t next_ = 0;            // whom the next Poll serves first
  std::deque<Status> errors_;  // to be returned, each once
  ErrorId last_commit_error_ = ErrorId::kInternal;
  bool commit_failing_ = false;
  absl::Duration last_old_batch_ = -absl::InfiniteDuration();  // when one was logged
  bool moved_ = false;               // a failed partition goes on elsewhere, at once
  bool arrivals_are_close_ = false;  // worth spinning for

  std::string member_id_;
  int32_t member_epoch_ = 0;  // 0: not a member
  std::vector<std::string> topics_;
  std::string pattern_;
  bool subscription_changed_ = false;
  bool report_owned_ = false;
  bool reply_lost_ = false;  // of a heartbeat; the next one asks for all that it may have said
  uint64_t seen_version_ = 0;
  bool group_ready_ = false;  // its state is there, and loaded
  std::shared_ptr<SyncFuture> preparing_;
  // Of the last heartbeat: taken in once it is durable.
  struct Reply {
    coordinator::HeartbeatReply reply;
    uint64_t version = 0;
    std::shared_ptr<SyncFuture> synced;
  };
  std::optional<Reply> reply_;
  absl::Duration last_touch_;
  Partitions target_;  // sorted

  // The assignment is changed by that thread, under mu_, and read by any under mu_.
  mutable Mutex mu_;
  std::map<TopicPartition, Cursor> cursors_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::client
