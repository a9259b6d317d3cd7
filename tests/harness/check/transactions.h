#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "harness/check/offset_registers.h"
#include "harness/check/records.h"

namespace millrace::check {

// The transactions of a history: all or nothing of each must be visible (torn-txn), none may read
// its own records (precommitted-read), and no circle of them may read from each other (G1c).
class Transactions {
 public:
  // Borrows all three for its whole life.
  Transactions(const Names& names, Records& records, Report& report)
      : names_(names), records_(records), report_(report) {}

  int32_t Begin(const Op& invoke, uint64_t line);  // the number of the new transaction
  void End(int32_t txn, OpType type);
  // A completed transaction has read a record. Both are numbers as given by Begin.
  void AddRead(int32_t reader, int32_t writer);
  // Somebody saw an effect of it: a record or an offset. True the first time.
  bool MarkVisible(int32_t txn);
  // An offset that it must have committed was missing when the group's offsets were read.
  void MarkOffsetMissing(int32_t txn, std::string what);

  const Op& op(int32_t txn) const { return transactions_[static_cast<size_t>(txn)].op; }
  OpType type(int32_t txn) const { return transactions_[static_cast<size_t>(txn)].type; }

  void Finish();

 private:
  struct Transaction {
    Op op;  // the invoke, without its polls
    uint64_t line = 0;
    OpType type = OpType::kInvoke;  // how it ended
    bool visible = false;
    std::string missing_offset = {};
    std::vector<int32_t> reads_from = {};
  };
  void CheckTorn(const Transaction& txn);
  void CheckCircles();

  const Names& names_;
  Records& records_;
  Report& report_;
  std::vector<Transaction> transactions_;
};

}  // namespace millrace::check
