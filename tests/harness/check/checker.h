#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "harness/check/history.h"
#include "harness/check/offset_registers.h"
#include "harness/check/records.h"
#include "harness/check/replicas.h"
#include "harness/check/report.h"
#include "harness/check/transactions.h"

namespace millrace::check {

struct CheckerOptions {
  // An operation that takes longer is stuck. Only histories with times can show it.
  int64_t stuck_after_ns = std::numeric_limits<int64_t>::max();
};

// Reads a history op by op and reports its anomalies (report.h). Time is linear in the history;
// memory holds what is known of each record, and no more of the ops than those that are pending
// and the sends of transactions.
class Checker {
 public:
  // Borrows `names`, which the ops were parsed with, for its whole life.
  explicit Checker(const Names& names, CheckerOptions options = {});

  // False: this is no history that could be checked, and error() says why.
  bool Add(const Op& op);
  void Finish();

  const Report& report() const { return report_; }
  const std::string& error() const { return error_; }
  uint64_t operations() const { return operations_; }  // completed ones

 private:
  static constexpr int64_t kUnknown = -2;  // -1 is the place before the first offset

  // What one process last did in one partition.
  struct Place {
    int64_t last_read = kUnknown;
    uint64_t read_line = 0;
    int64_t sent_offset = kUnknown;
    int64_t sent_value = 0;
    uint64_t sent_line = 0;  // 0: nothing was sent
    int64_t high_watermark = -1;
    int64_t last_stable_offset = -1;
  };
  struct Process {
    bool subscribed = false;  // then partitions come and go, and only single ops can be judged
    uint64_t assigned_line = 0;
    std::vector<OffsetOf> known_ends;  // of the assigned partitions, when that began
    absl::flat_hash_map<int32_t, Place> places;
  };
  struct Pending {
    Op invoke;
    uint64_t line = 0;
    int32_t txn = -1;
  };
  struct SendPair {  // sent one after the other; where they landed is known at the end
    int32_t key;
    int64_t first;
    int64_t second;
    uint64_t line;
    Anomaly anomaly;
  };

  bool Invoke(const Op& op);
  bool Complete(const Op& op);
  bool Fail(std::string_view what);

  void ForgetTrimmed(const Op& op);
  void CompleteSends(const Op& op, const Pending& pending);
  void CheckSendOrder(const Op& op);
  void CompleteReads(const Op& op, const Pending& pending);
  void CheckReadOrder(const Op& op, const Item& item, Process& process);
  void CompleteOffsetWrites(const Op& op, const Pending& pending);
  void CompleteOffsetReads(const Op& op, const Pending& pending);
  void SawTransaction(int32_t txn);
  void Assign(const Op& op, const Pending& pending);
  void Final(const Op& op);
  void CompareReplicas(const Op& op);
  void CheckWatermarks(const Op& op);
  void CheckTime(const Op& op, const Pending& pending);

  const Names& names_;
  const CheckerOptions options_;
  Report report_;
  Records records_{names_, report_};
  Transactions transactions_{names_, records_, report_};
  OffsetRegisters registers_;
  Replicas replicas_;
  absl::flat_hash_map<int64_t, Process> processes_;
  std::map<int64_t, Pending> pending_;                // by process
  absl::flat_hash_map<std::string, int64_t> epochs_;  // of each producer, the newest
  std::vector<SendPair> send_pairs_;
  std::string error_;
  uint64_t line_ = 0;
  uint64_t operations_ = 0;
};

}  // namespace millrace::check
