#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace millrace::check {

// The committed offset of each (group, partition), checked as a linearizable register: a read may
// return what a write put there unless another write, begun after that one had ended, was over
// before the read began. Time is the line number of the history. For writes that overlap any order
// is taken as possible, so some reorderings among those are not reported; nothing legal ever is.
class OffsetRegisters {
 public:
  using Key = std::pair<std::string, int32_t>;  // group, partition
  static constexpr int64_t kNone = -1;          // nothing is committed

  // `txn`: the transaction that commits, or -1.
  void BeginWrite(const Key& key, int64_t offset, uint64_t line, int32_t txn);
  void WriteSucceeded(const Key& key, uint64_t begun, uint64_t now);
  void WriteFailed(const Key& key, uint64_t begun);
  // An effect of this transaction was seen, so its write has happened, however it ended.
  void TookEffect(const Key& key, int32_t txn, uint64_t now);
  // Nobody knows whether the write happened; since its process is gone it does not happen later.
  void WriterIsGone(const Key& key, uint64_t begun, uint64_t now);

  void BeginRead(uint64_t line) { reads_.insert(line); }
  void EndRead(uint64_t line) { reads_.erase(line); }

  struct Verdict {
    bool legal = true;
    int32_t seen_txn = -1;        // the transaction that alone can have written what was read
    int64_t replaced_by = kNone;  // if illegal: the newest write that was over, and who wrote it
    uint64_t replaced_line = 0;
    int32_t replaced_txn = -1;
  };
  // `begun`: when the read began, as given to BeginRead.
  Verdict CheckRead(const Key& key, int64_t offset, uint64_t begun, uint64_t now);

 private:
  static constexpr uint64_t kNever = ~uint64_t{0};
  struct Write {
    int64_t offset = kNone;
    uint64_t begun = 0;
    uint64_t ended = kNever;
    uint64_t replaced = kNever;  // from then on no read that begins may return it
    int32_t txn = -1;
  };
  struct Register {
    std::vector<Write> writes = {{.ended = 0}};  // at first nothing is committed
    Write newest = writes.front();               // of those that took effect for certain
  };

  void TakeEffect(Register& reg, size_t index, uint64_t now);
  void Forget(Register& reg);

  std::map<Key, Register> registers_;
  std::multiset<uint64_t> reads_;  // when the pending ones began
};

}  // namespace millrace::check
