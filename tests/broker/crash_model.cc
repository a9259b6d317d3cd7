#include "crash_model.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "record/for_each_record.h"

namespace millrace::broker {
namespace {

constexpr absl::Duration kCloseTimeout = absl::Seconds(5);

Options OptionsFor(Machine& machine, FlushPolicy flush) {
  Options options = machine.options();
  options.flush = flush;
  return options;
}

// One record of a log as it is read back.
struct Seen {
  Offset offset = 0;
  std::string value;
};

StatusOr<std::vector<Seen>> ReadAll(Partition& partition) {
  std::vector<Seen> seen;
  BufferPool pool;
  Offset from = partition.log_start();
  while (true) {
    auto fetched = partition.Fetch(from, 1 << 20, ReadLevel::kCommitted);
    if (!fetched.ok()) return fetched.status();
    if (fetched->bytes.empty()) return seen;
    const Status walked =
        record::ForEachRecord(fetched->bytes, 1 << 28, pool, [&](const auto& fields) {
          if (fields.offset >= from)
            seen.push_back({fields.offset, std::string(fields.value.str())});
          return absl::OkStatus();
        });
    if (!walked.ok()) return walked;
    from = fetched->next_offset;
  }
}

}  // namespace

Journal::Topic* Journal::Newest(const std::string& name) {
  const auto it = std::find_if(topics.rbegin(), topics.rend(),
                               [&](const Topic& topic) { return topic.name == name; });
  return it == topics.rend() ? nullptr : &*it;
}

// ---- the driver

BrokerDriver::BrokerDriver(std::shared_ptr<testing::SimulatedDisk> disk, FlushPolicy flush,
                           uint64_t seed)
    : flush_(flush), seed_(seed) {
  machine_.disk = std::move(disk);
  machine_.random = testing::SeededRandom(seed);
}

BrokerDriver::~BrokerDriver() { Drop(); }

bool BrokerDriver::Open() {
  auto opened = Broker::Open(OptionsFor(machine_, flush_));
  if (opened.ok()) broker_ = *std::move(opened);
  return broker_ != nullptr;
}

void BrokerDriver::Drop() {
  if (broker_ == nullptr) return;
  // Whatever closing does comes after the cut.
  if (!machine_.disk->frozen()) machine_.disk->FreezeAt(machine_.disk->calls() + 1);
  broker_->Close(kCloseTimeout).IgnoreError();
  broker_ = nullptr;
  pending_.clear();
}

void BrokerDriver::Close() {
  if (broker_ == nullptr) return;
  const Status closed = broker_->Close(kCloseTimeout);
  Harvest();
  if (closed.ok()) {
    for (Journal::Topic& topic : journal_.topics) {
      for (auto& [partition, log] : topic.logs) log.durable = log.answered;
    }
  }
  broker_ = nullptr;
  pending_.clear();
}

void BrokerDriver::Create(const std::string& topic, int32_t partitions, ConfigMap config) {
  if (broker_ == nullptr) return;
  CreateTopicRequest request;
  request.name = topic;
  request.partitions = partitions;
  request.config = config;
  const Status status = broker_->CreateTopic(request);
  if (ErrorIdOf(status) == ErrorId::kTopicExists) return;
  Journal::Topic entry;
  entry.name = topic;
  entry.created = status.ok();
  entry.partitions = entry.partitions_asked = partitions;
  const auto retention = config.find("retention.ms");
  entry.retention = {retention == config.end() ? "" : retention->second};
  journal_.topics.push_back(std::move(entry));
}

void BrokerDriver::Delete(const std::string& topic) {
  Journal::Topic* entry = journal_.Newest(topic);
  if (broker_ == nullptr || entry == nullptr) return;
  entry->delete_asked = true;
  entry->deleted = broker_->DeleteTopic(topic).ok();
  for (auto& [key, allowed] : journal_.committed) {
    if (key.second.topic != topic) continue;
    if (entry->deleted) allowed.clear();
    allowed.insert(-1);
  }
}

void BrokerDriver::Grow(const std::string& topic, int32_t total) {
  Journal::Topic* entry = journal_.Newest(topic);
  if (broker_ == nullptr || entry == nullptr) return;
  entry->partitions_asked = std::max(entry->partitions_asked, total);
  if (broker_->AddPartitions(topic, total).ok()) entry->partitions = total;
}

void BrokerDriver::Alter(const std::string& topic, const std::string& retention_ms) {
  Journal::Topic* entry = journal_.Newest(topic);
  if (broker_ == nullptr || entry == nullptr) return;
  if (broker_->AlterConfig(topic, {{"retention.ms", retention_ms}}).ok()) entry->retention.clear();
  entry->retention.insert(retention_ms);
}

void BrokerDriver::AlterEverything(const std::string& topic) {
  Journal::Topic* entry = journal_.Newest(topic);
  if (broker_ == nullptr || entry == nullptr) return;
  std::map<std::string, std::optional<std::string>> changes;
  for (const ConfigDefinition& row : TopicConfigTable()) {
    changes[std::string(row.name)] = std::string(row.default_value);
  }
  if (broker_->AlterConfig(topic, changes).ok()) entry->retention.clear();
  entry->retention.insert(*changes["retention.ms"]);
}

uint64_t BrokerDriver::MetadataLogBytes() {
  uint64_t bytes = 0;
  for (const std::string& path : machine_.disk->AllFiles()) {
    if (path.find("__cluster_metadata-0/") == std::string::npos || !path.ends_with(".log"))
      continue;
    const auto info = machine_.disk->Stat(path);
    if (info.ok()) bytes += info->size_bytes;
  }
  return bytes;
}

void BrokerDriver::AppendLater(const std::string& topic, int32_t partition, size_t bytes) {
  Journal::Topic* entry = journal_.Newest(topic);
  if (broker_ == nullptr || entry == nullptr) return;
  const auto found = broker_->FindPartition(topic, partition);
  if (!found.ok()) return;
  std::string value = fmt::format("{}-{} value {} ", topic, partition, next_value_++);
  value.resize(std::max(value.size(), bytes), '.');
  entry->logs[partition].asked.insert(value);
  pending_.push_back({.topic = topic,
                      .partition = partition,
                      .value = value,
                      .epoch = (*found)->leader_epoch(),
                      .answer = broker::AppendLater(*broker_, **found, {value})});
  Harvest();
}

void BrokerDriver::Append(const std::string& topic, int32_t partition, size_t bytes) {
  AppendLater(topic, partition, bytes);
  if (broker_ == nullptr) return;
  const auto found = broker_->FindPartition(topic, partition);
  if (found.ok() && flush_ == FlushPolicy::kEachBatch) (*found)->SyncTo(INT64_MAX).IgnoreError();
  Harvest();
}

void BrokerDriver::Harvest() {
  for (const Pending& append : pending_) {
    if (!append.answer->given() || !append.answer->result->ok()) continue;
    Journal::Topic* topic = journal_.Newest(append.topic);
    Journal::Log& log = topic->logs[append.partition];
    const Offset offset = (*append.answer->result)->base_offset;
    log.answered[offset] = append.value;
    if (flush_ == FlushPolicy::kEachBatch) log.durable[offset] = append.value;
    log.epoch_used = std::max(log.epoch_used.value_or(0), append.epoch);
  }
  std::erase_if(pending_, [](const Pending& append) { return append.answer->given(); });
}

void BrokerDriver::Maintain(absl::Duration after) {
  if (broker_ == nullptr) return;
  machine_.clock->Advance(after);
  broker_->RunMaintenance().IgnoreError();
  Harvest();
}

void BrokerDriver::SyncAll() {
  if (broker_ == nullptr) return;
  const bool synced = broker_->Sync().ok();
  Harvest();
  if (!synced) return;
  for (Journal::Topic& topic : journal_.topics) {
    for (auto& [partition, log] : topic.logs) log.durable = log.answered;
  }
}

void BrokerDriver::Read(const std::string& topic, int32_t partition) {
  Journal::Topic* entry = journal_.Newest(topic);
  if (broker_ == nullptr || entry == nullptr) return;
  const auto found = broker_->FindPartition(topic, partition);
  if (!found.ok()) return;
  const auto seen = ReadAll(**found);
  if (!seen.ok()) return;
  Journal::Log& log = entry->logs[partition];
  for (const Seen& record : *seen) {
    log.answered[record.offset] = record.value;
    if (flush_ == FlushPolicy::kEachBatch) log.durable[record.offset] = record.value;
  }
}

void BrokerDriver::DeleteBefore(const std::string& topic, int32_t partition, Offset offset) {
  Journal::Topic* entry = journal_.Newest(topic);
  if (broker_ == nullptr || entry == nullptr) return;
  Journal::Log& log = entry->logs[partition];
  log.start_asked = std::max(log.start_asked, offset);
  if (broker_->DeleteRecords({{{topic, partition}, offset}}).ok()) {
    log.start_answered = std::max(log.start_answered, offset);
  }
}

void BrokerDriver::Retain(const std::string& topic, int32_t partition) {
  Journal::Topic* entry = journal_.Newest(topic);
  if (broker_ == nullptr || entry == nullptr) return;
  const auto found = broker_->FindPartition(topic, partition);
  if (!found.ok()) return;
  Journal::Log& log = entry->logs[partition];
  log.start_asked = std::max(log.start_asked, (*found)->log_end());
}

void BrokerDriver::Commit(const std::string& group, const std::string& topic, Offset offset,
                          bool durable, size_t metadata_bytes) {
  if (broker_ == nullptr) return;
  coordinator::OffsetCommit commit;
  commit.group = group;
  commit.offsets[{topic, 0}].offset = offset;
  commit.offsets[{topic, 0}].metadata = std::string(metadata_bytes, 'm');
  const Status status = CommitOffsets(*broker_, commit, durable);
  auto& allowed = journal_.committed[{group, {topic, 0}}];
  if (allowed.empty()) allowed.insert(-1);
  // One that is refused for its offset was never taken.
  if (ErrorIdOf(status) == ErrorId::kOffsetOutOfRange) return;
  if (status.ok() && durable) allowed.clear();
  allowed.insert(offset);
}

// ---- the checker

namespace {

class Checker {
 public:
  Checker(Broker& broker, const Journal& journal, bool power_was_cut)
      : broker_(broker), journal_(journal), power_(power_was_cut) {}

