#include "harness/check/transactions.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace millrace::check {
namespace {

// The strongly connected components of a graph that have more than one member: Tarjan's algorithm,
// with a stack of its own in place of recursion, since a chain of transactions can be long.
class Circles {
 public:
  explicit Circles(const std::vector<const std::vector<int32_t>*>& edges)
      : edges_(edges), state_(edges.size()) {}

  std::vector<std::vector<int32_t>> Find() {
    for (size_t i = 0; i < edges_.size(); ++i) {
      if (state_[i].index == 0) Visit(static_cast<int32_t>(i));
    }
    return std::move(found_);
  }

 private:
  struct State {
    uint32_t index = 0;  // when it was met, from 1
    uint32_t low = 0;    // the earliest met that it leads back to
    bool open = false;   // on open_: its component is not closed yet
  };
  struct Frame {
    int32_t node;
    size_t next_edge;
  };

  State& At(int32_t node) { return state_[static_cast<size_t>(node)]; }

  void Enter(int32_t node) {
    At(node) = {++met_, met_, true};
    open_.push_back(node);
    frames_.push_back({node, 0});
  }

  void Visit(int32_t start) {
    Enter(start);
    while (!frames_.empty()) {
      Frame& frame = frames_.back();
      const int32_t node = frame.node;
      const auto& edges = *edges_[static_cast<size_t>(node)];
      if (frame.next_edge < edges.size()) {
        const int32_t next = edges[frame.next_edge++];
        if (At(next).index == 0) {
          Enter(next);
        } else if (At(next).open) {
          At(node).low = std::min(At(node).low, At(next).index);
        }
        continue;
      }
      frames_.pop_back();
      if (!frames_.empty()) {
        State& parent = At(frames_.back().node);
        parent.low = std::min(parent.low, At(node).low);
      }
      if (At(node).low == At(node).index) Close(node);
    }
  }

  void Close(int32_t node) {
    const auto first = std::find(open_.rbegin(), open_.rend(), node).base() - 1;
    std::vector<int32_t> component(first, open_.end());
    for (const int32_t member : component) At(member).open = false;
    open_.erase(first, open_.end());
    if (component.size() > 1) found_.push_back(std::move(component));
  }

  const std::vector<const std::vector<int32_t>*>& edges_;
  std::vector<State> state_;
  std::vector<int32_t> open_;
  std::vector<Frame> frames_;
  std::vector<std::vector<int32_t>> found_;
  uint32_t met_ = 0;
};

}  // namespace

int32_t Transactions::Begin(const Op& invoke, uint64_t line) {
  transactions_.push_back({.op = invoke, .line = line});
  return static_cast<int32_t>(transactions_.size() - 1);
}

void Transactions::End(int32_t txn, OpType type) {
  transactions_[static_cast<size_t>(txn)].type = type;
}

void Transactions::AddRead(int32_t reader, int32_t writer) {
  auto& reads_from = transactions_[static_cast<size_t>(reader)].reads_from;
  // A poll mostly returns runs of one writer's records.
  if (reads_from.empty() || reads_from.back() != writer) reads_from.push_back(writer);
}

bool Transactions::MarkVisible(int32_t txn) {
  return !std::exchange(transactions_[static_cast<size_t>(txn)].visible, true);
}

void Transactions::MarkOffsetMissing(int32_t txn, std::string what) {
  transactions_[static_cast<size_t>(txn)].missing_offset = std::move(what);
}

void Transactions::CheckTorn(const Transaction& txn) {
  if (txn.type == OpType::kFail || txn.type == OpType::kInvoke) return;  // G1a, stuck
  std::string missing = txn.missing_offset;
  size_t lost = 0;
  for (const Item& item : txn.op.items) {
    const Record* record = records_.Find(item.key, item.value);
    if (!records_.IsMissing(item.key, *record)) continue;
    ++lost;
    missing = fmt::format("{}, value {}", names_.NameOf(item.key), item.value);
  }
  if (missing.empty()) return;
  // Of one that may not have committed at all, a missing part matters only beside a visible one.
  if (!txn.visible && txn.type == OpType::kInfo) return;
  const bool all_lost = !txn.visible && txn.missing_offset.empty() && lost == txn.op.items.size();
  report_.Add(all_lost ? Anomaly::kLostWrite : Anomaly::kTornTxn,
              fmt::format("the transaction of line {} committed, but this is missing: {}", txn.line,
                          missing));
}

void Transactions::CheckCircles() {
  std::vector<const std::vector<int32_t>*> edges;
  edges.reserve(transactions_.size());
  for (const Transaction& txn : transactions_) edges.push_back(&txn.reads_from);
  for (const auto& circle : Circles(edges).Find()) {
    std::string lines;
    for (const int32_t txn : circle) {
      lines += fmt::format(" {}", transactions_[static_cast<size_t>(txn)].line);
    }
    report_.Add(Anomaly::kG1c,
                fmt::format("the transactions of these lines read from each other:{}", lines));
  }
}

void Transactions::Finish() {
  for (const Transaction& txn : transactions_) CheckTorn(txn);
  CheckCircles();
}

}  // namespace millrace::check
