#include "workloads.h"

#include <map>
#include <utility>

#include "millrace/testing/manual_clock.h"

namespace millrace::oom {
namespace {

// What the calls are given, made before memory runs out.
const TopicPartition& Events() {
  static const auto* const partition = new TopicPartition{std::string(World::kTopic), 0};
  return *partition;
}
const std::vector<TopicPartition>& JustEvents() {
  static const auto* const partitions = new std::vector<TopicPartition>{Events()};
  return *partitions;
}
const OffsetMap& At(Offset offset) {
  static auto* const maps = new std::map<Offset, OffsetMap>;
  const auto [at, is_new] = maps->try_emplace(offset);
  if (is_new) at->second = {{Events(), offset}};
  return at->second;
}

void Advance(World& world, absl::Duration time) {
  static_cast<testing::ManualClock&>(*world.clock).Advance(time);
}

bool NewProducer(World& world, ProducerOptions options = {}) {
  auto made = world.client->NewProducer(std::move(options));
  if (world.Ok(made, "NewProducer")) world.producer.emplace(*std::move(made));
  return made.ok();
}

void Nothing(World&) {}

void OpenWithTopic(World& world) {
  world.Ok(world.Open(), "Open");
  world.CreateEvents();
}

void OpenWithRecords(World& world) {
  OpenWithTopic(world);
  NewProducer(world);
  world.SendByFuture(*world.producer, 0, 20);
  world.producer.reset();
}

// ---- the workloads

void OpenAndClose(World& world) {
  if (!world.Ok(world.Open(), "Open")) return;
  world.Ok(world.client->admin().CreateTopic(World::kTopic, {.partitions = 1}), "CreateTopic");
  world.Close();
}

void Produce(World& world) {
  if (!NewProducer(world)) return;
  world.SendByFuture(*world.producer, 0, 10);
  world.SendByCallback(*world.producer, 10, 20);
  world.SendTogether(*world.producer, 20, 40);
}

void PrepareLingering(World& world) {
  OpenWithTopic(world);
  NewProducer(world, {.linger = absl::Milliseconds(50), .compression = Compression::kLz4});
}

void ProduceLingering(World& world) {
  world.SendByCallback(*world.producer, 0, 10);
  world.SendByFuture(*world.producer, 10, 12);
  world.SendTogether(*world.producer, 12, 20);
  world.Ok(world.producer->Close(world.patience), "Producer::Close");
}

void PrepareConsume(World& world) {
  OpenWithRecords(world);
  auto made = world.client->NewConsumer(
      {.group = "readers", .commits = Commits::kManual, .max_poll_records = 7});
  world.Ok(made, "NewConsumer");
  world.consumer.emplace(*std::move(made));
  world.Ok(world.consumer->Subscribe({std::string(World::kTopic)}), "Subscribe");
}

void Note(World& world, Offset next) {
  if (next > world.told.committed) world.told.committed = next;
}

// Records may come twice, where the group went on without this member; none is passed over.
void NoteRead(World& world, const RecordBatch& batch) {
  for (const RecordView& record : batch) {
    if (record.offset() > world.told.next_read) ++world.told.odd_errors;
    world.told.next_read = record.offset() + 1;
  }
}

void Consume(World& world) {
  Consumer& consumer = *world.consumer;
  for (int polls = 0; polls < 6; ++polls) {
    const auto batch = consumer.Poll(absl::ZeroDuration());
    if (!world.Ok(batch, "Poll") || batch->empty()) continue;
    NoteRead(world, *batch);
    for (const RecordView& record : *batch) consumer.MarkDone(record);
    const Offset next = batch->slices().back().next_offset;
    if (world.Ok(consumer.Commit(world.patience), "Commit")) Note(world, next);
    const auto committed = consumer.CommitAsync().Get(world.patience);
    world.Ok(committed, "CommitAsync");
  }
  world.Ok(consumer.Committed(JustEvents()), "Committed");
  world.Ok(consumer.Lag(), "Lag");
  world.Ok(consumer.LagTime(), "LagTime");
  world.Ok(consumer.Close(world.patience), "Consumer::Close");
}

void PrepareAssigned(World& world) {
  OpenWithRecords(world);
  auto made = world.client->NewConsumer();
  world.Ok(made, "NewConsumer");
  world.consumer.emplace(*std::move(made));
  world.Ok(world.consumer->Assign(JustEvents()), "Assign");
  Events();
}

void Seek(World& world) {
  static const auto* const when =
      new std::map<TopicPartition, absl::Time>{{Events(), absl::FromUnixSeconds(1'700'000'000)}};
  Consumer& consumer = *world.consumer;
  world.Ok(consumer.Seek(Events(), 7), "Seek");
  world.Ok(consumer.Poll(absl::ZeroDuration()), "Poll");
  world.Ok(consumer.SeekToTime(absl::FromUnixSeconds(1'700'000'000), JustEvents()), "SeekToTime");
  world.Ok(consumer.Poll(absl::ZeroDuration()), "Poll");
  world.Ok(consumer.SeekToEnd(JustEvents()), "SeekToEnd");
  world.Ok(consumer.SeekToBeginning(JustEvents()), "SeekToBeginning");
  world.Ok(consumer.Pause(JustEvents()), "Pause");
  world.Ok(consumer.Resume(JustEvents()), "Resume");
  world.Ok(consumer.Poll(absl::ZeroDuration()), "Poll");
  world.Ok(consumer.BeginningOffsets(JustEvents()), "BeginningOffsets");
  world.Ok(consumer.EndOffsets(JustEvents()), "EndOffsets");
  world.Ok(consumer.OffsetsForTimes(*when), "OffsetsForTimes");
  static_cast<void>(consumer.assignment());
  static_cast<void>(consumer.position(Events()));
}

void Administer(World& world) {
  static const auto* const other = new TopicPartition{"a.topic.of.its.own", 0};
  static const auto* const others = new OffsetMap{{*other, 0}};
  Admin admin = world.client->admin();
  world.Ok(admin.CreateTopic(other->topic, {}, OnExists::kKeep), "CreateTopic");
  const bool exists = world.Ok(admin.DescribeTopic(World::kTopic), "DescribeTopic");
  world.Ok(admin.ListTopics(true), "ListTopics");
  if (!exists) return;
  world.Ok(admin.DescribeTopicConfig(World::kTopic), "DescribeTopicConfig");
  world.told.deleted_before = 5;
  world.told.asked_to_delete = true;
  world.Ok(admin.DeleteRecords(At(5)), "DeleteRecords");
  if (world.Ok(admin.AlterGroupOffsets("readers", At(9)), "AlterGroupOffsets")) Note(world, 9);
  world.Ok(admin.ListGroups(), "ListGroups");
  static_cast<void>(world.client->PrometheusText());
  static_cast<void>(world.broker->recovery());
  // What was not made cannot be found: only where it was.
  if (!admin.DescribeTopic(other->topic).ok()) return;
  world.Ok(admin.AddPartitions(other->topic, 3), "AddPartitions");
  world.Ok(admin.SetTopicConfig(other->topic, std::move(world.config)), "SetTopicConfig");
  if (world.Ok(admin.AlterGroupOffsets("others", *others), "AlterGroupOffsets")) {
    world.Ok(admin.DescribeGroup("others"), "DescribeGroup");
    world.Ok(admin.DeleteGroup("others"), "DeleteGroup");
  }
  world.Ok(admin.DeleteTopic(other->topic), "DeleteTopic");
}

void PrepareUpkeep(World& world) {
  OpenWithRecords(world);
  NewProducer(world);
  world.told.deleted_before = 20;
  world.Ok(world.client->admin().SetTopicConfig(World::kTopic, {{"retention.ms", "1000"}}),
           "SetTopicConfig");
  Advance(world, absl::Hours(1));
}

void Upkeep(World& world) {
  world.Ok(world.broker->RunMaintenance(), "RunMaintenance");
  world.SendByCallback(*world.producer, 20, 24);
  world.Ok(world.broker->Sync(), "Sync");
  world.Ok(world.broker->RunMaintenance(), "RunMaintenance");
  world.producer.reset();
  world.Close();
}

void PrepareClosed(World& world) {
  OpenWithRecords(world);
  world.Ok(world.client->admin().AlterGroupOffsets("readers", At(9)), "AlterGroupOffsets");
  Note(world, 9);
  world.Close();
  world.Drop();
}

void PrepareCrashed(World& world) {
  OpenWithRecords(world);
  world.Ok(world.client->admin().AlterGroupOffsets("readers", At(9)), "AlterGroupOffsets");
  Note(world, 9);
  world.Crash();
}

void Reopen(World& world) {
  if (!world.Ok(world.Open(), "Open") || !NewProducer(world)) return;
  world.SendByFuture(*world.producer, 20, 24);
  world.producer.reset();
  world.Close();
}

void Checkpoint(World& world) {
  world.Ok(world.broker->Checkpoint(world.checkpoint), "Checkpoint");
}

void OpenWatch(World& world) {
  if (world.Ok(world.Watch(), "Watch")) world.PollWatching();
}

// What the reader has not seen yet: records, segments that went, a topic.
void PrepareWatch(World& world) {
  OpenWithRecords(world);
  world.Ready();
  OpenWatch(world);
  NewProducer(world);
  world.SendByFuture(*world.producer, 20, 30);
  world.producer.reset();
  world.told.deleted_before = 10;
  world.told.asked_to_delete = true;
  world.Ok(world.client->admin().DeleteRecords(At(10)), "DeleteRecords");
  world.Ok(world.client->admin().CreateTopic("a.topic.that.came.later", {.partitions = 2}),
           "CreateTopic");
}

void Watch(World& world) {
  for (int looks = 0; looks < 3; ++looks) {
    world.Ok(world.watcher->RunMaintenance(), "RunMaintenance of a reader");
    world.PollWatching();
  }
}

// With the broker's threads and the callbacks' at work.
void ProduceAndConsume(World& world) {
  if (!NewProducer(world)) return;
  world.SendByCallback(*world.producer, 20, 40);
  const auto batch = world.consumer->Poll(absl::ZeroDuration());
  if (world.Ok(batch, "Poll") && !batch->empty()) {
    NoteRead(world, *batch);
    const Offset next = batch->slices().back().next_offset;
    if (world.Ok(world.consumer->Commit(world.patience), "Commit")) Note(world, next);
  }
  world.SendTogether(*world.producer, 40, 60);
}

constexpr Workload kWorkloads[] = {
    {"open", Nothing, OpenAndClose},
    {"produce", OpenWithTopic, Produce},
    {"produce-lingering", PrepareLingering, ProduceLingering},
    {"consume", PrepareConsume, Consume},
    {"seek", PrepareAssigned, Seek},
    {"admin", OpenWithRecords, Administer},
    {"upkeep", PrepareUpkeep, Upkeep},
    {"checkpoint", OpenWithRecords, Checkpoint},
    {"reopen", PrepareClosed, Reopen},
    {"recover", PrepareCrashed, Reopen},
    {"watch-open", OpenWithRecords, OpenWatch},
    {"watch", PrepareWatch, Watch},
    {"threads", PrepareConsume, ProduceAndConsume, 2, 16},
};

}  // namespace

std::span<const Workload> Workloads() { return kWorkloads; }

}  // namespace millrace::oom
