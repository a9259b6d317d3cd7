#include "harness/crash/admin_client.h"

#include <string>

#include <fmt/format.h>

#include "harness/crash/sender.h"
#include "harness/crash/workload.h"

namespace millrace::harness {

using check::Op;
using check::OpKind;
using check::OpType;

namespace {

class AdminClient {
 public:
  AdminClient(const Client& client, const Plan& plan, uint64_t seed, HistoryPipe& pipe)
      : client_(client),
        plan_(plan),
        pipe_(pipe),
        rng_(seed),
        process_(pipe.NewProcess()),
        sender_(client, plan, seed, pipe) {}

  void Run() {
    if (!sender_.ok()) return;
    ChangeConfig();
    for (int i = 0; i < 3; ++i) {
      const std::string topic = fmt::format("scratch-{}-{}", process_, i);
      ChangeTopic(OpKind::kCreateTopic, topic);
      sender_.Send(topic, 1, rng_.Between(1, plan_.records_per_send));
      DeleteOldRecords();
      if (!rng_.OneIn(3)) ChangeTopic(OpKind::kDeleteTopic, topic);
    }
    sender_.Close();
  }

 private:
  void Complete(Op op, std::string_view call, const Status& status) {
    if (!status.ok()) pipe_.Wrong(fmt::format("{}: {}", call, status.ToString()));
    op.type = status.ok() ? OpType::kOk : OpType::kInfo;
    pipe_.Write(op);
  }

  void ChangeTopic(OpKind kind, const std::string& topic) {
    Op op;
    op.kind = kind;
    op.process = process_;
    op.topics = {topic};
    pipe_.Write(op);
    const Status status =
        kind == OpKind::kCreateTopic
            ? client_.admin().CreateTopic(topic, {.retention = absl::InfiniteDuration()})
            : client_.admin().DeleteTopic(topic);
    Complete(op, check::NameOf(kind), status);
  }

  void DeleteOldRecords() {
    const TopicPartition tp{std::string(kTrimmed), 0};
    const StatusOr<TopicInfo> info = client_.admin().DescribeTopic(kTrimmed);
    if (!info.ok()) return pipe_.Wrong(fmt::format("DescribeTopic: {}", info.status().ToString()));
    const PartitionInfo& partition = info->partitions.front();
    const Offset before = rng_.Between(partition.begin, partition.end);
    Op op;
    op.kind = OpKind::kTrim;
    op.process = process_;
    op.offsets = {{pipe_.KeyOf(tp), before}};
    pipe_.Write(op);
    Complete(op, "DeleteRecords", client_.admin().DeleteRecords({{tp, before}}));
  }

  void ChangeConfig() {
    Status status = client_.admin().SetTopicConfig(
        kOrders, {{"segment.bytes", fmt::format("{}", plan_.segment_bytes)}});
    // Old segments go at once, or get another name first.
    if (status.ok()) {
      status = client_.admin().SetTopicConfig(
          kTrimmed, {{"segment.bytes", fmt::format("{}", plan_.segment_bytes)},
                     {"file.delete.delay.ms", rng_.OneIn(2) ? "0" : "60000"}});
    }
    if (!status.ok()) pipe_.Wrong(fmt::format("SetTopicConfig: {}", status.ToString()));
  }

  const Client& client_;
  const Plan& plan_;
  HistoryPipe& pipe_;
  Rng rng_;
  const int64_t process_;
  Sender sender_;
};

}  // namespace

void RunAdmin(const Client& client, const Plan& plan, uint64_t seed, HistoryPipe& pipe) {
  AdminClient(client, plan, seed, pipe).Run();
}

}  // namespace millrace::harness
