// The data directory of a whole broker, with topics, groups and producers, whose files the input
// edits: open, list, read all, append, close, reopen. Whatever the edits, it opens or refuses;
// every record that is read is the one that was written there; what is appended is there again; and
// who opens it for reading changes nothing.
//
// Input: edits (disk_edits.h).
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/byte_reader.h"
#include "broker/broker.h"
#include "fuzz/disk_edits.h"
#include "fuzz/fuzz.h"
#include "millrace/testing/manual_clock.h"
#include "record/batch_builder.h"
#include "record/record_reader.h"

namespace {

using namespace millrace;
using namespace millrace::broker;
using fuzz::Require;
using testing::SimulatedDisk;

constexpr std::string_view kTopic = "events";
constexpr int kPartitions = 2;
constexpr int kRecords = 12;
constexpr int kMaxPartitions = 20;  // of those that damaged metadata names

StatusOr<std::shared_ptr<Broker>> Open(std::shared_ptr<SimulatedDisk> disk,
                                       bool read_only = false) {
  Options options;
  options.directory = "d";
  options.read_only = read_only;
  options.background_threads = 0;
  options.scrub_bytes_per_second = 0;
  options.env = {.files = std::move(disk),
                 .clock = std::make_shared<testing::ManualClock>(absl::FromUnixMillis(2000)),
                 .random = testing::SeededRandom(1)};
  return Broker::Open(std::move(options));
}

size_t ValueBytes(Offset offset) { return static_cast<size_t>(offset) * 7 % 50; }

// One record; its time and size say its offset.
bool Append(Broker& broker, Partition& partition, Offset offset) {
  record::BatchBuilder builder(broker.buffers());
  const std::string value(ValueBytes(offset), 'x');
  builder.Append(1000 + offset, Bytes("key"), Bytes(value));
  const auto batch = builder.Finish();
  bool appended = false;
  const auto done = [&](const StatusOr<Appended>& result) {
    appended = result.ok() && result->base_offset == offset;
  };
  if (!batch.ok() || !partition.Append(*batch, {.caller_syncs = true}, done).ok()) return false;
  return partition.SyncTo(INT64_MAX).ok() && appended;
}

std::shared_ptr<SimulatedDisk> Original(bool clean) {
  auto disk = std::make_shared<SimulatedDisk>(1);
  auto broker = *Open(disk);
  Require(broker
              ->CreateTopic({.name = std::string(kTopic),
                             .partitions = kPartitions,
                             .config = {{"segment.bytes", "1048576"}, {"retention.ms", "-1"}}})
              .ok());
  OffsetMap next;
  for (int p = 0; p < kPartitions; ++p) {
    const auto partition = *broker->FindPartition(kTopic, p);
    for (Offset i = 0; i < kRecords; ++i) Require(Append(*broker, *partition, i));
    next[{std::string(kTopic), p}] = 5 + p;
  }
  Require(broker->AlterGroupOffsets("readers", next).ok());
  Require(broker->AlterConfig(kTopic, {{"max.message.bytes", "5000"}}).ok());
  if (!clean) disk = disk->PowerCut(1, testing::CutMode::kJournalled);
  Require(broker->Close(absl::Seconds(10)).ok());
  return disk->Clone();
}

void CheckBatches(std::span<const std::byte> rest) {
  while (!rest.empty()) {
    const auto header = record::ParseHeader(rest);
    Require(header.ok());
    const auto batch = rest.first(header->size_bytes());
    Require(record::CheckCrc(*header, batch).ok());
    record::RecordReader reader(*header, batch.subspan(record::kHeaderBytes));
    record::RecordFields record;
    Require(reader.Next(&record));
    Require(record.value.size() == ValueBytes(record.offset));
    // A topic may have been made one of log append times.
    Require(header->is_log_append_time() || record.timestamp_ms == 1000 + record.offset);
    rest = rest.subspan(batch.size());
  }
}

Offset BehindDamage(Partition& partition, Offset from) {
  const auto log = partition.log();
  if (!log.ok()) return from;
  for (const auto& d : (*log)->damage()) {
    if (from >= d.first_offset && from < d.end_offset) return d.end_offset;
  }
  return from;
}

// Reads on behind each damaged range.
void ReadAll(Partition& partition) {
  Offset from = partition.log_start();
  for (int rounds = 0; from < partition.high_watermark(); ++rounds) {
    Require(rounds < 10'000);
    const auto fetched = partition.Fetch(from, 1 << 16, ReadLevel::kUncommitted);
    if (fetched.ok() && !fetched->bytes.empty()) {
      if (partition.name().topic == kTopic) CheckBatches(fetched->bytes);
      Require(fetched->next_offset > from);
      from = fetched->next_offset;
      continue;
    }
    const Offset behind = BehindDamage(partition, from);
    if (behind == from) return;  // an error of another kind: reported
    from = behind;
  }
}

void LookAtGroups(Broker& broker) {
  const auto groups = broker.ListGroups();
  if (!groups.ok()) return;
  for (const auto& [name, state] : *groups) {
    broker.DescribeGroup(name).status().IgnoreError();
    broker.CommittedOffsets(name).status().IgnoreError();
  }
}

std::vector<std::shared_ptr<Partition>> AllPartitions(Broker& broker) {
  std::vector<std::shared_ptr<Partition>> all;
  const auto image = broker.metadata();
  for (const auto& [name, topic] : image->topics) {
    broker.DescribeConfig(name).status().IgnoreError();
    for (size_t p = 0; p < topic->partitions.size() && all.size() < kMaxPartitions; ++p) {
      auto partition = broker.FindPartition(name, static_cast<int32_t>(p));
      if (partition.ok()) all.push_back(*std::move(partition));
    }
  }
  return all;
}

void LookAtAll(Broker& broker) {
  for (const auto& partition : AllPartitions(broker)) {
    ReadAll(*partition);
    partition->FindTime(1005).status().IgnoreError();
    partition->FindMaxTimestamp().status().IgnoreError();
  }
  LookAtGroups(broker);
}

std::map<std::string, std::string> FilesOf(const SimulatedDisk& disk) {
  std::map<std::string, std::string> files;
  for (const std::string& path : disk.AllFiles()) files[path] = *disk.Peek(path);
  return files;
}

void OpenForReading(const std::shared_ptr<SimulatedDisk>& disk) {
  const auto before = FilesOf(*disk);
  if (const auto broker = Open(disk, /*read_only=*/true); broker.ok()) {
    LookAtAll(**broker);
    (*broker)->Close(absl::Seconds(10)).IgnoreError();
  }
  Require(FilesOf(*disk) == before);
}

// What was appended, by partition.
std::map<TopicPartition, Offset> AppendToAll(Broker& broker) {
  std::map<TopicPartition, Offset> appended;
  for (const auto& partition : AllPartitions(broker)) {
    if (partition->name().topic.starts_with("__")) continue;
    const Offset end = partition->log_end();
    if (!Append(broker, *partition, end)) continue;
    const auto fetched = partition->Fetch(end, 1, ReadLevel::kUncommitted);
    Require(fetched.ok() && fetched->next_offset == end + 1);
    appended[partition->name()] = end;
  }
  return appended;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto clean = Original(true);
  static const auto crashed = Original(false);
  ByteReader in({reinterpret_cast<const std::byte*>(data), size});
  const std::shared_ptr<SimulatedDisk> disk = (size % 2 == 0 ? clean : crashed)->Clone();
  for (int edits = 0; edits < 8 && in.remaining() >= 5; ++edits)
    fuzz::EditOneFile(*disk, in, /*mend=*/true);
  if (size % 4 < 2) OpenForReading(disk);
  auto broker = Open(disk);
  if (!broker.ok()) return 0;
  LookAtAll(**broker);
  const auto appended = AppendToAll(**broker);
  (*broker)->RunMaintenance().IgnoreError();
  (*broker)->Close(absl::Seconds(10)).IgnoreError();
  broker = Open(disk);
  Require(broker.status());
  for (const auto& [name, offset] : appended) {
    const auto partition = (*broker)->FindPartition(name.topic, name.partition);
    Require(partition.status());
    Require((*partition)->Fetch(offset, 1, ReadLevel::kUncommitted).status());
    Require((*partition)->high_watermark() == offset + 1);
  }
  (*broker)->Close(absl::Seconds(10)).IgnoreError();
  return 0;
}
