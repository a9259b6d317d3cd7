#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::check {

// X(identifier, name, what it means). The names down to unseen are those of Jepsen's Kafka
// workload.
#define MILLRACE_ANOMALY_LIST(X)                                                                 \
  X(kLostWrite, "lost-write", "an acknowledged record that readers went past, and nobody read")  \
  X(kG1a, "G1a", "a record was read whose send or transaction had failed")                       \
  X(kDuplicate, "duplicate", "one record at two offsets")                                        \
  X(kInconsistentOffsets, "inconsistent-offsets", "two records at one offset")                   \
  X(kNonmonotonicPoll, "nonmonotonic-poll", "a reader went back from one poll to the next")      \
  X(kPollSkip, "poll-skip", "a reader left out records from one poll to the next")               \
  X(kIntNonmonotonicPoll, "int-nonmonotonic-poll", "records out of order inside one operation")  \
  X(kIntPollSkip, "int-poll-skip", "records left out inside one operation")                      \
  X(kNonmonotonicSend, "nonmonotonic-send", "a producer's later record lies before its earlier") \
  X(kIntNonmonotonicSend, "int-nonmonotonic-send", "the same, inside one operation")             \
  X(kPrecommittedRead, "precommitted-read", "a transaction read its own records")                \
  X(kG1c, "G1c", "transactions that read from each other in a circle")                           \
  X(kUnseen, "unseen", "an acknowledged record that nobody had read when the history ended")     \
  X(kTornTxn, "torn-txn", "a transaction of which a part is visible and a part is missing")      \
  X(kCommitRevert, "commit-revert", "a committed offset that an accepted commit had replaced")   \
  X(kZombieWrite, "zombie-write", "a write of a producer that was fenced before")                \
  X(kHwRegress, "hw-regress", "the high watermark that one client saw went back")                \
  X(kLsoRegress, "lso-regress", "the last stable offset that one client saw went back")          \
  X(kValueMutated, "value-mutated", "a record whose bytes or timestamp are not those sent")      \
  X(kReplicaDivergence, "replica-divergence", "two replicas that disagree about an offset")      \
  X(kStuck, "stuck", "an operation that did not end, or not in time")

enum class Anomaly : uint8_t {
#define MILLRACE_ANOMALY_ID(id, name, what) id,
  MILLRACE_ANOMALY_LIST(MILLRACE_ANOMALY_ID)
#undef MILLRACE_ANOMALY_ID
};

struct AnomalyInfo {
  Anomaly anomaly;
  std::string_view name;
  std::string_view what;
};
inline constexpr AnomalyInfo kAnomalies[] = {
#define MILLRACE_ANOMALY_ROW(id, name, what) {Anomaly::id, name, what},
    MILLRACE_ANOMALY_LIST(MILLRACE_ANOMALY_ROW)
#undef MILLRACE_ANOMALY_ROW
};
inline constexpr size_t kAnomalyCount = std::size(kAnomalies);

// What a check found: how often each anomaly, and of each the first few cases in words.
class Report {
 public:
  void Add(Anomaly anomaly, std::string text);

  uint64_t count(Anomaly anomaly) const { return found_[static_cast<size_t>(anomaly)].count; }
  uint64_t total() const;
  std::set<std::string_view> names() const;  // of those that were found
  void Print(std::ostream& out) const;

 private:
  struct Found {
    uint64_t count = 0;
    std::vector<std::string> examples;
  };
  std::array<Found, kAnomalyCount> found_;
};

}  // namespace millrace::check
