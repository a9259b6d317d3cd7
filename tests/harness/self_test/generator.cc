#include "harness/self_test/generator.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "harness/support/rng.h"

namespace millrace::check {
namespace {

using harness::Rng;

constexpr int32_t kInputs = 4;   // orders-0..3: written by senders, read by all
constexpr int32_t kOutputs = 2;  // bills-0..1: written by transactions
constexpr int32_t kPartitions = kInputs + kOutputs;
constexpr int64_t kSenders = kFirstReader, kReaders = kEndReader - kFirstReader;
constexpr int64_t kGroupMembers = 3, kTransactors = 4;
constexpr int64_t kClients = kSenders + kReaders + kGroupMembers + kTransactors;
constexpr int64_t kFinalReader = 900'000, kReplicaReader = 900'001;

// The true log: what lies at each offset of a partition.
struct Slot {
  bool visible = false;  // not a marker, and not of an aborted transaction
  int64_t value = 0;
  uint64_t hash = 0;
};

// What a client does between its invoke and its completion.
struct Client {
  int64_t process = 0;
  std::optional<Op> invoked;
  bool effect_done = false;
  bool needs_init = false;  // a transactor whose epoch must begin
  bool assigned = false;
  int64_t epoch = 0;
  std::map<int32_t, int64_t> positions;
};

class Generator {
 public:
  Generator(uint64_t seed, size_t operations) : rng_(seed), operations_(operations) {
    for (int32_t i = 0; i < kInputs; ++i) history_.names.IdOf(fmt::format("orders-{}", i));
    for (int32_t i = 0; i < kOutputs; ++i) history_.names.IdOf(fmt::format("bills-{}", i));
    clients_.resize(kClients);
    for (int64_t i = 0; i < kClients; ++i) {
      clients_[static_cast<size_t>(i)].process = i;
      clients_[static_cast<size_t>(i)].needs_init = IsTransactor(i);
    }
    for (int32_t key = 0; key < kInputs; ++key) owner_[key] = GroupMember(rng_.Below(100));
  }

  History Run() {
    while (completed_ + kReservedForTheEnd < operations_) Step();
    for (int64_t i = 0; i < kClients; ++i) {
      if (clients_[static_cast<size_t>(i)].invoked) Complete(i);
    }
    ReadEverything();
    CompareReplicas();
    return std::move(history_);
  }

 private:
  static constexpr size_t kReservedForTheEnd = 40;
  static bool IsReader(int64_t i) { return i >= kSenders && i < kSenders + kReaders; }
  static bool IsGroupMember(int64_t i) {
    return i >= kSenders + kReaders && i < kSenders + kReaders + kGroupMembers;
  }
  static bool IsTransactor(int64_t i) { return i >= kSenders + kReaders + kGroupMembers; }
  static int64_t GroupMember(uint64_t n) {
    return kSenders + kReaders + static_cast<int64_t>(n % kGroupMembers);
  }

  void Step() {
    const auto i = static_cast<int64_t>(rng_.Below(kClients));
    if (clients_[static_cast<size_t>(i)].invoked) {
      Complete(i);
    } else {
      Invoke(i);
    }
    if (rng_.OneIn(500)) Rebalance();
  }

  // ---- what is invoked

  void Invoke(int64_t i) {
    Client& client = clients_[static_cast<size_t>(i)];
    Op op;
    op.process = client.process;
    op.time_ns = now_ns_ += rng_.Between(1'000, 100'000);
    if (IsReader(i)) {
      FillReader(client, &op);
    } else if (IsGroupMember(i)) {
      FillGroupMember(i, client, &op);
    } else if (IsTransactor(i)) {
      FillTransactor(i, client, &op);
    } else {
      op.kind = OpKind::kSend;
      AddSends(rng_.Between(1, 3), 0, kInputs, &op);
    }
    history_.ops.push_back(op);
    client.effect_done = false;
    // A send may be seen before its caller knows that it happened.
    if (op.kind == OpKind::kSend && rng_.OneIn(2)) Decide(&op);
    client.effect_done = op.type != OpType::kInvoke;
    client.invoked = std::move(op);
  }

