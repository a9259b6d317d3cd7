#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "harness/check/history.h"
#include "harness/check/report.h"

namespace millrace::check {

enum class Fate : uint8_t { kNeverSent, kPending, kAcknowledged, kFailed, kUnknown };

// What the history has told about one record so far.
struct Record {
  int64_t offset = -1;        // unknown
  uint64_t hash = 0;          // not given
  uint64_t sent_line = 0;     // where it was invoked
  uint64_t settled_line = 0;  // and where that ended, or the record was acknowledged
  int32_t txn = -1;           // part of this transaction, if of any
  Fate fate = Fate::kNeverSent;
  bool fenced = false;  // its producer had been fenced before the send began
  bool read = false;
  bool reported = false;  // one report a record is enough
};

// All records of all partitions, and what must hold between those that were sent and those that
// were read. Memory and time are linear in the number of records.
class Records {
 public:
  // Borrows both for its whole life.
  Records(const Names& names, Report& report) : names_(names), report_(report) {}

  // False: this partition has a record of that value already, so the history cannot be checked.
  bool Send(const Item& item, uint64_t line, int32_t txn, bool fenced);
  void Acknowledge(const Item& item, uint64_t line);
  // How the send ended for one that was not acknowledged.
  void Settle(int32_t key, int64_t value, Fate fate, uint64_t line);
  const Record& Read(const Item& item, uint64_t line);

  // A reader went from offset `from` to `to` > from + 1; whether it left out a record shows later.
  void AddGap(int32_t key, int64_t from, int64_t to, Anomaly anomaly, uint64_t line);
  void Trim(int32_t key, int64_t log_start);
  // From line `began` on, somebody has read the whole log, and it ended at `end`; before that line
  // the log was known to reach to `known_end`.
  void AddFinal(int32_t key, int64_t end, uint64_t began, int64_t known_end);
  int64_t KnownEnd(int32_t key);  // one past the highest offset acknowledged or read

  const Record* Find(int32_t key, int64_t value) const;
  // Readers went past this record, or read the whole log after it was sent, and did not find it.
  bool IsMissing(int32_t key, const Record& record) const;

  void Finish();  // what only the end of the history shows

 private:
  struct Gap {
    int64_t from;
    int64_t to;
    uint64_t line;
    Anomaly anomaly;
  };
  struct Partition {
    absl::flat_hash_map<int64_t, Record> by_value;
    absl::flat_hash_map<int64_t, int64_t> value_at;  // offset -> the value first seen there
    std::vector<Gap> gaps;
    int64_t log_start = 0;
    int64_t max_read = -1;
    int64_t max_known = -1;
    uint64_t whole_log_read_from = 0;  // the latest AddFinal
  };

  Partition& At(int32_t key);
  void Place(Partition& partition, Record& record, const Item& item, uint64_t line);
  void CompareHash(Record& record, const Item& item, uint64_t line);
  void ReportOnce(Record& record, Anomaly anomaly, const Item& item, uint64_t line,
                  std::string_view what);
  void CheckGaps(int32_t key, const Partition& partition);
  void CheckUnread(int32_t key, const Partition& partition);

  const Names& names_;
  Report& report_;
  std::vector<Partition> partitions_;
};

}  // namespace millrace::check