  Finding Run() {
    std::set<std::string> names;
    for (const Journal::Topic& topic : journal_.topics) names.insert(topic.name);
    for (const std::string& name : names) CheckName(name);
    for (const auto& [name, topic] : broker_.metadata()->topics) {
      if (!names.contains(name) && !topic->internal) Wrong(fmt::format("topic {} is there", name));
    }
    CheckCommits();
    return found_;
  }

 private:
  void Lost(const std::string& what) { Add(true, what); }
  void Wrong(const std::string& what) { Add(false, what); }
  void Add(bool lost, const std::string& what) {
    if (found_.ok()) found_ = {.lost = lost, .what = what};
  }

  // Of the topics that had this name at most one is there: the newest that may be.
  void CheckName(const std::string& name) {
    std::vector<const Journal::Topic*> of_name;
    for (const Journal::Topic& topic : journal_.topics) {
      if (topic.name == name) of_name.push_back(&topic);
    }
    const auto image = broker_.metadata();
    const auto there = image->topics.find(name);
    const Journal::Topic& newest = *of_name.back();
    if (there == image->topics.end()) {
      if (newest.created && !newest.delete_asked) Lost(fmt::format("topic {} is gone", name));
      return;
    }
    // An older one is possible only where the newer may never have come to be.
    Finding mismatch;
    for (auto it = of_name.rbegin(); it != of_name.rend(); ++it) {
      if ((*it)->deleted) continue;
      const Finding before = std::exchange(found_, Finding{});
      CheckTopic(**it, *there->second);
      mismatch = std::exchange(found_, before);
      if (mismatch.ok()) return;
      if ((*it)->created) break;
    }
    if (mismatch.ok()) return Wrong(fmt::format("topic {} was deleted and is there", name));
    Add(mismatch.lost, mismatch.what);
  }