  void AddSends(int64_t count, int32_t first_key, int32_t end_key, Op* op) {
    for (int64_t n = 0; n < count; ++n) {
      Item item;
      item.key = static_cast<int32_t>(rng_.Between(first_key, end_key - 1));
      item.value = next_value_++;
      item.hash = (rng_.Next() >> 40) | 1;
      op->AddSend(item);
    }
  }

  void FillReader(Client& client, Op* op) {
    if (!client.assigned || rng_.OneIn(4'000)) {
      op->kind = OpKind::kAssign;
      for (int32_t key = 0; key < kPartitions; ++key) op->offsets.push_back({key, -1});
      op->seeks = op->offsets;
      for (OffsetOf& seek : op->seeks) seek.offset = 0;
    } else if (rng_.OneIn(1'000)) {
      op->kind = OpKind::kSeek;
      const auto key = static_cast<int32_t>(rng_.Below(kPartitions));
      op->offsets = {{key, rng_.Between(std::max<int64_t>(0, End(key) - 300), End(key))}};
    } else {
      op->kind = OpKind::kPoll;
      op->AddPoll();
    }
  }

  void FillGroupMember(int64_t i, Client& client, Op* op) {
    op->group = "workers";
    if (!client.assigned) {
      op->kind = OpKind::kSubscribe;
      op->topics = {"orders"};
      return;
    }
    const uint64_t dice = rng_.Below(4);
    op->kind = dice < 2 ? OpKind::kPoll : dice < 3 ? OpKind::kCommit : OpKind::kCommitted;
    if (op->kind == OpKind::kPoll) op->AddPoll();
    for (int32_t key = 0; key < kInputs; ++key) {
      if (op->kind == OpKind::kCommitted) op->offsets.push_back({key, -1});
      const auto position = client.positions.find(key);
      if (op->kind != OpKind::kCommit || owner_[key] != i) continue;
      if (position != client.positions.end()) op->offsets.push_back({key, position->second});
    }
  }

  void FillTransactor(int64_t i, Client& client, Op* op) {
    op->producer = fmt::format("biller-{}", i);
    op->epoch = client.epoch;
    if (client.needs_init) {
      op->kind = OpKind::kInit;
      return;
    }
    op->kind = OpKind::kTxn;
    op->AddPoll();
    AddSends(rng_.Between(1, 3), kInputs, kPartitions, op);
    // Each transactor reads one partition of its own, and commits how far it came.
    op->group = op->producer;
    const auto key = static_cast<int32_t>(i % kInputs);
    op->offsets = {{key, VisibleEnd(key, client.positions[key], 5)}};
  }

  // ---- what happens

  // Settles how a send or transaction ends, and lets it take effect if it does.
  void Decide(Op* op) {
    const uint64_t dice = rng_.Below(100);
    op->type = dice < 94 ? OpType::kOk : dice < 97 ? OpType::kFail : OpType::kInfo;
    op->crashed = op->type == OpType::kInfo;
    const bool happens = op->type == OpType::kOk || (op->type == OpType::kInfo && rng_.OneIn(2));
    const bool is_txn = op->kind == OpKind::kTxn;
    if (!happens && !is_txn) return;
    for (Item& item : op->items) {
      Append(item.key, {happens, item.value, item.hash}, &item.offset);
      if (op->type != OpType::kOk) item.offset = -1;
    }
    if (!is_txn) return;
    int64_t ignored = 0;
    for (int32_t key = kInputs; key < kPartitions; ++key) Append(key, {}, &ignored);  // markers
    if (happens) committed_[{op->group, op->offsets[0].key}] = op->offsets[0].offset;
  }

  void Append(int32_t key, Slot slot, int64_t* offset) {
    auto& log = logs_[static_cast<size_t>(key)];
    *offset = static_cast<int64_t>(log.size());
    log.push_back(slot);
  }
  int64_t End(int32_t key) const {
    return static_cast<int64_t>(logs_[static_cast<size_t>(key)].size());
  }
  // The position after the next `count` visible records, or after the last.
  int64_t VisibleEnd(int32_t key, int64_t position, int64_t count) const {
    const auto& log = logs_[static_cast<size_t>(key)];
    while (position < End(key) && count > 0) {
      if (log[static_cast<size_t>(position++)].visible) --count;
    }
    return position;
  }

  void ReadUpTo(int32_t key, int64_t* position, int64_t end, Op* op) {
    for (; *position < end; ++*position) {
      const Slot& slot = logs_[static_cast<size_t>(key)][static_cast<size_t>(*position)];
      if (slot.visible) op->AddRead({key, *position, slot.value, slot.hash});
    }
  }
  void ReadSome(int32_t key, int64_t* position, Op* op) {
    ReadUpTo(key, position, VisibleEnd(key, *position, rng_.Between(0, 40)), op);
    op->high_watermarks.push_back({key, End(key)});
    op->last_stable_offsets.push_back({key, End(key)});
  }

  void Complete(int64_t i) {
    Client& client = clients_[static_cast<size_t>(i)];
    Op op = *std::move(client.invoked);
    client.invoked.reset();
    op.time_ns = now_ns_ += rng_.Between(1'000, 100'000);
    if (op.type == OpType::kInvoke) op.type = OpType::kOk;
    switch (op.kind) {
      case OpKind::kSend:
        if (!client.effect_done) Decide(&op);
        if (op.type == OpType::kOk && rng_.OneIn(10)) AcknowledgeEarly(op);
        break;
      case OpKind::kTxn:
        CompleteTransaction(client, &op);
        break;
      case OpKind::kInit:
        client.needs_init = false;
        break;
      case OpKind::kAssign:
      case OpKind::kSeek:
        client.assigned = true;
        for (const OffsetOf& seek : op.seeks) client.positions[seek.key] = seek.offset;
        if (op.kind == OpKind::kAssign) break;
        for (const OffsetOf& seek : op.offsets) client.positions[seek.key] = seek.offset;
        break;
      case OpKind::kSubscribe:
        client.assigned = true;
        break;
      case OpKind::kPoll:
        CompletePoll(i, client, &op);
        break;
      case OpKind::kCommit:
        CompleteCommit(i, &op);
        break;
      case OpKind::kCommitted:
        for (OffsetOf& entry : op.offsets) entry.offset = Committed(op.group, entry.key);
        break;
      default:
        break;
    }
    if (op.type == OpType::kInfo) Reincarnate(client);
    history_.ops.push_back(std::move(op));
    ++completed_;
  }

  void AcknowledgeEarly(const Op& op) {
    Op ack;
    ack.type = OpType::kAck;
    ack.kind = OpKind::kSend;
    ack.process = op.process;
    ack.AddSend(op.items.front());
    history_.ops.push_back(std::move(ack));
  }

  void CompletePoll(int64_t i, Client& client, Op* op) {
    if (IsGroupMember(i)) {
      for (int32_t key = 0; key < kInputs; ++key) {
        if (owner_[key] != i) continue;
        if (!client.positions.contains(key)) {
          client.positions[key] = std::max<int64_t>(0, Committed(op->group, key));
        }
        ReadSome(key, &client.positions[key], op);
      }
      return;
    }
    for (int32_t key = 0; key < kPartitions; ++key) ReadSome(key, &client.positions[key], op);
  }

  void CompleteCommit(int64_t i, Op* op) {
    // A member that lost a partition while it committed is refused, the whole of it.
    for (const OffsetOf& entry : op->offsets) {
      if (owner_[entry.key] != i) op->type = OpType::kFail;
    }
    if (op->type == OpType::kFail) return;
    for (const OffsetOf& entry : op->offsets) committed_[{op->group, entry.key}] = entry.offset;
  }

  void CompleteTransaction(Client& client, Op* op) {
    const std::vector<Item> sends = std::exchange(op->items, {});
    Op read;  // the poll comes first in `value`, so its records do too
    read.AddPoll();
    const OffsetOf end = op->offsets[0];
    int64_t position = client.positions[end.key];
    ReadUpTo(end.key, &position, end.offset, &read);
    op->items = sends;
    Decide(op);
    if (op->type == OpType::kOk) client.positions[end.key] = position;
    op->steps = read.steps;
    const std::vector<Item> sent = std::exchange(op->items, read.items);
    for (const Item& item : sent) op->AddSend(item);
  }

  int64_t Committed(const std::string& group, int32_t key) const {
    const auto found = committed_.find({group, key});
    return found == committed_.end() ? kNothing : found->second;
  }
  static constexpr int64_t kNothing = -1;

  // The client's process has crashed; its successor fences it.
  void Reincarnate(Client& client) {
    client.process += 1'000;
    client.epoch += 1;
    client.needs_init = true;
    for (int32_t key = 0; key < kInputs; ++key) {
      const auto committed =
          committed_.find({fmt::format("biller-{}", client.process % 1'000), key});
      if (committed != committed_.end()) client.positions[key] = committed->second;
    }
  }

  void Rebalance() {
    const auto key = static_cast<int32_t>(rng_.Below(kInputs));
    const int64_t before = std::exchange(owner_[key], GroupMember(rng_.Below(100)));
    if (owner_[key] == before) return;
    clients_[static_cast<size_t>(owner_[key])].positions.erase(key);
  }

  // ---- the end

  void ReadEverything() {
    Op assign;
    assign.process = kFinalReader;
    assign.kind = OpKind::kAssign;
    for (int32_t key = 0; key < kPartitions; ++key) {
      assign.offsets.push_back({key, -1});
      assign.seeks.push_back({key, 0});
    }
    Both(assign);
    Op final;
    final.process = kFinalReader;
    final.kind = OpKind::kFinal;
    for (int32_t key = 0; key < kPartitions; ++key) {
      Op poll;
      poll.process = kFinalReader;
      poll.kind = OpKind::kPoll;
      poll.AddPoll();
      history_.ops.push_back(poll);
      poll.type = OpType::kOk;
      int64_t position = 0;
      ReadUpTo(key, &position, End(key), &poll);
      history_.ops.push_back(std::move(poll));
      final.offsets.push_back({key, End(key)});
    }
    Both(final);
  }

  void CompareReplicas() {
    for (int64_t node = 0; node < 3; ++node) {
      Op op;
      op.process = kReplicaReader;
      op.kind = OpKind::kReplica;
      op.type = OpType::kOk;
      op.node = node;
      op.AddPoll();
      for (int32_t key = 0; key < kPartitions; ++key) {
        int64_t position = rng_.Between(0, End(key) / 4);
        ReadUpTo(key, &position, rng_.Between(3 * End(key) / 4, End(key)), &op);
      }
      history_.ops.push_back(std::move(op));
    }
  }

  void Both(Op op) {
    history_.ops.push_back(op);
    op.type = OpType::kOk;
    history_.ops.push_back(std::move(op));
  }

  Rng rng_;
  const size_t operations_;
  History history_;
  std::vector<Client> clients_;
  std::vector<Slot> logs_[kPartitions];
  std::map<int32_t, int64_t> owner_;  // of each input: the group member that reads it
  std::map<std::pair<std::string, int32_t>, int64_t> committed_;
  int64_t next_value_ = 1;
  int64_t now_ns_ = 0;
  size_t completed_ = 0;
};

}  // namespace

History GenerateCleanHistory(uint64_t seed, size_t operations) {
  return Generator(seed, operations).Run();
}

}  // namespace millrace::check
