#include "harness/crash/sender.h"

#include <thread>
#include <utility>

#include <fmt/format.h>

#include "harness/crash/record_content.h"
#include "harness/crash/workload.h"

namespace millrace::harness {

using check::Item;
using check::Op;
using check::OpKind;
using check::OpType;

Sender::Sender(const Client& client, const Plan& plan, uint64_t seed, HistoryPipe& pipe)
    : plan_(plan),
      pipe_(pipe),
      rng_(seed),
      process_(pipe.NewProcess()),
      next_id_(process_ * 100'000),
      producer_(client.NewProducer(plan.producer)) {
  if (!producer_.ok()) {
    pipe_.Wrong(fmt::format("NewProducer: {}", producer_.status().ToString()));
  }
}

void Sender::Send(std::string_view topic, int32_t partitions, int64_t count) {
  std::vector<Planned> records;
  Op op;
  op.kind = OpKind::kSend;
  op.process = process_;
  for (int64_t i = 0; i < count; ++i) {
    const Planned record{static_cast<int32_t>(rng_.Below(static_cast<uint64_t>(partitions))),
                         next_id_++};
    uint64_t hash = HashOf(ContentOf(record.id));
    if (plan_.lie == Lie::kOtherBytes && rng_.OneIn(20)) hash ^= 2;
    op.AddSend({pipe_.KeyOf(topic, record.partition), -1, record.id, hash});
    records.push_back(record);
  }
  pipe_.Write(op);
  // Shared with the callbacks, which may outlive this call when the flush fails.
  const auto outcome = std::make_shared<Outcome>();
  {
    MutexLock lock(outcome->mu);
    outcome->completion = std::move(op);
  }
  if (plan_.lie == Lie::kSwap && records.size() > 1 && rng_.OneIn(4)) {
    std::swap(records[0].id, records[1].id);
  }
  if (rng_.OneIn(4)) {
    SendTogether(topic, records, *outcome);
  } else {
    SendWithCallbacks(topic, records, outcome);
    const Status flushed = producer_->Flush(absl::Seconds(30));
    if (!flushed.ok()) return pipe_.Wrong(fmt::format("Flush: {}", flushed.ToString()));
  }
  MutexLock lock(outcome->mu);
  outcome->completion.type = outcome->failed ? OpType::kInfo : OpType::kOk;
  pipe_.Write(outcome->completion);
}

void Sender::SendWithCallbacks(std::string_view topic, const std::vector<Planned>& records,
                               const std::shared_ptr<Outcome>& outcome) {
  for (size_t i = 0; i < records.size(); ++i) {
    const auto& [partition, id] = records[i];
    if (plan_.lie == Lie::kAckFirst) {
      Op ack;
      ack.type = OpType::kAck;
      ack.kind = OpKind::kSend;
      ack.process = process_;
      ack.AddSend({pipe_.KeyOf(topic, partition), -1, id, 0});
      pipe_.Write(ack);
      std::this_thread::sleep_for(kLieLasts);
    }
    const int copies = plan_.lie == Lie::kSendTwice && rng_.OneIn(20) ? 2 : 1;
    for (int copy = 0; copy < copies; ++copy) {
      const Status queued = producer_->Send(ToRecord(topic, partition, ContentOf(id)),
                                            [this, outcome, i](const StatusOr<Delivery>& delivery) {
                                              Answer(delivery, i, /*ack=*/true, *outcome);
                                            });
      if (!queued.ok()) Answer(queued, i, /*ack=*/false, *outcome);
    }
  }
}

void Sender::SendTogether(std::string_view topic, const std::vector<Planned>& records,
                          Outcome& outcome) {
  std::vector<ProducerRecord> batch;
  for (const auto& [partition, id] : records) {
    batch.push_back(ToRecord(topic, partition, ContentOf(id)));
  }
  const std::vector<StatusOr<Delivery>> deliveries = producer_->SendAll(batch);
  for (size_t i = 0; i < deliveries.size(); ++i) {
    Answer(deliveries[i], i, /*ack=*/false, outcome);
  }
}

void Sender::Answer(const StatusOr<Delivery>& delivery, size_t index, bool ack, Outcome& outcome) {
  Op line;
  {
    MutexLock lock(outcome.mu);
    Item& item = outcome.completion.items[index];
    if (!delivery.ok()) {
      outcome.failed = true;
      pipe_.Wrong(fmt::format("sending {}: {}", item.value, delivery.status().ToString()));
      return;
    }
    item.offset = delivery->offset;
    line.type = OpType::kAck;
    line.kind = OpKind::kSend;
    line.process = process_;
    line.AddSend(item);
  }
  if (ack) pipe_.Write(line);
}

void Sender::Close() {
  const Status status = producer_->Close(absl::Seconds(30));
  if (!status.ok()) pipe_.Wrong(fmt::format("Producer::Close: {}", status.ToString()));
}

void RunSender(const Client& client, const Plan& plan, uint64_t seed, HistoryPipe& pipe) {
  Sender sender(client, plan, seed, pipe);
  if (!sender.ok()) return;
  Rng rng(seed + 1);
  for (int i = 0; i < plan.sends_per_producer; ++i) {
    const bool trimmed = rng.OneIn(5);
    sender.Send(trimmed ? kTrimmed : kOrders, trimmed ? 1 : 3,
                rng.Between(1, plan.records_per_send));
  }
  sender.Close();
}

}  // namespace millrace::harness
