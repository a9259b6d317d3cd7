#pragma once

#include <atomic>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "harness/check/history.h"
#include "millrace/record.h"
#include "millrace/topic_partition.h"

namespace millrace::harness {

// Writes what this process does as lines of a history to its standard output, where the harness
// reads them. A line that was written counts even if this process dies the next moment.
// Thread-safe.
class HistoryPipe {
 public:
  explicit HistoryPipe(int64_t first_process) : next_process_(first_process) {}

  // Each thread that does something is a process of the history.
  int64_t NewProcess() { return next_process_.fetch_add(1); }
  int32_t KeyOf(std::string_view topic, int32_t partition);
  int32_t KeyOf(const TopicPartition& tp) { return KeyOf(tp.topic, tp.partition); }

  void Write(const check::Op& op);
  void Remark(std::string_view text);
  // Something that must never happen did: the harness counts it.
  void Wrong(std::string_view text);

  // The records of a poll, without its process.
  check::Op ToOp(const RecordBatch& batch);
  std::vector<check::OffsetOf> ToOffsets(const OffsetMap& offsets);

 private:
  std::atomic<int64_t> next_process_;
  Mutex mu_;
  check::Names names_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::harness