  void CheckTopic(const Journal::Topic& topic, const TopicImage& image) {
    const auto count = static_cast<int32_t>(image.partitions.size());
    if (count < topic.partitions) {
      Lost(fmt::format("{} has {} partitions of {}", topic.name, count, topic.partitions));
    }
    if (count > topic.partitions_asked) {
      Wrong(fmt::format("{} has {} partitions", topic.name, count));
    }
    const auto retention = image.config.find("retention.ms");
    const std::string value = retention == image.config.end() ? "" : retention->second;
    if (!topic.retention.contains(value)) {
      Lost(fmt::format("{} has retention.ms \"{}\"", topic.name, value));
    }
    for (const auto& [partition, log] : topic.logs) CheckLog(topic.name, partition, log);
  }

  void CheckLog(const std::string& topic, int32_t number, const Journal::Log& log) {
    const std::string name = fmt::format("{}-{}", topic, number);
    const auto partition = broker_.FindPartition(topic, number);
    if (!partition.ok()) {
      if (!log.answered.empty()) Lost(partition.status().ToString());
      return;
    }
    const auto seen = ReadAll(**partition);
    if (!seen.ok()) return Lost(fmt::format("{}: {}", name, seen.status().ToString()));
    const Offset start = (*partition)->log_start();
    if (start < log.start_answered) Lost(fmt::format("{} begins at {} again", name, start));
    if (start > log.start_asked) Lost(fmt::format("{} begins at {}", name, start));
    std::map<Offset, std::string> there;
    Offset expected = start;
    std::set<std::string> values;
    for (const Seen& record : *seen) {
      if (record.offset != expected++) Wrong(fmt::format("{}: offset {}", name, record.offset));
      if (!log.asked.contains(record.value) || !values.insert(record.value).second) {
        Wrong(fmt::format("{}: \"{}\" at {}", name, record.value, record.offset));
      }
      there[record.offset] = record.value;
    }
    for (const auto& [offset, value] : power_ ? log.durable : log.answered) {
      if (offset < start) continue;
      const auto it = there.find(offset);
      if (it == there.end()) {
        Lost(fmt::format("{}: offset {} is gone; the log is [{}, {})", name, offset, start,
                         (*partition)->high_watermark()));
      } else if (it->second != value) {
        Wrong(fmt::format("{}: \"{}\" became \"{}\"", name, value, it->second));
      }
    }
    if (log.epoch_used.has_value() && !was_closed_ &&
        (*partition)->leader_epoch() <= *log.epoch_used) {
      Wrong(fmt::format("{}: epoch {} again", name, *log.epoch_used));
    }
  }

