#include "harness/self_test/planters.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "harness/support/rng.h"

namespace millrace::check {
namespace {

using harness::Rng;

constexpr size_t kNowhere = ~size_t{0};

bool IsOk(const Op& op, OpKind kind) { return op.type == OpType::kOk && op.kind == kind; }

// Where a random search over the ops finds what it looks for first. It starts in the middle half,
// where every client is at work.
size_t FindOp(const History& history, uint64_t seed, const std::function<bool(size_t)>& wanted) {
  const size_t count = history.ops.size();
  const size_t start = count / 4 + Rng(seed).Below(count / 2);
  for (size_t n = 0; n < count; ++n) {
    const size_t i = (start + n) % count;
    if (wanted(i)) return i;
  }
  return kNowhere;
}

size_t InvokeOf(const History& history, size_t completion) {
  size_t i = completion;
  do {
    if (i-- == 0) return kNowhere;
  } while (history.ops[i].process != history.ops[completion].process ||
           history.ops[i].type != OpType::kInvoke);
  return i;
}

bool WasAckedEarly(const History& history, size_t completion) {
  return history.ops[completion - 1].type == OpType::kAck;
}

// The records of one partition within one poll, as places in Op::items.
struct Run {
  uint32_t first = 0;
  uint32_t count = 0;
};
Run LongestRun(const Op& op) {
  Run best, run;
  for (const Step& step : op.steps) {
    for (uint32_t i = step.first; !step.is_send && i < step.first + step.count; ++i) {
      const bool same = i > step.first && op.items[i].key == op.items[i - 1].key;
      run = same ? Run{run.first, run.count + 1} : Run{i, 1};
      if (run.count > best.count) best = run;
    }
  }
  return best;
}

// Polls here have one step, and no sends.
void EraseItem(Op& op, uint32_t index) {
  op.items.erase(op.items.begin() + index);
  --op.steps[0].count;
}
void InsertItem(Op& op, uint32_t index, Item item) {
  op.items.insert(op.items.begin() + index, item);
  ++op.steps[0].count;
}

// Nobody reads this record any more.
void EraseReads(History& history, const Item& erased) {
  const auto is_erased = [&](const Item& item) {
    return item.key == erased.key && item.value == erased.value;
  };
  for (Op& op : history.ops) {
    if (op.kind != OpKind::kPoll && op.kind != OpKind::kReplica && op.kind != OpKind::kTxn) {
      continue;
    }
    for (Step& step : op.steps) {
      if (step.is_send) continue;
      for (uint32_t i = step.first + step.count; i-- > step.first;) {
        if (!is_erased(op.items[i])) continue;
        op.items.erase(op.items.begin() + i);
        --step.count;
        for (Step& later : op.steps) later.first -= later.first > i ? 1 : 0;
      }
    }
  }
}

bool IsLastOfItsPartition(const History& history, const Item& wanted) {
  for (const Op& op : history.ops) {
    if (op.kind != OpKind::kPoll) continue;
    for (const Item& item : op.items) {
      if (item.key == wanted.key && item.offset > wanted.offset) return false;
    }
  }
  return true;
}

// A poll of a client that assigns: those are judged across ops.
bool IsAssignedPoll(const Op& op) {
  return IsOk(op, OpKind::kPoll) && op.process >= kFirstReader && op.process < kEndReader;
}

bool PlantLostWrite(History& history, uint64_t seed) {
  const size_t i = FindOp(history, seed, [&](size_t n) {
    const Op& op = history.ops[n];
    return IsOk(op, OpKind::kSend) && !IsLastOfItsPartition(history, op.items[0]);
  });
  if (i == kNowhere) return false;
  EraseReads(history, Item(history.ops[i].items[0]));
  return true;
}

bool PlantLostTail(History& history, uint64_t /*seed*/) {
  Op& final = *std::find_if(history.ops.begin(), history.ops.end(),
                            [](const Op& op) { return IsOk(op, OpKind::kFinal); });
  // Others had read to the end of the log before.
  final.offsets[0].offset -= 1;
  return true;
}

bool PlantAbortedRead(History& history, uint64_t seed) {
  const size_t i = FindOp(history, seed, [&](size_t n) {
    return IsOk(history.ops[n], OpKind::kSend) && !WasAckedEarly(history, n);
  });
  if (i == kNowhere) return false;
  history.ops[i].type = OpType::kFail;
  for (Item& item : history.ops[i].items) item.offset = -1;
  return true;
}

// The value of a send that nobody knows the end of, and that was read by somebody or by nobody.
std::optional<Item> UnknownSend(const History& history, int32_t key, bool read) {
  std::vector<Item> candidates;
  for (const Op& op : history.ops) {
    if (op.type != OpType::kInfo || op.kind != OpKind::kSend) continue;
    for (const Item& item : op.items) {
      if (item.key == key) candidates.push_back(item);
    }
  }
  for (const Op& op : history.ops) {
    if (op.kind != OpKind::kPoll) continue;
    for (const Item& item : op.items) {
      for (const Item& candidate : candidates) {
        if (item.key == key && item.value == candidate.value && read) return item;
      }
      std::erase_if(candidates, [&](const Item& candidate) {
        return item.key == key && candidate.value == item.value;
      });
    }
  }
  if (read || candidates.empty()) return std::nullopt;
  return candidates.front();
}

// Where a record lies that nobody answers for, all see another one a second time.
bool PlantDuplicate(History& history, uint64_t seed) {
  const std::optional<Item> unknown = UnknownSend(history, 0, /*read=*/true);
  const size_t i = FindOp(history, seed, [&](size_t n) {
    const Op& op = history.ops[n];
    return IsOk(op, OpKind::kSend) && op.items[0].key == 0 && n < history.ops.size() / 4;
  });
  if (i == kNowhere || !unknown) return false;
  const Item twice = history.ops[i].items[0];
  for (Op& op : history.ops) {
    if (op.kind == OpKind::kSend) continue;
    for (Item& item : op.items) {
      if (item.key != 0 || item.value != unknown->value) continue;
      item.value = twice.value;
      item.hash = twice.hash;
    }
  }
  // Who read the second copy must not have done so before the first was sent.
  return unknown->offset > twice.offset;
}

bool PlantInconsistentOffsets(History& history, uint64_t seed) {
  const std::optional<Item> unread = UnknownSend(history, 0, /*read=*/false);
  // Only after it was sent can it be seen.
  const size_t i = FindOp(history, seed, [&](size_t n) {
    const Op& op = history.ops[n];
    return n > history.ops.size() / 2 && IsAssignedPoll(op) && !op.items.empty() &&
           op.items[0].key == 0;
  });
  if (i == kNowhere || !unread) return false;
  history.ops[i].items[0].value = unread->value;
  history.ops[i].items[0].hash = unread->hash;
  return true;
}

bool PlantNonmonotonicPoll(History& history, uint64_t seed) {
  size_t before = kNowhere;
  // Two polls of one reader, with nothing between them, that both return records of one partition.
  const size_t i = FindOp(history, seed, [&](size_t n) {
    if (!IsAssignedPoll(history.ops[n]) || history.ops[n].items.empty()) return false;
    const int32_t key = history.ops[n].items[0].key;
    for (before = InvokeOf(history, n); before-- > 0;) {
      if (history.ops[before].process == history.ops[n].process) break;
    }
    if (before == kNowhere) return false;
    const Op& earlier = history.ops[before];
    return IsAssignedPoll(earlier) && !earlier.items.empty() && earlier.items[0].key == key;
  });
  if (i == kNowhere) return false;
  const Op& earlier = history.ops[before];
  size_t last = 0;
  while (last + 1 < earlier.items.size() && earlier.items[last + 1].key == earlier.items[0].key) {
    ++last;
  }
  InsertItem(history.ops[i], 0, Item(earlier.items[last]));
  return true;
}

// Leaves out a record of a poll, the first of a partition or one in the middle of a run.
bool SkipInPoll(History& history, uint64_t seed, uint32_t place) {
  const size_t i = FindOp(history, seed, [&](size_t n) {
    return n > history.ops.size() / 4 && IsAssignedPoll(history.ops[n]) &&
           LongestRun(history.ops[n]).count > 4;
  });
  if (i == kNowhere) return false;
  EraseItem(history.ops[i], LongestRun(history.ops[i]).first + place);
  return true;
}
bool PlantPollSkip(History& history, uint64_t seed) { return SkipInPoll(history, seed, 0); }
bool PlantIntPollSkip(History& history, uint64_t seed) { return SkipInPoll(history, seed, 2); }

bool PlantIntNonmonotonicPoll(History& history, uint64_t seed) {
  const size_t i = FindOp(history, seed, [&](size_t n) {
    return IsAssignedPoll(history.ops[n]) && LongestRun(history.ops[n]).count > 4;
  });
  if (i == kNowhere) return false;
  Op& op = history.ops[i];
  const uint32_t place = LongestRun(op).first + 2;
  InsertItem(op, place, Item(op.items[place]));
  return true;
}

// Two sends of one client to one partition land in the other order: each took the other's record.
bool PlantNonmonotonicSend(History& history, uint64_t seed) {
  std::map<std::pair<int32_t, int64_t>, size_t> first_read;
  for (size_t n = history.ops.size(); n-- > 0;) {
    if (!IsOk(history.ops[n], OpKind::kPoll) && !IsOk(history.ops[n], OpKind::kTxn)) continue;
    for (const Step& step : history.ops[n].steps) {
      for (uint32_t k = step.first; !step.is_send && k < step.first + step.count; ++k) {
        first_read[{history.ops[n].items[k].key, history.ops[n].items[k].value}] = n;
      }
    }
  }
  size_t later = kNowhere;
  const auto single = [&](size_t n) {
    return IsOk(history.ops[n], OpKind::kSend) && history.ops[n].items.size() == 1 &&
           !WasAckedEarly(history, n);
  };
  const size_t earlier = FindOp(history, seed, [&](size_t n) {
    if (!single(n)) return false;
    for (later = n + 1; later < history.ops.size(); ++later) {
      if (history.ops[later].process == history.ops[n].process &&
          history.ops[later].type != OpType::kInvoke) {
        break;
      }
    }
    if (later == history.ops.size() || !single(later)) return false;
    const Item& item = history.ops[n].items[0];
    return item.key == history.ops[later].items[0].key &&
           first_read[{item.key, item.value}] > InvokeOf(history, later);
  });
  if (earlier == kNowhere) return false;
  std::swap(history.ops[earlier].items[0], history.ops[later].items[0]);
  std::swap(history.ops[InvokeOf(history, earlier)].items[0],
            history.ops[InvokeOf(history, later)].items[0]);
  return true;
}

bool PlantIntNonmonotonicSend(History& history, uint64_t seed) {
  const size_t i = FindOp(history, seed, [&](size_t n) {
    const Op& op = history.ops[n];
    return IsOk(op, OpKind::kSend) && op.items.size() == 2 && op.items[0].key == op.items[1].key;
  });
  if (i == kNowhere) return false;
  std::swap(history.ops[i].items[0], history.ops[i].items[1]);
  Op& invoke = history.ops[InvokeOf(history, i)];
  std::swap(invoke.items[0], invoke.items[1]);
  return true;
}

// A transaction's steps are a poll and then its sends; this lengthens the poll.
void AddReadToTransaction(Op& txn, const Item& item) {
  txn.items.insert(txn.items.begin() + txn.steps[0].count, item);
  ++txn.steps[0].count;
  for (size_t i = 1; i < txn.steps.size(); ++i) ++txn.steps[i].first;
}
const Item& FirstSend(const Op& txn) { return txn.items[txn.steps[1].first]; }

bool PlantPrecommittedRead(History& history, uint64_t seed) {
  const size_t i =
      FindOp(history, seed, [&](size_t n) { return IsOk(history.ops[n], OpKind::kTxn); });
  if (i == kNowhere) return false;
  AddReadToTransaction(history.ops[i], Item(FirstSend(history.ops[i])));
  return true;
}

bool PlantCircle(History& history, uint64_t seed) {
  size_t other = kNowhere;
  // Two that ran at the same time, so that each could see what the other had sent.
  const size_t i = FindOp(history, seed, [&](size_t n) {
    if (!IsOk(history.ops[n], OpKind::kTxn)) return false;
    for (other = InvokeOf(history, n) + 1; other < n; ++other) {
      if (IsOk(history.ops[other], OpKind::kTxn) && InvokeOf(history, other) < n &&
          FirstSend(history.ops[other]).offset >= 0 && InvokeOf(history, n) < other) {
        return true;
      }
    }
    return false;
  });
  if (i == kNowhere) return false;
  const Item mine = FirstSend(history.ops[i]);
  AddReadToTransaction(history.ops[i], Item(FirstSend(history.ops[other])));
  AddReadToTransaction(history.ops[other], mine);
  return true;
}

// Sent after the last read, and never read.
bool PlantUnseen(History& history, uint64_t /*seed*/) {
  Op op;
  op.process = 999'999;
  op.kind = OpKind::kSend;
  op.AddSend({.key = 0, .offset = -1, .value = 999'999'999});
  history.ops.push_back(op);
  op.type = OpType::kOk;
  op.items[0].offset = 999'999'999;
  history.ops.push_back(op);
  return true;
}

// Of a transaction that committed, or that nobody knows the end of, one of several records is gone.
bool TearTransaction(History& history, uint64_t seed, OpType type) {
  std::map<std::pair<int32_t, int64_t>, bool> read;
  for (const Op& op : history.ops) {
    for (const Item& item : op.items) read[{item.key, item.value}] |= op.kind == OpKind::kPoll;
  }
  const size_t i = FindOp(history, seed, [&](size_t n) {
    const Op& op = history.ops[n];
    if (op.type != type || op.kind != OpKind::kTxn || op.steps.size() < 3) return false;
    const Item& item = FirstSend(op);
    return read[{item.key, item.value}];
  });
  if (i == kNowhere) return false;
  EraseReads(history, Item(FirstSend(history.ops[i])));
  return true;
}
bool PlantTornTxn(History& history, uint64_t seed) {
  return TearTransaction(history, seed, OpType::kOk);
}
bool PlantTornUnknownTxn(History& history, uint64_t seed) {
  return TearTransaction(history, seed, OpType::kInfo);
}

// A transaction's records are there, and the offset that it committed is not.
bool PlantTornOffsets(History& history, uint64_t seed) {
  const size_t i =
      FindOp(history, seed, [&](size_t n) { return IsOk(history.ops[n], OpKind::kTxn); });
  if (i == kNowhere) return false;
  Op read;
  read.process = 999'999;
  read.kind = OpKind::kCommitted;
  read.group = history.ops[i].group;
  read.offsets = history.ops[i].offsets;
  Op completion = read;
  completion.type = OpType::kOk;
  completion.offsets[0].offset = 999'999'999;
  history.ops.insert(history.ops.begin() + static_cast<ptrdiff_t>(i) + 1, {read, completion});
  return true;
}

bool PlantCommitRevert(History& history, uint64_t seed) {
  size_t stale = kNowhere;
  // A commit of the same group, of long before, that others have replaced since.
  const size_t i = FindOp(history, seed, [&](size_t n) {
    const Op& op = history.ops[n];
    if (!IsOk(op, OpKind::kCommitted) || n < history.ops.size() / 2) return false;
    for (stale = n / 4; stale < n / 2; ++stale) {
      const Op& commit = history.ops[stale];
      if (IsOk(commit, OpKind::kCommit) && commit.group == op.group && !commit.offsets.empty() &&
          commit.offsets[0].key == 0 && commit.offsets[0].offset < op.offsets[0].offset) {
        return true;
      }
    }
    return false;
  });
  if (i == kNowhere) return false;
  history.ops[i].offsets[0].offset = history.ops[stale].offsets[0].offset;
  return true;
}

bool PlantZombieWrite(History& history, uint64_t seed) {
  const size_t fence = FindOp(history, seed, [&](size_t n) {
    return IsOk(history.ops[n], OpKind::kInit) && history.ops[n].epoch > 0;
  });
  if (fence == kNowhere) return false;
  for (size_t i = fence + 1; i < history.ops.size(); ++i) {
    const size_t invoke = IsOk(history.ops[i], OpKind::kSend) ? InvokeOf(history, i) : kNowhere;
    if (invoke == kNowhere || invoke < fence) continue;
    history.ops[invoke].producer = history.ops[fence].producer;
    history.ops[invoke].epoch = history.ops[fence].epoch - 1;
    return true;
  }
  return false;
}

bool Regress(History& history, uint64_t seed, std::vector<OffsetOf> Op::* marks) {
  const size_t i = FindOp(history, seed, [&](size_t n) {
    return IsAssignedPoll(history.ops[n]) && n > history.ops.size() / 2;
  });
  if (i == kNowhere) return false;
  (history.ops[i].*marks)[0].offset = 1;
  return true;
}
bool PlantHwRegress(History& history, uint64_t seed) {
  return Regress(history, seed, &Op::high_watermarks);
}
bool PlantLsoRegress(History& history, uint64_t seed) {
  return Regress(history, seed, &Op::last_stable_offsets);
}

bool PlantValueMutated(History& history, uint64_t seed) {
  const size_t i = FindOp(history, seed, [&](size_t n) {
    return IsOk(history.ops[n], OpKind::kPoll) && !history.ops[n].items.empty();
  });
  if (i == kNowhere) return false;
  history.ops[i].items[0].hash ^= 0x100;
  return true;
}
bool PlantForeignRecord(History& history, uint64_t seed) {
  // The last poll of the history, so that no other reader disagrees about what lies there.
  (void)seed;
  for (size_t i = history.ops.size(); i-- > 0;) {
    Op& op = history.ops[i];
    if (!IsOk(op, OpKind::kPoll) || op.items.empty()) continue;
    const Item last = op.items.back();
    op.AddRead({last.key, last.offset + 100, 999'999'999, 1});
    return true;
  }
  return false;
}

bool ChangeReplica(History& history, uint64_t seed, bool erase) {
  const size_t i = FindOp(history, seed, [&](size_t n) {
    return IsOk(history.ops[n], OpKind::kReplica) && history.ops[n].node == 2;
  });
  if (i == kNowhere) return false;
  Op& op = history.ops[i];
  // Half way through a partition is within what all replicas hold.
  const Run run = LongestRun(op);
  const uint32_t place = run.first + run.count / 2;
  if (erase) {
    EraseItem(op, place);
  } else {
    op.items[place].hash ^= 1;
  }
  return true;
}
bool PlantReplicaDivergence(History& history, uint64_t seed) {
  return ChangeReplica(history, seed, false);
}
bool PlantReplicaHole(History& history, uint64_t seed) {
  return ChangeReplica(history, seed, true);
}

bool PlantStuck(History& history, uint64_t /*seed*/) {
  for (size_t i = history.ops.size(); i-- > 0;) {
    if (!IsAssignedPoll(history.ops[i])) continue;
    history.ops.erase(history.ops.begin() + static_cast<ptrdiff_t>(i));
    return true;
  }
  return false;
}
bool PlantSlow(History& history, uint64_t seed) {
  const size_t i =
      FindOp(history, seed, [&](size_t n) { return IsOk(history.ops[n], OpKind::kSend); });
  if (i == kNowhere) return false;
  history.ops[i].time_ns += kStuckAfterNs;
  return true;
}

constexpr Planter kPlanters[] = {
    {"an acknowledged record is in nobody's polls", Anomaly::kLostWrite, PlantLostWrite},
    {"the log ends before what was read of it", Anomaly::kLostWrite, PlantLostTail},
    {"a send fails, though its records were read", Anomaly::kG1a, PlantAbortedRead},
    {"a record lies at a second offset too", Anomaly::kDuplicate, PlantDuplicate},
    {"one reader sees another record", Anomaly::kInconsistentOffsets, PlantInconsistentOffsets},
    {"a poll begins with a record seen before", Anomaly::kNonmonotonicPoll, PlantNonmonotonicPoll},
    {"a poll begins one record too late", Anomaly::kPollSkip, PlantPollSkip},
    {"a poll returns one record twice", Anomaly::kIntNonmonotonicPoll, PlantIntNonmonotonicPoll},
    {"a poll leaves out a record", Anomaly::kIntPollSkip, PlantIntPollSkip},
    {"two sends land in the other order", Anomaly::kNonmonotonicSend, PlantNonmonotonicSend},
    {"the same within one send", Anomaly::kIntNonmonotonicSend, PlantIntNonmonotonicSend},
    {"a transaction polls what it sent", Anomaly::kPrecommittedRead, PlantPrecommittedRead},
    {"two transactions poll from each other", Anomaly::kG1c, PlantCircle},
    {"a record is sent after the last poll", Anomaly::kUnseen, PlantUnseen},
    {"a record of a committed transaction is lost", Anomaly::kTornTxn, PlantTornTxn},
    {"a transaction of unknown end is half there", Anomaly::kTornTxn, PlantTornUnknownTxn},
    {"the offset of a transaction is lost", Anomaly::kTornTxn, PlantTornOffsets},
    {"an old committed offset comes back", Anomaly::kCommitRevert, PlantCommitRevert},
    {"a fenced producer is acknowledged", Anomaly::kZombieWrite, PlantZombieWrite},
    {"the high watermark falls", Anomaly::kHwRegress, PlantHwRegress},
    {"the last stable offset falls", Anomaly::kLsoRegress, PlantLsoRegress},
    {"a record's hash changes in one poll", Anomaly::kValueMutated, PlantValueMutated},
    {"a record is read that nobody sent", Anomaly::kValueMutated, PlantForeignRecord},
    {"a replica holds other bytes", Anomaly::kReplicaDivergence, PlantReplicaDivergence},
    {"a replica lacks a record", Anomaly::kReplicaDivergence, PlantReplicaHole},
    {"a poll never returns", Anomaly::kStuck, PlantStuck},
    {"a send takes too long", Anomaly::kStuck, PlantSlow},
};

}  // namespace

std::span<const Planter> AllPlanters() { return kPlanters; }

}  // namespace millrace::check
