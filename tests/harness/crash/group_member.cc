#include "harness/crash/group_member.h"

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <absl/time/time.h>
#include <fmt/format.h>

#include "harness/crash/verification.h"
#include "harness/crash/workload.h"
#include "millrace/status.h"

namespace millrace::harness {

using check::Op;
using check::OpKind;
using check::OpType;

namespace {

// What a member is told when its partitions have gone to another one meanwhile.
bool IsLostMembership(const Status& status) {
  const std::optional<ErrorDetail> detail = DetailOf(status);
  constexpr std::array<std::string_view, 5> kNames = {
      "unknown_member", "fenced_member", "stale_member_epoch", "not_assigned", "cancelled"};
  return detail && std::find(kNames.begin(), kNames.end(), detail->name) != kNames.end();
}

// What was read and not committed yet. Partitions that go to another member are committed first,
// and forgotten: a later commit of theirs would set the group back.
class Uncommitted : public RebalanceListener {
 public:
  Uncommitted(const Plan& plan, int64_t process, HistoryPipe& pipe)
      : plan_(plan), process_(process), pipe_(pipe) {}

  void Add(const OffsetMap& next) {
    for (const auto& [tp, offset] : next) next_[tp] = offset;
  }

  void Commit(Consumer& consumer) {
    const OffsetMap next = std::exchange(next_, {});
    if (next.empty()) return;
    Op op;
    op.kind = OpKind::kCommit;
    op.process = process_;
    op.group = kWorkers;
    op.offsets = pipe_.ToOffsets(next);
    pipe_.Write(op);
    if (plan_.lie == Lie::kCommitFirst) {
      op.type = OpType::kOk;
      pipe_.Write(op);
      std::this_thread::sleep_for(kLieLasts);
    }
    const Status status = consumer.Commit(next);
    const bool refused = IsLostMembership(status);
    if (!status.ok() && !refused) pipe_.Wrong(fmt::format("Commit: {}", status.ToString()));
    op.type = status.ok() ? OpType::kOk : refused ? OpType::kFail : OpType::kInfo;
    if (plan_.lie != Lie::kCommitFirst) pipe_.Write(op);
  }

  void OnRevoked(Consumer& consumer, const std::vector<TopicPartition>&) override {
    Commit(consumer);
  }
  void OnLost(Consumer&, const std::vector<TopicPartition>&) override { next_.clear(); }

 private:
  const Plan& plan_;
  const int64_t process_;
  HistoryPipe& pipe_;
  OffsetMap next_;
};

void WriteSubscribe(std::string_view group, int64_t process, HistoryPipe& pipe) {
  Op op;
  op.type = OpType::kOk;
  op.kind = OpKind::kSubscribe;
  op.process = process;
  op.group = group;
  op.topics = {std::string(kOrders)};
  pipe.Write(op);
}

// The next poll's records as a line; false if polling failed.
bool PollOnce(Consumer& consumer, int64_t process, std::string_view group, OffsetMap* next,
              HistoryPipe& pipe) {
  const StatusOr<RecordBatch> batch = consumer.Poll(absl::Milliseconds(1));
  if (!batch.ok()) {
    if (!IsLostMembership(batch.status())) {
      pipe.Wrong(fmt::format("Poll: {}", batch.status().ToString()));
    }
    return false;
  }
  *next = batch->next_offsets();
  if (batch->empty()) return true;
  Op op = pipe.ToOp(*batch);
  op.process = process;
  op.group = group;
  pipe.Write(op);
  return true;
}

}  // namespace

void RunCommittingMember(const Client& client, const Plan& plan, const std::atomic<bool>& stop,
                         HistoryPipe& pipe) {
  const int64_t process = pipe.NewProcess();
  const auto uncommitted = std::make_shared<Uncommitted>(plan, process, pipe);
  StatusOr<Consumer> consumer = client.NewConsumer({.group = std::string(kWorkers),
                                                    .topics = {std::string(kOrders)},
                                                    .commits = Commits::kManual,
                                                    .max_poll_records = 40,
                                                    .listener = uncommitted});
  if (!consumer.ok())
    return pipe.Wrong(fmt::format("NewConsumer: {}", consumer.status().ToString()));
  WriteSubscribe(kWorkers, process, pipe);
  OffsetMap next;
  for (int polls = 1; !stop; ++polls) {
    if (!PollOnce(*consumer, process, kWorkers, &next, pipe)) break;
    uncommitted->Add(next);
    if (polls % 3 == 0) uncommitted->Commit(*consumer);
  }
  uncommitted->Commit(*consumer);
  const Status closed = consumer->Close(absl::Seconds(30));
  if (!closed.ok()) pipe.Wrong(fmt::format("Consumer::Close: {}", closed.ToString()));
}

void RunAutomaticMember(const Client& client, const std::atomic<bool>& stop, HistoryPipe& pipe) {
  const int64_t process = pipe.NewProcess();
  StatusOr<Consumer> consumer = client.NewConsumer({.group = std::string(kAutomatic),
                                                    .topics = {std::string(kOrders)},
                                                    .commits = Commits::kOnNextPoll,
                                                    .max_poll_records = 40});
  if (!consumer.ok())
    return pipe.Wrong(fmt::format("NewConsumer: {}", consumer.status().ToString()));
  WriteSubscribe(kAutomatic, process, pipe);
  OffsetMap next;
  while (!stop && PollOnce(*consumer, process, kAutomatic, &next, pipe)) {
  }
  const Status closed = consumer->Close(absl::Seconds(30));
  if (!closed.ok()) pipe.Wrong(fmt::format("Consumer::Close: {}", closed.ToString()));
}

}  // namespace millrace::harness