  void CheckCommits() {
    for (const auto& [key, allowed] : journal_.committed) {
      const auto& [group, tp] = key;
      const auto committed = broker_.CommittedOffsets(group);
      if (!committed.ok()) return Lost(committed.status().ToString());
      const auto it = committed->find(tp);
      const Offset offset = it == committed->end() ? -1 : it->second.offset;
      if (!allowed.contains(offset)) {
        Lost(fmt::format("group {} has committed {} of {}-{}", group, offset, tp.topic,
                         tp.partition));
      }
    }
  }

 public:
  bool was_closed_ = false;

 private:
  Broker& broker_;
  const Journal& journal_;
  const bool power_;
  Finding found_;
};

}  // namespace

Finding CheckDisk(std::shared_ptr<testing::SimulatedDisk> disk, const Journal& journal,
                  FlushPolicy flush, bool power_was_cut) {
  Machine machine;
  machine.disk = std::move(disk);
  const bool clean = machine.disk->Stat("data/millrace/manifest").ok();
  auto opened = Broker::Open(OptionsFor(machine, flush));
  if (!opened.ok()) return {.lost = true, .what = opened.status().ToString()};
  Broker& broker = **opened;
  Checker checker(broker, journal, power_was_cut);
  checker.was_closed_ = clean;
  Finding found = checker.Run();
  if (!found.ok()) return found;
  // It goes on as if nothing had been.
  CreateTopicRequest request;
  request.name = "afterwards";
  if (const Status made = broker.CreateTopic(request); !made.ok()) {
    return {.what = made.ToString()};
  }
  for (const auto& [name, topic] : broker.metadata()->topics) {
    if (topic->internal) continue;
    const auto partition = broker.FindPartition(name, 0);
    if (!partition.ok()) return {.what = partition.status().ToString()};
    const auto appended = Append(broker, **partition, {"afterwards"}, {.sync = true});
    if (!appended.ok()) return {.what = appended.status().ToString()};
    const auto values = ReadAll(**partition);
    if (!values.ok()) return {.what = values.status().ToString()};
    if (values->empty() || values->back().value != "afterwards") {
      return {.what = fmt::format("{}: what is appended afterwards is not read", name)};
    }
  }
  const Status closed = broker.Close(kCloseTimeout);
  return closed.ok() ? Finding{} : Finding{.what = closed.ToString()};
}

}  // namespace millrace::broker
