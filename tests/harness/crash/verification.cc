#include "harness/crash/verification.h"

#include <string>
#include <vector>

#include <absl/time/time.h>
#include <fmt/format.h>

namespace millrace::harness {

using check::Op;
using check::OpKind;
using check::OpType;

namespace {

// Far more than any read here takes; a reader that waits longer is stuck.
constexpr absl::Duration kPatience = absl::Seconds(20);

std::vector<TopicPartition> AllPartitions(const Client& client, HistoryPipe& pipe) {
  Admin admin = client.admin();
  std::vector<TopicPartition> partitions;
  const StatusOr<std::vector<std::string>> topics = admin.ListTopics();
  if (!topics.ok()) {
    pipe.Wrong(fmt::format("ListTopics: {}", topics.status().ToString()));
    return partitions;
  }
  for (const std::string& topic : *topics) {
    const StatusOr<TopicInfo> info = admin.DescribeTopic(topic);
    if (!info.ok()) {
      pipe.Wrong(fmt::format("DescribeTopic({}): {}", topic, info.status().ToString()));
      continue;
    }
    for (const PartitionInfo& partition : info->partitions) {
      partitions.push_back({topic, partition.id});
    }
  }
  Op op;
  op.type = OpType::kOk;
  op.kind = OpKind::kTopics;
  op.process = pipe.NewProcess();
  op.topics = *topics;
  pipe.Write(op);
  return partitions;
}

bool AllRead(const Consumer& consumer, const OffsetMap& ends) {
  for (const auto& [tp, end] : ends) {
    const std::optional<Offset> position = consumer.position(tp);
    if (end > 0 && position.value_or(0) < end) return false;
  }
  return true;
}

void WriteAssign(const OffsetMap& begins, int64_t process, HistoryPipe& pipe) {
  Op op;
  op.kind = OpKind::kAssign;
  op.process = process;
  op.offsets = pipe.ToOffsets(begins);
  op.seeks = op.offsets;
  pipe.Write(op);
  op.type = OpType::kOk;
  pipe.Write(op);
}

// False: a poll failed or hung, and that was reported.
bool ReadToTheEnds(Consumer& consumer, const OffsetMap& ends, int64_t process, HistoryPipe& pipe) {
  while (!AllRead(consumer, ends)) {
    const StatusOr<RecordBatch> batch = consumer.Poll(kPatience);
    if (!batch.ok()) {
      pipe.Wrong(fmt::format("reading everything: {}", batch.status().ToString()));
      return false;
    }
    if (batch->empty()) {
      pipe.Wrong("reading everything: no record comes, but the end is not reached");
      return false;
    }
    Op op = pipe.ToOp(*batch);
    op.process = process;
    pipe.Write(op);
  }
  return true;
}

void WriteFinal(const OffsetMap& begins, const OffsetMap& ends, int64_t process,
                HistoryPipe& pipe) {
  Op final;
  final.type = OpType::kOk;
  final.kind = OpKind::kFinal;
  final.process = process;
  final.offsets = pipe.ToOffsets(ends);
  final.seeks = pipe.ToOffsets(begins);
  pipe.Write(final);
}

void ReadPartitions(const Client& client, const std::vector<TopicPartition>& partitions,
                    HistoryPipe& pipe) {
  // No topic was made yet: that, too, is a whole reading.
  if (partitions.empty()) return WriteFinal({}, {}, pipe.NewProcess(), pipe);
  StatusOr<Consumer> consumer = client.NewConsumer({.max_poll_records = 2'000});
  if (!consumer.ok())
    return pipe.Wrong(fmt::format("NewConsumer: {}", consumer.status().ToString()));
  const StatusOr<OffsetMap> begins = consumer->BeginningOffsets(partitions);
  const StatusOr<OffsetMap> ends = consumer->EndOffsets(partitions);
  Status status = consumer->Assign(partitions);
  if (status.ok()) status = consumer->SeekToBeginning();
  if (status.ok()) status = begins.status();
  if (status.ok()) status = ends.status();
  if (!status.ok()) return pipe.Wrong(fmt::format("assigning everything: {}", status.ToString()));

  const int64_t process = pipe.NewProcess();
  WriteAssign(*begins, process, pipe);
  if (!ReadToTheEnds(*consumer, *ends, process, pipe)) return;
  WriteFinal(*begins, *ends, process, pipe);
}

void ReadCommitted(const Client& client, std::string_view group,
                   const std::vector<TopicPartition>& partitions, HistoryPipe& pipe) {
  StatusOr<Consumer> consumer =
      client.NewConsumer({.group = std::string(group), .commits = Commits::kManual});
  if (!consumer.ok())
    return pipe.Wrong(fmt::format("NewConsumer: {}", consumer.status().ToString()));
  Op op;
  op.kind = OpKind::kCommitted;
  op.process = pipe.NewProcess();
  op.group = group;
  pipe.Write(op);
  const StatusOr<OffsetMap> committed = consumer->Committed(partitions);
  if (!committed.ok()) pipe.Wrong(fmt::format("Committed: {}", committed.status().ToString()));
  op.type = committed.ok() ? OpType::kOk : OpType::kFail;
  for (const TopicPartition& tp : partitions) {
    const bool known = committed.ok() && committed->contains(tp);
    op.offsets.push_back({pipe.KeyOf(tp), known ? committed->at(tp) : -1});
  }
  pipe.Write(op);
}

}  // namespace

void ReadEverything(const Client& client, HistoryPipe& pipe) {
  const std::vector<TopicPartition> partitions = AllPartitions(client, pipe);
  ReadPartitions(client, partitions, pipe);
  ReadCommitted(client, kWorkers, partitions, pipe);
  ReadCommitted(client, kAutomatic, partitions, pipe);
}

}  // namespace millrace::harness
