#include "harness/check/records.h"

#include <algorithm>

#include <fmt/format.h>

namespace millrace::check {

Records::Partition& Records::At(int32_t key) {
  const auto index = static_cast<size_t>(key);
  if (index >= partitions_.size()) partitions_.resize(index + 1);
  return partitions_[index];
}

bool Records::Send(const Item& item, uint64_t line, int32_t txn, bool fenced) {
  Record& record = At(item.key).by_value[item.value];
  if (record.fate != Fate::kNeverSent) return false;
  record.fate = Fate::kPending;
  record.hash = item.hash;
  record.sent_line = line;
  record.txn = txn;
  record.fenced = fenced;
  return true;
}

void Records::ReportOnce(Record& record, Anomaly anomaly, const Item& item, uint64_t line,
                         std::string_view what) {
  if (record.reported) return;
  record.reported = true;
  report_.Add(anomaly, fmt::format("line {}: {}, offset {}, value {}: {}", line,
                                   names_.NameOf(item.key), item.offset, item.value, what));
}

void Records::CompareHash(Record& record, const Item& item, uint64_t line) {
  if (item.hash == 0) return;
  if (record.hash == 0) record.hash = item.hash;
  if (record.hash != item.hash) {
    ReportOnce(record, Anomaly::kValueMutated, item, line,
               fmt::format("its hash is {:#x}, but was {:#x}", item.hash, record.hash));
  }
}

void Records::Place(Partition& partition, Record& record, const Item& item, uint64_t line) {
  if (item.offset < 0) return;
  partition.max_known = std::max(partition.max_known, item.offset);
  if (record.offset < 0) record.offset = item.offset;
  if (record.offset != item.offset) {
    ReportOnce(record, Anomaly::kDuplicate, item, line,
               fmt::format("it lies at offset {} too", record.offset));
  }
  const int64_t first = partition.value_at.try_emplace(item.offset, item.value).first->second;
  if (first != item.value) {
    ReportOnce(record, Anomaly::kInconsistentOffsets, item, line,
               fmt::format("value {} was seen there before", first));
  }
}

void Records::Acknowledge(const Item& item, uint64_t line) {
  Partition& partition = At(item.key);
  Record& record = partition.by_value[item.value];
  record.fate = Fate::kAcknowledged;
  if (record.settled_line == 0) record.settled_line = line;
  CompareHash(record, item, line);
  Place(partition, record, item, line);
  if (record.fenced) {
    ReportOnce(record, Anomaly::kZombieWrite, item, line,
               "it was acknowledged to a producer that had been fenced before it sent");
  }
}

void Records::Settle(int32_t key, int64_t value, Fate fate, uint64_t line) {
  Record& record = At(key).by_value[value];
  if (record.fate == Fate::kAcknowledged) return;
  record.fate = fate;
  record.settled_line = line;
  if (fate == Fate::kFailed && record.read) {
    ReportOnce(record, Anomaly::kG1a, {key, record.offset, value}, line,
               "it was read, and now its send failed");
  }
}

const Record& Records::Read(const Item& item, uint64_t line) {
  Partition& partition = At(item.key);
  Record& record = partition.by_value[item.value];
  record.read = true;
  partition.max_read = std::max(partition.max_read, item.offset);
  CompareHash(record, item, line);
  Place(partition, record, item, line);
  if (record.fate == Fate::kFailed) {
    ReportOnce(record, Anomaly::kG1a, item, line, "it was read, but its send had failed");
  } else if (record.fate == Fate::kNeverSent) {
    ReportOnce(record, Anomaly::kValueMutated, item, line, "nobody has sent such a record");
  } else if (record.fenced) {
    ReportOnce(record, Anomaly::kZombieWrite, item, line,
               "it was read, but its producer had been fenced before it sent");
  }
  return record;
}

void Records::AddGap(int32_t key, int64_t from, int64_t to, Anomaly anomaly, uint64_t line) {
  At(key).gaps.push_back({from, to, line, anomaly});
}

void Records::Trim(int32_t key, int64_t log_start) {
  Partition& partition = At(key);
  partition.log_start = std::max(partition.log_start, log_start);
}

int64_t Records::KnownEnd(int32_t key) { return At(key).max_known + 1; }

void Records::AddFinal(int32_t key, int64_t end, uint64_t began, int64_t known_end) {
  Partition& partition = At(key);
  partition.whole_log_read_from = std::max(partition.whole_log_read_from, began);
  if (end < known_end) {
    report_.Add(Anomaly::kLostWrite,
                fmt::format("{}: the log ends at offset {}, but before line {} it reached to {}",
                            names_.NameOf(key), end, began, known_end));
  }
}

const Record* Records::Find(int32_t key, int64_t value) const {
  const auto index = static_cast<size_t>(key);
  if (index >= partitions_.size()) return nullptr;
  const auto found = partitions_[index].by_value.find(value);
  return found == partitions_[index].by_value.end() ? nullptr : &found->second;
}

bool Records::IsMissing(int32_t key, const Record& record) const {
  const Partition& partition = partitions_[static_cast<size_t>(key)];
  if (record.read) return false;
  if (record.settled_line != 0 && record.settled_line < partition.whole_log_read_from) {
    // Where offsets are unknown, the record may have been among those that retention took.
    return record.offset >= partition.log_start || (record.offset < 0 && partition.log_start == 0);
  }
  return record.offset >= partition.log_start && record.offset < partition.max_read;
}

void Records::CheckGaps(int32_t key, const Partition& partition) {
  if (partition.gaps.empty()) return;
  // A gap matters if a record is known to lie in it. Those that nobody read are lost writes, and
  // are reported as that; gaps without any are control batches and the work of compaction.
  std::vector<int64_t> offsets;
  for (const auto& [value, record] : partition.by_value) {
    if (record.read && record.offset >= partition.log_start) offsets.push_back(record.offset);
  }
  std::sort(offsets.begin(), offsets.end());
  for (const Gap& gap : partition.gaps) {
    const auto skipped = std::upper_bound(offsets.begin(), offsets.end(), gap.from);
    if (skipped == offsets.end() || *skipped >= gap.to) continue;
    report_.Add(gap.anomaly,
                fmt::format("line {}: {}: from offset {} to {}, but there is a record at {}",
                            gap.line, names_.NameOf(key), gap.from, gap.to, *skipped));
  }
}

void Records::CheckUnread(int32_t key, const Partition& partition) {
  for (const auto& [value, record] : partition.by_value) {
    if (record.read || record.fate != Fate::kAcknowledged) continue;
    if (partition.log_start > 0 && record.offset < partition.log_start) continue;
    const bool missing = IsMissing(key, record);
    if (missing && record.txn >= 0) continue;  // Transactions::Finish knows which anomaly it is
    report_.Add(missing ? Anomaly::kLostWrite : Anomaly::kUnseen,
                fmt::format("{}, offset {}, value {}: sent in line {} and acknowledged in line {}",
                            names_.NameOf(key), record.offset, value, record.sent_line,
                            record.settled_line));
  }
}

void Records::Finish() {
  for (size_t i = 0; i < partitions_.size(); ++i) {
    CheckGaps(static_cast<int32_t>(i), partitions_[i]);
    CheckUnread(static_cast<int32_t>(i), partitions_[i]);
  }
}

}  // namespace millrace::check
