#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "env/split_mix.h"
#include "log/log_fixture.h"
#include "millrace/testing/simulated_disk.h"

namespace millrace::log {

// What was asked of one log and what it answered: so much may be believed of its disk afterwards.
struct Journal {
  struct Batch {
    std::vector<std::string> values;
    int64_t producer_id = -1;
    int16_t producer_epoch = -1;
    int32_t sequence = -1;
    bool answered = false;  // Append said OK
    int64_t timestamp_ms = kT0;
    int32_t epoch = 0;
  };
  // By base offset. The last answered one is what the log holds; the others may be there after a
  // cut as long as nothing at that offset was acknowledged.
  std::map<Offset, std::vector<Batch>> batches;
  Offset acknowledged = 0;        // SyncTo said OK up to here
  Offset start_acknowledged = 0;  // the log start is at least here
  Offset start_asked = 0;         // and at most here
  int32_t epoch = 0;              // of the next append
  bool may_be_clean = true;       // a close was tried since the last open
  int32_t epoch_used = -1;        // of one that was answered
};

// What a checker found. `lost`: acknowledged records are gone; otherwise something wrong is there.
struct Finding {
  bool lost = false;
  std::string what;
  bool ok() const { return what.empty(); }
};

// Runs a workload against one log and keeps the journal. A step that fails returns false; a
// workload stops there when the disk is frozen, and goes on otherwise.
class LogDriver {
 public:
  LogDriver(FileSystem& files, const LogConfig& config, uint64_t seed, std::string path = "data");

  bool Open();
  bool Close();
  bool Kill();  // and open again
  bool Append(size_t records = 1, size_t value_bytes = 0);
  bool AppendLike(const Journal::Batch& batch);              // the same values, so of the same size
  bool AppendFrom(int64_t producer_id, size_t records = 1);  // idempotent, with its next sequence
  bool Sync();
  bool Roll();
  bool DeleteBefore(Offset offset);
  bool Retain(absl::Duration age);
  bool WriteMarks();
  bool Scrub();
  bool ReleaseIdle();
  // Reads all, and finds each batch by its time. A call may fail; what it answers must be right.
  void Read();
  // Opens the log once more, for reading, beside this one, and reads all that it shows.
  void OpenBeside();
  // Everything that is acknowledged can be read, here and now; a message when it cannot.
  std::string CheckLive();

  OneLog& log() { return log_; }
  Journal& journal() { return journal_; }
  SplitMix64& random() { return random_; }
  void NumberFrom(int value) { next_value_ = value; }
  const Status& last_error() const { return last_error_; }
  // The first answer that was wrong.
  const Finding& wrong() const { return wrong_; }

 private:
  bool Ok(const Status& status);
  std::vector<std::string> NewValues(size_t records, size_t value_bytes);
  bool AppendBatch(Journal::Batch batch);

  OneLog log_;
  Journal journal_;
  SplitMix64 random_;
  int next_value_ = 0;
  std::map<int64_t, int32_t> sequences_;
  Status last_error_;
  Finding wrong_;
};

struct CheckOptions {
  // The disk itself was at fault: what was not acknowledged may be reported as damage.
  bool damage_allowed = false;
  uint64_t seed = 1;
};

// Opens the log as its next user would and compares all of it with the journal.
Finding OpenAndCheck(OneLog& log, const Journal& journal, const CheckOptions& options);
// The same; then appends, syncs, cuts the power again and compares once more.
Finding CheckDisk(std::shared_ptr<testing::SimulatedDisk> disk, const LogConfig& config,
                  Journal journal, const CheckOptions& options);

struct Workload {
  std::string name;
  LogConfig config;
  std::function<void(LogDriver&)> run;
};
const std::vector<Workload>& AllWorkloads();

// The log's contents against the journal. Damaged ranges that the log reports are skipped where
// `damage_allowed` says so; `unreadable` counts the offsets in them.
Finding CheckContents(PartitionLog& log, const Journal& journal, bool damage_allowed,
                      int64_t* unreadable = nullptr);
// What the log answers where any call may fail: errors are welcome, wrong answers are not.
Finding CheckAnswers(PartitionLog& log, const Journal& journal);
Finding CheckProducers(PartitionLog& log);
// Each batch is found by its time.
Finding CheckTimes(PartitionLog& log, const Journal& journal);

struct Totals {
  uint64_t checked = 0, lost = 0, wrong = 0;
  std::string first;  // the first findings
  void Count(const Finding& finding, const std::string& where);
  void Print(std::string_view harness) const;  // "harness=... checked=... lost=... wrong=..."
};
uint64_t FromEnvironment(const char* name, uint64_t otherwise);

}  // namespace millrace::log
