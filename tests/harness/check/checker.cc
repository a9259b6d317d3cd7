#include "harness/check/checker.h"

#include <algorithm>

#include <fmt/format.h>

namespace millrace::check {
namespace {

bool Writes(OpKind kind) {
  return kind == OpKind::kSend || kind == OpKind::kTxn || kind == OpKind::kCommit;
}

}  // namespace

Checker::Checker(const Names& names, CheckerOptions options) : names_(names), options_(options) {}

bool Checker::Fail(std::string_view what) {
  error_ = fmt::format("line {}: {}", line_, what);
  return false;
}

bool Checker::Add(const Op& op) {
  ++line_;
  if (op.kind == OpKind::kNote) return true;
  if (op.type == OpType::kInvoke) return Invoke(op);
  if (op.type != OpType::kAck) return Complete(op);
  if (op.kind != OpKind::kSend || !pending_.contains(op.process)) {
    return Fail("an ack needs a pending send of the same process");
  }
  for (const Item& item : op.items) records_.Acknowledge(item, line_);
  return true;
}

bool Checker::Invoke(const Op& op) {
  const auto [entry, is_new] = pending_.try_emplace(op.process, Pending{op, line_});
  if (!is_new) return Fail(fmt::format("process {} has an operation pending already", op.process));
  Pending& pending = entry->second;
  if (op.kind == OpKind::kTxn) pending.txn = transactions_.Begin(op, line_);
  if (op.kind == OpKind::kCommitted) registers_.BeginRead(line_);
  ForgetTrimmed(op);
  if (op.kind == OpKind::kCommit || op.kind == OpKind::kTxn) {
    for (const OffsetOf& entry_of : op.offsets) {
      registers_.BeginWrite({op.group, entry_of.key}, entry_of.offset, line_, pending.txn);
    }
  }
  const auto epoch = epochs_.find(op.producer);
  const bool fenced = !op.producer.empty() && epoch != epochs_.end() && op.epoch < epoch->second;
  for (const Item& item : op.items) {
    if (!records_.Send(item, line_, pending.txn, fenced)) {
      return Fail(fmt::format("value {} is sent to {} a second time; values must be unique",
                              item.value, names_.NameOf(item.key)));
    }
  }
  return true;
}

bool Checker::Complete(const Op& op) {
  ++operations_;
  Pending pending;
  pending.line = line_;  // reading ops may come as completions alone
  if (const auto found = pending_.find(op.process); found != pending_.end()) {
    pending = std::move(found->second);
    pending_.erase(found);
    if (pending.invoke.kind != op.kind) return Fail("the pending operation is another one");
  } else if (Writes(op.kind)) {
    return Fail(fmt::format("process {} has no pending operation", op.process));
  }
  CheckTime(op, pending);
  if (op.type == OpType::kOk) ForgetTrimmed(op);
  if (op.kind == OpKind::kCommitted) registers_.EndRead(pending.line);
  if (Writes(op.kind)) {
    if (pending.txn >= 0) transactions_.End(pending.txn, op.type);
    CompleteSends(op, pending);
    CompleteOffsetWrites(op, pending);
  }
  if (op.kind == OpKind::kAssign || op.kind == OpKind::kSubscribe) Assign(op, pending);
  if (op.type != OpType::kOk) return true;  // what a failed read saw proves nothing

  CompleteReads(op, pending);
  CheckWatermarks(op);
  if (op.kind == OpKind::kCommitted) CompleteOffsetReads(op, pending);
  if (op.kind == OpKind::kReplica) CompareReplicas(op);
  if (op.kind == OpKind::kFinal) Final(op);
  for (const OffsetOf& entry : op.offsets) {
    if (op.kind == OpKind::kSeek) {
      processes_[op.process].places[entry.key].last_read = entry.offset - 1;
    }
  }
  if (op.kind == OpKind::kInit) {
    int64_t& epoch = epochs_.try_emplace(op.producer, op.epoch).first->second;
    epoch = std::max(epoch, op.epoch);
  }
  return true;
}

// From the invoke on, the records may be gone.
void Checker::ForgetTrimmed(const Op& op) {
  if (op.kind == OpKind::kTrim) {
    for (const OffsetOf& entry : op.offsets) records_.Trim(entry.key, entry.offset);
  }
  if (op.kind != OpKind::kDeleteTopic) return;
  for (size_t i = 0; i < names_.size(); ++i) {
    const auto key = static_cast<int32_t>(i);
    const std::string_view name = names_.NameOf(key);
    const std::string_view topic = name.substr(0, name.rfind('-'));
    if (std::count(op.topics.begin(), op.topics.end(), topic) == 0) continue;
    records_.Trim(key, std::numeric_limits<int64_t>::max());
  }
}

void Checker::CheckTime(const Op& op, const Pending& pending) {
  if (op.time_ns < 0 || pending.invoke.time_ns < 0) return;
  const int64_t took = op.time_ns - pending.invoke.time_ns;
  if (took <= options_.stuck_after_ns) return;
  report_.Add(Anomaly::kStuck, fmt::format("line {}: process {}: {} took {} ms", line_, op.process,
                                           NameOf(op.kind), took / 1'000'000));
}

void Checker::CompleteSends(const Op& op, const Pending& pending) {
  for (const Step& step : op.steps) {
    if (!step.is_send) continue;
    const Item& item = op.items[step.first];
    // Records that are sent one by one are acknowledged one by one: of a send that nobody knows the
    // end of, those with an offset are. A transaction counts as a whole.
    const bool acknowledged =
        op.type == OpType::kOk ||
        (op.type == OpType::kInfo && op.kind == OpKind::kSend && item.offset >= 0);
    if (acknowledged) records_.Acknowledge(item, line_);
  }
  const Fate fate = op.type == OpType::kFail ? Fate::kFailed : Fate::kUnknown;
  for (const Item& item : pending.invoke.items) {
    records_.Settle(item.key, item.value, fate, line_);
  }
  if (op.type != OpType::kFail) CheckSendOrder(op);
}

void Checker::CheckSendOrder(const Op& op) {
  Process& process = processes_[op.process];
  for (const Step& step : op.steps) {
    if (!step.is_send) continue;
    const Item& item = op.items[step.first];
    Place& place = process.places[item.key];
    const Anomaly anomaly =
        place.sent_line == line_ ? Anomaly::kIntNonmonotonicSend : Anomaly::kNonmonotonicSend;
    const bool both_known = op.type == OpType::kOk && item.offset >= 0 && place.sent_offset >= 0;
    if (place.sent_line != 0 && both_known && item.offset <= place.sent_offset) {
      report_.Add(anomaly,
                  fmt::format("line {}: {}: value {} at offset {} was sent after value {} at {}",
                              line_, names_.NameOf(item.key), item.value, item.offset,
                              place.sent_value, place.sent_offset));
    } else if (place.sent_line != 0 && !both_known) {
      send_pairs_.push_back({item.key, place.sent_value, item.value, line_, anomaly});
    }
    place.sent_offset = op.type == OpType::kOk ? item.offset : kUnknown;
    place.sent_value = item.value;
    place.sent_line = line_;
  }
}

void Checker::CompleteReads(const Op& op, const Pending& pending) {
  if (op.kind != OpKind::kPoll && op.kind != OpKind::kTxn) return;
  Process& process = processes_[op.process];
  for (const Step& step : op.steps) {
    if (step.is_send) continue;
    for (uint32_t i = step.first; i < step.first + step.count; ++i) {
      const Item& item = op.items[i];
      CheckReadOrder(op, item, process);
      const int32_t writer = records_.Read(item, line_).txn;
      if (writer < 0) continue;
      SawTransaction(writer);
      if (pending.txn < 0) continue;
      if (writer == pending.txn) {
        report_.Add(Anomaly::kPrecommittedRead,
                    fmt::format("line {}: the transaction read its own value {} from {}", line_,
                                item.value, names_.NameOf(item.key)));
      } else {
        transactions_.AddRead(pending.txn, writer);
      }
    }
  }
}

void Checker::CheckReadOrder(const Op& op, const Item& item, Process& process) {
  Place& place = process.places[item.key];
  const bool inside = place.read_line == line_;
  const int64_t last = std::exchange(place.last_read, item.offset);
  place.read_line = line_;
  // After a rebalance a partition may begin anywhere; between the polls of a subscriber there may
  // always have been one.
  const bool rebalanced = std::count(op.rebalanced.begin(), op.rebalanced.end(), item.key) > 0;
  if (last == kUnknown || rebalanced || (!inside && process.subscribed)) return;
  if (item.offset <= last) {
    report_.Add(inside ? Anomaly::kIntNonmonotonicPoll : Anomaly::kNonmonotonicPoll,
                fmt::format("line {}: process {}, {}: offset {} came after offset {}", line_,
                            op.process, names_.NameOf(item.key), item.offset, last));
  } else if (item.offset > last + 1) {
    records_.AddGap(item.key, last, item.offset,
                    inside ? Anomaly::kIntPollSkip : Anomaly::kPollSkip, line_);
  }
}

// A visible transaction has committed, and so have its offsets.
void Checker::SawTransaction(int32_t txn) {
  if (!transactions_.MarkVisible(txn) || transactions_.type(txn) != OpType::kInfo) return;
  const Op& op = transactions_.op(txn);
  for (const OffsetOf& entry : op.offsets) {
    registers_.TookEffect({op.group, entry.key}, txn, line_);
  }
}

void Checker::CompleteOffsetWrites(const Op& op, const Pending& pending) {
  for (const OffsetOf& entry : pending.invoke.offsets) {
    const OffsetRegisters::Key key{pending.invoke.group, entry.key};
    if (op.type == OpType::kOk) registers_.WriteSucceeded(key, pending.line, line_);
    if (op.type == OpType::kFail) registers_.WriteFailed(key, pending.line);
    if (op.type == OpType::kInfo && op.crashed) registers_.WriterIsGone(key, pending.line, line_);
  }
}

void Checker::CompleteOffsetReads(const Op& op, const Pending& pending) {
  for (const OffsetOf& entry : op.offsets) {
    const auto verdict =
        registers_.CheckRead({op.group, entry.key}, entry.offset, pending.line, line_);
    if (verdict.seen_txn >= 0) SawTransaction(verdict.seen_txn);
    if (verdict.legal) continue;
    std::string what =
        fmt::format("line {}: group {}, {}: offset {} is committed, but line {} had committed {}",
                    line_, op.group, names_.NameOf(entry.key), entry.offset, verdict.replaced_line,
                    verdict.replaced_by);
    const int32_t txn = verdict.replaced_txn;
    if (txn >= 0 && !transactions_.op(txn).items.empty()) {
      transactions_.MarkOffsetMissing(txn, std::move(what));
    } else {
      report_.Add(Anomaly::kCommitRevert, std::move(what));
    }
  }
}

void Checker::Assign(const Op& op, const Pending& pending) {
  if (op.type == OpType::kFail) return;
  Process& process = processes_[op.process];
  process.subscribed = op.kind == OpKind::kSubscribe;
  process.assigned_line = pending.line;
  process.known_ends.clear();
  absl::flat_hash_map<int32_t, Place> before = std::move(process.places);
  process.places.clear();
  for (auto& [key, place] : before) {
    const auto is_key = [key = key](const OffsetOf& entry) { return entry.key == key; };
    const bool kept = op.type == OpType::kOk && op.kind == OpKind::kAssign &&
                      std::any_of(op.offsets.begin(), op.offsets.end(), is_key);
    if (!kept) place.last_read = kUnknown;
    process.places[key] = place;
  }
  if (op.kind != OpKind::kAssign) return;
  for (const OffsetOf& entry : op.offsets) {
    process.known_ends.push_back({entry.key, records_.KnownEnd(entry.key)});
  }
  for (const OffsetOf& entry : op.seeks) process.places[entry.key].last_read = entry.offset - 1;
}

void Checker::Final(const Op& op) {
  const Process& process = processes_[op.process];
  for (const OffsetOf& end : op.offsets) {
    for (const OffsetOf& known : process.known_ends) {
      if (known.key != end.key) continue;
      records_.AddFinal(end.key, end.offset, process.assigned_line, known.offset);
    }
  }
}

void Checker::CompareReplicas(const Op& op) {
  for (size_t first = 0; first < op.items.size();) {
    size_t end = first;
    while (end < op.items.size() && op.items[end].key == op.items[first].key) ++end;
    const int32_t key = op.items[first].key;
    const std::string difference =
        replicas_.Compare(key, op.node, std::span(op.items).subspan(first, end - first));
    if (!difference.empty()) {
      report_.Add(Anomaly::kReplicaDivergence,
                  fmt::format("line {}: {}: {}", line_, names_.NameOf(key), difference));
    }
    first = end;
  }
}

void Checker::CheckWatermarks(const Op& op) {
  if (op.high_watermarks.empty() && op.last_stable_offsets.empty()) return;
  auto& places = processes_[op.process].places;
  const auto check = [&](int32_t key, int64_t now, int64_t& before, Anomaly anomaly) {
    if (now < before) {
      report_.Add(anomaly, fmt::format("line {}: process {}, {}: from {} back to {}", line_,
                                       op.process, names_.NameOf(key), before, now));
    }
    before = now;
  };
  for (const auto& [key, offset] : op.high_watermarks) {
    check(key, offset, places[key].high_watermark, Anomaly::kHwRegress);
  }
  for (const auto& [key, offset] : op.last_stable_offsets) {
    check(key, offset, places[key].last_stable_offset, Anomaly::kLsoRegress);
  }
}

void Checker::Finish() {
  for (const SendPair& pair : send_pairs_) {
    const Record* first = records_.Find(pair.key, pair.first);
    const Record* second = records_.Find(pair.key, pair.second);
    if (first->offset < 0 || second->offset < 0 || first->offset < second->offset) continue;
    report_.Add(pair.anomaly,
                fmt::format("line {}: {}: value {} at offset {} was sent after value {} at {}",
                            pair.line, names_.NameOf(pair.key), pair.second, second->offset,
                            pair.first, first->offset));
  }
  for (const auto& [process, pending] : pending_) {
    report_.Add(Anomaly::kStuck, fmt::format("line {}: process {}: the {} never ended",
                                             pending.line, process, NameOf(pending.invoke.kind)));
  }
  records_.Finish();
  transactions_.Finish();
}

}  // namespace millrace::check
