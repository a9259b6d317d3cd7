#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "harness/check/json_reader.h"

namespace millrace::check {

// A history: what the clients of a log did and saw, one operation a line, an invoke and later its
// completion. The form is Jepsen's (tests/harness/README.md); the words differ only where Jepsen's
// Kafka workload has none.

enum class OpType : uint8_t {
  kInvoke,
  kAck,   // a part of a pending send is acknowledged already; ours
  kOk,    // it happened
  kFail,  // it did not happen and never will
  kInfo,  // nobody knows
};

enum class OpKind : uint8_t {
  kSend,
  kPoll,
  kTxn,
  kAssign,
  kSubscribe,
  kSeek,
  kCommit,     // a group's offsets are written
  kCommitted,  // and read
  kInit,       // a transactional producer begins a new epoch and fences the older ones
  kFinal,      // this process has read each of these partitions from its log start to its end
  kTrim,       // the log start has moved: what lies below may be gone
  kReplica,    // what one replica holds
  kCreateTopic,
  kDeleteTopic,
  kTopics,  // which topics there are
  kNote,    // a remark for the human reader
};

std::string_view NameOf(OpType type);
std::string_view NameOf(OpKind kind);

// The names of partitions as small numbers, in the order in which they were first seen.
class Names {
 public:
  int32_t IdOf(std::string_view name);
  const std::string& NameOf(int32_t id) const { return names_[static_cast<size_t>(id)]; }
  size_t size() const { return names_.size(); }

 private:
  std::deque<std::string> names_;  // a deque: the map's keys point into it
  absl::flat_hash_map<std::string_view, int32_t> ids_;
};

struct OffsetOf {
  int32_t key = 0;
  int64_t offset = 0;
};

struct Item {  // one record as it was sent or read
  int32_t key = 0;
  int64_t offset = -1;  // unknown
  int64_t value = 0;    // unique within its partition
  uint64_t hash = 0;    // of all its bytes, its headers and its timestamp; 0: not given
};

// One element of the `value` of a send, poll or txn: a record that is sent, or all that one poll
// returned, as a range of Op::items.
struct Step {
  bool is_send = false;
  uint32_t first = 0;
  uint32_t count = 0;
};

struct Op {
  OpType type = OpType::kInvoke;
  OpKind kind = OpKind::kNote;
  int64_t process = 0;
  int64_t time_ns = -1;  // unknown
  int64_t epoch = -1;    // with `producer`
  int64_t node = 0;      // of kReplica
  bool crashed = false;  // the process is gone: what did not happen yet never will
  std::string group;     // of kCommit, kCommitted, and of a txn with offsets
  std::string producer;  // the transactional id
  std::string note;
  std::vector<Step> steps;
  std::vector<Item> items;
  // The partitions of an assign; where a seek, commit, committed, final or trim points to; the
  // offsets that a txn commits.
  std::vector<OffsetOf> offsets;
  std::vector<OffsetOf> seeks;      // of kAssign: positions that it sets
  std::vector<std::string> topics;  // of kSubscribe, kCreateTopic, kDeleteTopic, kTopics
  std::vector<OffsetOf> high_watermarks;
  std::vector<OffsetOf> last_stable_offsets;
  std::vector<int32_t> rebalanced;  // partitions that came or went while the op ran

  void Clear() { *this = Op(); }
  void AddSend(Item item);
  // Starts a poll; AddRead then adds what it returned.
  void AddPoll() { steps.push_back({false, static_cast<uint32_t>(items.size()), 0}); }
  void AddRead(Item item);
};

// Reads one line. False: `error` says why.
bool ParseOp(std::string_view line, Names& names, Op* op, std::string* error);

// Appends the op as one line, with its newline; ParseOp gives the same op back.
void AppendJson(const Op& op, const Names& names, std::string* out);

}  // namespace millrace::check
