#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "base/uuid.h"
#include "millrace/status.h"
#include "millrace/topic_partition.h"

// Consumer groups by server-side assignment (KIP-848), as a state machine: events and the time go
// in, answers and records for __consumer_offsets come out. No files, threads, clock or socket.
namespace millrace::coordinator {

// One record of __consumer_offsets, in Kafka's format. No value is a tombstone.
struct StateRecord {
  std::vector<std::byte> key;
  std::optional<std::vector<std::byte>> value;
};

// What the coordinator asks of the cluster's metadata. Given to each call; borrowed for the call.
class TopicsView {
 public:
  struct Topic {
    Uuid id;
    int32_t partitions = 0;
  };
  virtual ~TopicsView() = default;
  virtual std::optional<Topic> Find(std::string_view name) const = 0;
  virtual void ForEach(const std::function<void(std::string_view, const Topic&)>& fn) const = 0;
  // Grows with every change of topics, so that an unchanged view costs nothing to look at.
  virtual uint64_t version() const = 0;
};

enum class GroupState { kEmpty, kAssigning, kReconciling, kStable, kDead };
std::string_view Name(GroupState state);  // "Empty", "Assigning"... as Kafka prints them

struct Heartbeat {
  std::string group;
  std::string member_id;     // chosen by the member (a uuid's text)
  int32_t member_epoch = 0;  // 0 joins, -1 leaves for good, -2 a static member leaves for a while
  std::string instance_id;   // empty: a dynamic member
  std::string client_id;
  std::string client_host;
  // Unset: unchanged since the last heartbeat. A join sends all of them.
  std::optional<std::vector<std::string>> topics;
  std::optional<std::string> topic_pattern;  // RE2, matched whole; "" ends a pattern subscription
  std::optional<std::string> assignor;       // "uniform" (default) or "range"
  std::optional<std::vector<TopicPartition>> owned;
  // A member in this process has no session: its heart is the process. It is removed when
  // `poll_timeout` passes without a Heartbeat or Touch. A member on the wire uses session_timeout.
  bool in_process = true;
  absl::Duration poll_timeout = absl::Minutes(5);
  absl::Duration session_timeout = absl::Seconds(45);
  absl::Duration rebalance_timeout = absl::Minutes(5);
};

struct HeartbeatReply {
  std::string member_id;
  int32_t member_epoch = 0;
  // What the member may own now; unset when it has not changed since the last reply. The member
  // first gives up what is missing here and says so in `owned` of its next heartbeat.
  std::optional<std::vector<TopicPartition>> assignment = {};
};

struct CommittedOffset {
  Offset offset = -1;
  int32_t leader_epoch = -1;
  std::string metadata;
  int64_t commit_time_ms = -1;
};

struct OffsetCommit {
  std::string group;
  std::string member_id;  // empty with epoch -1: a consumer outside of group management, allowed
  int32_t member_epoch = -1;  // only while the group has no members
  std::map<TopicPartition, CommittedOffset> offsets;
  // Which topics of these names are meant (KIP-516), by the name; one that is not here is the one
  // that there is. Looked at by the host, who knows the topics.
  std::map<std::string, Uuid> topic_ids = {};
};

struct MemberDescription {
  std::string member_id, instance_id, client_id, client_host;
  int32_t epoch = 0;
  std::vector<TopicPartition> assigned, target;
};
struct GroupDescription {
  std::string group;
  GroupState state = GroupState::kDead;
  int32_t epoch = 0;
  std::string assignor;
  std::vector<MemberDescription> members;
};

template <typename T>
struct Decision {
  T reply;
  std::vector<StateRecord> records;  // write these, all or none, before the reply is given
};

struct GroupLimits {
  int32_t max_group_size = 10000;
  int32_t max_groups = 100000;
  size_t max_metadata_bytes = 4096;  // of one committed offset
};

// All groups of one broker. Each call changes the state at once and returns the records that say
// so. If writing them fails, throw this object away and replay the log into a new one (the host's
// duty). Belongs to one thread at a time: the host holds a lock around it. Deterministic: the same
// calls in the same order give the same answers.
class GroupCoordinator {
 public:
  // `incarnation` names this opening of the data directory (uuid text); in-process members of any
  // other one are fenced.
  explicit GroupCoordinator(std::string incarnation, GroupLimits limits = {});
  ~GroupCoordinator();

  // ---- loading: every record of __consumer_offsets in order, then one FinishLoading.
  Status Replay(std::span<const std::byte> key, std::optional<std::span<const std::byte>> value);
  // Removes in-process members of earlier incarnations; their timers never ran.
  std::vector<StateRecord> FinishLoading(absl::Time now, const TopicsView& topics);

  // ---- members
  StatusOr<Decision<HeartbeatReply>> OnHeartbeat(const Heartbeat& beat, absl::Time now,
                                                 const TopicsView& topics);
  // The member polled: its poll timeout starts anew. Cheap; unknown members are ignored.
  void Touch(std::string_view group, std::string_view member_id, absl::Time now);
  // Removes members whose time is over, and recomputes groups whose topics changed.
  std::vector<StateRecord> Tick(absl::Time now, const TopicsView& topics);
  absl::Time NextDeadline() const;  // when Tick has something to do; InfiniteFuture when never
  // Grows whenever an assignment of the group may have changed, so that an idle member need not
  // ask.
  uint64_t GroupVersion(std::string_view group) const;

  // ---- offsets
  StatusOr<Decision<std::monostate>> OnCommit(const OffsetCommit& commit, absl::Time now);
  std::optional<CommittedOffset> Committed(std::string_view group, const TopicPartition& tp) const;
  std::map<TopicPartition, CommittedOffset> AllCommitted(std::string_view group) const;
  // By an administrator. group_not_empty while members live (delete: while subscribed to the
  // topic).
  StatusOr<Decision<std::monostate>> AlterOffsets(
      std::string_view group, const std::map<TopicPartition, CommittedOffset>& offsets,
      absl::Time now);
  StatusOr<Decision<std::monostate>> DeleteOffsets(std::string_view group,
                                                   const std::vector<TopicPartition>& partitions);
  // Offsets of a deleted topic go, in every group.
  std::vector<StateRecord> OnTopicDeleted(std::string_view topic);

  // ---- groups
  std::vector<std::pair<std::string, GroupState>> List() const;
  StatusOr<GroupDescription> Describe(std::string_view group) const;  // group_not_found
  StatusOr<Decision<std::monostate>> Delete(std::string_view group);  // group_not_empty

  // Every live record, for compaction of the log: replaying them gives this state.
  std::vector<StateRecord> Snapshot() const;
  size_t live_bytes() const;  // about what Snapshot would hold

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::coordinator
