#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "harness/check/history.h"
#include "harness/support/child_process.h"

namespace millrace::harness {

// What a directory must hold, kept from what its clients were told. It judges the reading of
// everything that each run begins with:
//   - every acknowledged record is there, once, at the offset that was said, with the bytes sent;
//   - what one client sent to one partition is there up to some record, in order, and no further;
//   - offsets have no gap; what was once read stays as it is; log ends and committed offsets never
//     go back; a reader of a group resumes where the group committed;
//   - topics that were created are there, and those that were deleted are not.
// After a power cut, what was not acknowledged under Flush::kEachBatch may be gone, but only as a
// suffix of its partition.
class ExpectedState {
 public:
  explicit ExpectedState(const check::Names& names) : names_(names) {}

  // How the run that begins now acknowledges.
  enum class Durability {
    kSynced,    // Flush::kEachBatch
    kInterval,  // within `loss_window` of the acknowledgement
    kNone,
  };
  void BeginRun(Durability durability, SteadyClock::duration loss_window = {});
  void Add(const check::Op& op);
  // The machine, as the files see it, lost power just now. A kill of the process needs no call:
  // after it everything acknowledged must be there.
  void PowerWasCut();

  uint64_t lost() const { return lost_; }
  uint64_t wrong() const { return wrong_; }
  uint64_t readings() const { return readings_; }  // whole ones that were judged
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  struct Sent {
    int64_t process = 0;
    int64_t value = 0;
    uint64_t hash = 0;
    bool acknowledged = false;
    int64_t offset = -1;  // as acknowledged
    // A power cut from then on must not take it.
    SteadyClock::time_point safe_from = SteadyClock::time_point::max();
  };
  struct Partition {
    std::map<int64_t, check::Item> log;   // by offset: what the last reading found
    std::vector<Sent> unread;             // sent since then, in the order of the invokes
    std::map<int64_t, size_t> unread_at;  // value -> place in `unread`
    int64_t log_start = 0;
    int64_t log_start_most = 0;        // a trim that may have happened
    int64_t visible_end = 0;           // one past what a client has read
    int64_t durable_end = 0;           // likewise, where visible means durable
    std::vector<check::Item> reading;  // the one that is under way

    // As the last reading found it.
    int64_t end() const { return log.empty() ? log_start : log.rbegin()->first + 1; }
  };
  struct CommittedOffset {
    int64_t least = -1;  // accepted, or read from a recovered directory
    int64_t most = -1;   // asked for
    int64_t seen = -1;   // as the last reading found it
    bool asked = false;  // since then
    // A power cut took records below the committed offset. Until the group commits anew it goes on
    // from where the log had ended then.
    std::optional<int64_t> parted_at = {};
  };
  struct Topic {
    bool may_exist = false;
    bool must_exist = false;
  };

  Partition& At(int32_t key) { return partitions_[key]; }
  template <typename... Args>
  void Wrong(fmt::format_string<Args...> format, Args&&... args);
  template <typename... Args>
  void Lost(fmt::format_string<Args...> format, Args&&... args);
  void Note(std::string problem);

  void Invoke(const check::Op& op);
  void Acknowledge(const check::Op& op);
  void SeeGroupPoll(const check::Op& op);
  void SeeCommitted(const check::Op& op);
  void SeeTopics(const check::Op& op);
  void JudgeReading(const check::Op& final);
  void JudgeBounds(int32_t key, const Partition& partition, int64_t start, int64_t end);
  void JudgeOldRecords(int32_t key, const Partition& partition, int64_t start);
  // What the reading found of the records sent since the last one: value -> offset.
  std::map<int64_t, int64_t> JudgeNewRecords(int32_t key, const Partition& partition);
  void JudgeSends(int32_t key, const Partition& partition, int64_t start,
                  const std::map<int64_t, int64_t>& found);

  const check::Names& names_;
  std::map<int32_t, Partition> partitions_;
  std::map<std::pair<std::string, int32_t>, CommittedOffset> committed_;
  std::map<std::string, Topic, std::less<>> topics_;
  std::map<int64_t, std::string> subscribers_;                    // process -> group, of this run
  std::map<std::pair<std::string, int32_t>, int64_t> resume_at_;  // where a lone member must begin
  int64_t reader_ = -1;  // the process whose reading of everything is under way
  Durability durability_ = Durability::kSynced;
  SteadyClock::duration loss_window_{};
  std::optional<SteadyClock::time_point> power_cut_at_;  // since the last reading
  uint64_t lost_ = 0;
  uint64_t wrong_ = 0;
  uint64_t readings_ = 0;
  std::vector<std::string> problems_;
};

}  // namespace millrace::harness
