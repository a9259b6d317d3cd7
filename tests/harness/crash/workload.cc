#include "harness/crash/workload.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "harness/crash/admin_client.h"
#include "harness/crash/group_member.h"
#include "harness/crash/sender.h"
#include "harness/support/rng.h"

namespace millrace::harness {

void CreateTopics(const Client& client, const Plan& plan, HistoryPipe& pipe) {
  for (const std::string_view topic : {kOrders, kTrimmed}) {
    check::Op op;
    op.kind = check::OpKind::kCreateTopic;
    op.process = pipe.NewProcess();
    op.topics = {std::string(topic)};
    pipe.Write(op);
    const Status status = client.admin().CreateTopic(topic,
                                                     {.partitions = topic == kOrders ? 3 : 1,
                                                      .retention = absl::InfiniteDuration(),
                                                      .segment_bytes = plan.segment_bytes},
                                                     OnExists::kKeep);
    if (!status.ok()) pipe.Wrong(fmt::format("CreateTopic({}): {}", topic, status.ToString()));
    op.type = status.ok() ? check::OpType::kOk : check::OpType::kInfo;
    pipe.Write(op);
  }
}

void RunWorkload(const Client& client, const Plan& plan, HistoryPipe& pipe) {
  Rng seeds(plan.seed ^ 0xABCD);
  std::atomic<bool> stop = false;
  std::vector<std::thread> readers, writers;
  for (int i = 0; i < plan.members; ++i) {
    readers.emplace_back([&] { RunCommittingMember(client, plan, stop, pipe); });
  }
  if (plan.automatic_member) {
    readers.emplace_back([&] { RunAutomaticMember(client, stop, pipe); });
  }
  for (int i = 0; i < plan.producers; ++i) {
    writers.emplace_back([&, seed = seeds.Next()] { RunSender(client, plan, seed, pipe); });
  }
  if (plan.uses_admin) {
    writers.emplace_back([&, seed = seeds.Next()] { RunAdmin(client, plan, seed, pipe); });
  }
  for (std::thread& writer : writers) writer.join();
  stop = true;
  for (std::thread& reader : readers) reader.join();
}

}  // namespace millrace::harness
