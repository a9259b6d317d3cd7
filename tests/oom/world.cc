#include "world.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iostream>
#include <set>
#include <utility>

#include "millrace/testing/manual_clock.h"

namespace millrace::oom {
namespace {

// Time goes on when somebody waits for it.
class WaitedForClock : public testing::ManualClock {
 public:
  WaitedForClock() : ManualClock(absl::FromUnixSeconds(1'700'000'000)) {}
  void WaitUntil(std::condition_variable& cv, std::unique_lock<std::mutex>& lock,
                 absl::Duration deadline) override {
    if (deadline == absl::InfiniteDuration()) return ManualClock::WaitUntil(cv, lock, deadline);
    PassUntil(deadline);
  }
  absl::Duration SleepFor(absl::Duration deadline) override {
    if (deadline == absl::InfiniteDuration()) return ManualClock::SleepFor(deadline);
    PassUntil(deadline);
    return absl::ZeroDuration();
  }

 private:
  void PassUntil(absl::Duration deadline) {
    if (const absl::Duration left = deadline - Elapsed(); left > absl::ZeroDuration())
      Advance(left);
  }
};

using Record = Told::Record;

struct Keys {
  std::array<std::string, Told::kMost> keys, values;
  Keys() {
    for (int i = 0; i < Told::kMost; ++i) {
      keys[i] = std::to_string(i);
      // Some fill a segment soon, some share a batch.
      values[i] = std::string(i % 4 == 0 ? 3000 : 10 + i, static_cast<char>('a' + i % 26));
    }
  }
};
const Keys& AllKeys() {
  static const auto* const keys = new Keys;
  return *keys;
}

ProducerRecord RecordOf(int id) {
  return {.topic = World::kTopic, .partition = 0, .key = World::Key(id), .value = World::Value(id)};
}

const TopicPartition& Events() {
  static const auto* const events = new TopicPartition{std::string(World::kTopic), 0};
  return *events;
}

void Say(std::string_view what, const Status& status = absl::OkStatus()) {
  std::cerr << "  " << what;
  if (!status.ok()) std::cerr << ": " << status;
  std::cerr << "\n";
}

// What the directory answers once it has failed, and what follows from that.
bool HasStopped(const Status& status) {
  const auto detail = DetailOf(status);
  return detail.has_value() && detail->fatal;
}

}  // namespace

std::string_view World::Key(int id) { return AllKeys().keys[static_cast<size_t>(id)]; }
std::string_view World::Value(int id) { return AllKeys().values[static_cast<size_t>(id)]; }

World::World(std::string dir, int background_threads)
    : directory(std::move(dir)),
      checkpoint(directory + ".checkpoint"),
      clock(background_threads > 0 ? Clock::Real() : std::make_shared<WaitedForClock>()),
      patience(background_threads > 0 ? absl::Milliseconds(300) : absl::Seconds(10)),
      background_threads_(background_threads) {
  AllKeys();
  Ready();
}

void World::Ready() {
  options_ = {};
  options_.directory = directory;
  options_.background_threads = background_threads_;
  options_.env.clock = clock;
  if (background_threads_ == 0) options_.env.random = testing::SeededRandom(1);
  options_.client.log_level = LogLevel::kOff;
  options_.client.close_timeout = patience;
  events_ = {.partitions = 1, .segment_bytes = 8192, .config = {{"file.delete.delay.ms", "0"}}};
  config = {{"retention.ms", "100000"}};
  to_watch_ = {Events()};
}

Status World::Watch() {
  options_.read_only = true;
  auto opened = Broker::Open(std::move(options_));
  if (!opened.ok()) return opened.status();
  watcher.emplace(*std::move(opened));
  auto made = watcher->client().NewConsumer();
  if (!made.ok()) return made.status();
  if (Status assigned = made->Assign(std::move(to_watch_)); !assigned.ok()) return assigned;
  watching.emplace(*std::move(made));
  return absl::OkStatus();
}

void World::PollWatching() {
  const auto batch = watching->Poll(absl::ZeroDuration());
  if (!Ok(batch, "Poll of a reader")) return;
  for (const RecordView& record : *batch) {
    if (record.offset() != told.next_read) ++told.odd_errors;
    told.next_read = record.offset() + 1;
  }
}

Status World::Open() {
  auto opened = Broker::Open(std::move(options_));
  if (!opened.ok()) return opened.status();
  broker.emplace(*std::move(opened));
  client.emplace(broker->client());
  return absl::OkStatus();
}

void World::Close() {
  if (broker.has_value()) told.closed = broker->Close(patience).ok();
}

void World::Drop() {
  watching.reset();
  watcher.reset();
  consumer.reset();
  producer.reset();
  client.reset();
  broker.reset();
}

void World::Crash() {
  const std::string copy = directory + ".crashed";
  std::filesystem::remove_all(copy);
  std::filesystem::copy(directory, copy, std::filesystem::copy_options::recursive);
  Drop();
  std::filesystem::remove_all(directory);
  std::filesystem::rename(copy, directory);
}

void World::CreateEvents() {
  Ok(client->admin().CreateTopic(kTopic, std::move(events_)), "CreateTopic");
}

bool World::Ok(const Status& status, std::string_view what) {
  if (status.ok()) return true;
  ++told.errors;
  // Everything else is an error for another reason than the one there is.
  const bool expected =
      absl::IsResourceExhausted(status) || absl::IsDeadlineExceeded(status) || HasStopped(status);
  if (!expected) {
    Say(what, status);
    ++told.odd_errors;
  }
  return false;
}

void World::SendByFuture(Producer& to, int first, int end) {
  for (int id = first; id < end; ++id) {
    told.records[id] = Record::kUnknown;
    const auto delivered = to.Send(RecordOf(id)).Get(patience);
    if (Ok(delivered, "Send")) told.records[id] = Record::kDelivered;
  }
}

void World::SendByCallback(Producer& to, int first, int end) {
  for (int id = first; id < end; ++id) {
    told.records[id] = Record::kUnknown;
    const Status accepted = to.Send(RecordOf(id), [this, id](const StatusOr<Delivery>& delivered) {
      ++told.called_callbacks;
      if (Ok(delivered, "a delivery")) told.records[id] = Record::kDelivered;
    });
    if (Ok(accepted, "Send with a callback"))
      ++told.accepted_callbacks;
    else
      told.records[id] = Record::kRefused;
  }
  Ok(to.Flush(patience), "Flush");
}

void World::SendTogether(Producer& to, int first, int end) {
  std::array<ProducerRecord, Told::kMost> records;
  for (int id = first; id < end; ++id) {
    told.records[id] = Record::kUnknown;
    records[id - first] = RecordOf(id);
  }
  const auto answers = to.SendAll(std::span(records).first(end - first));
  for (int id = first; id < end; ++id) {
    if (answers.empty())
      told.records[id] = Record::kRefused;
    else if (Ok(answers[id - first], "SendAll"))
      told.records[id] = Record::kDelivered;
  }
}

// ---- what must hold

namespace {

// The ids in the topic, in their order; a record that nobody sent is wrong.
std::vector<int> Read(Client& client, int* wrong) {
  std::vector<int> ids;
  const std::vector<std::string> topics = *client.admin().ListTopics();
  if (std::ranges::find(topics, World::kTopic) == topics.end()) return ids;
  auto consumer = client.NewConsumer();
  const TopicPartition& events = Events();
  if (!consumer.ok() || !consumer->Assign({events}).ok() || !consumer->SeekToBeginning().ok()) {
    Say("the topic cannot be read");
    ++*wrong;
    return ids;
  }
  const auto end = consumer->EndOffsets({events});
  for (int polls = 0; polls < 1000; ++polls) {
    const auto batch = consumer->Poll(absl::ZeroDuration());
    if (!batch.ok()) {
      Say("Poll with memory enough", batch.status());
      ++*wrong;
      break;
    }
    for (const RecordView& record : *batch) {
      const std::string_view key = record.key().str();
      int id = -1;
      std::from_chars(key.data(), key.data() + key.size(), id);
      if (id < 0 || id >= Told::kMost || record.value().str() != World::Value(id)) {
        Say("a record that was not sent");
        ++*wrong;
      } else {
        ids.push_back(id);
      }
    }
    if (end.ok() && consumer->position(events) == end->at(events)) break;
  }
  return ids;
}

void Compare(const World& world, const std::vector<int>& ids, int* wrong, int* lost) {
  const std::set<int> found(ids.begin(), ids.end());
  if (!std::ranges::is_sorted(ids) || found.size() != ids.size()) {
    Say("records out of order, or twice");
    ++*wrong;
  }
  int64_t offset = 0;
  for (int id = 0; id < Told::kMost; ++id) {
    const Record told = world.told.records[id];
    const bool is_there = found.contains(id);
    if (told == Record::kDelivered && !is_there && offset >= world.told.deleted_before) {
      Say("lost record " + std::to_string(id));
      ++*lost;
    }
    if ((told == Record::kRefused || told == Record::kUnsent) && is_there) {
      Say("record " + std::to_string(id) + " was refused and is there");
      ++*wrong;
    }
    if (told == Record::kDelivered || is_there) ++offset;
  }
}

}  // namespace

namespace {

// What the group "readers" has committed; -1: nothing.
StatusOr<Offset> Committed(Client& client) {
  auto readers = client.NewConsumer({.group = "readers"});
  if (!readers.ok()) return readers.status();
  const auto committed = readers->Committed({Events()});
  if (!committed.ok()) return committed.status();
  const auto found = committed->find(Events());
  return found == committed->end() ? -1 : found->second;
}

}  // namespace

bool GoesOn(World& world, int* wrong, int* lost) {
  constexpr int kNew = 120;
  const Status usable = world.broker->Sync();
  if (HasStopped(usable)) return DetailOf(usable)->name == "directory_failed";
  const auto check = [&](const Status& status, std::string_view what) {
    if (status.ok()) return true;
    Say(what, status);
    ++*wrong;
    return false;
  };
  if (!check(usable, "Sync with memory enough")) return false;
  if (world.producer.has_value()) {
    const Status flushed = world.producer->Flush(absl::Seconds(60));
    if (!HasStopped(flushed)) check(flushed, "Flush with memory enough");  // it may be closed
    if (world.producer->buffered_records() != 0) {
      Say("records without an answer");
      ++*wrong;
    }
  }
  const Status made =
      world.client->admin().CreateTopic(World::kTopic, {.partitions = 1}, OnExists::kKeep);
  check(made, "CreateTopic with memory enough");
  // What is seen after a Sync must not go back.
  const auto committed = Committed(*world.client);
  if (check(committed.status(), "Committed with memory enough"))
    world.told.committed = std::max<int64_t>(world.told.committed, *committed);
  if (world.told.asked_to_delete &&
      check(world.client->admin().DeleteRecords({{Events(), world.told.deleted_before}}),
            "DeleteRecords with memory enough"))
    world.told.log_start = world.told.deleted_before.load();
  auto producer = world.client->NewProducer();
  if (!check(producer.status(), "NewProducer with memory enough")) return false;
  for (int id = kNew; id < kNew + 2; ++id) {
    world.told.records[id] = Record::kUnknown;
    const auto sent = producer->Send(RecordOf(id)).Get(absl::Seconds(60));
    if (check(sent.status(), "Send with memory enough"))
      world.told.records[id] = Record::kDelivered;
  }
  check(producer->Close(absl::Seconds(60)), "closing the producer with memory enough");
  Compare(world, Read(*world.client, wrong), wrong, lost);
  check(world.broker->RunMaintenance(), "RunMaintenance with memory enough");
  return false;
}

void WatchesOn(World& world, int* wrong, int* lost) {
  Client client = world.watcher->client();
  const Status followed = world.watcher->RunMaintenance();
  const auto seen = client.admin().ListTopics();
  const auto written = world.client->admin().ListTopics();
  if (!followed.ok() || !seen.ok() || !written.ok() || *seen != *written) {
    Say("a reader does not see every topic", followed);
    ++*wrong;
  }
  Compare(world, Read(client, wrong), wrong, lost);
  if (!world.watching.has_value()) return;
  const auto end = world.watching->EndOffsets({Events()});
  for (int polls = 0; polls < 100 && end.ok() && world.told.next_read < end->at(Events()); ++polls)
    world.PollWatching();
  if (!end.ok() || world.told.next_read != end->at(Events())) {
    Say("a reader does not go on", end.status());
    ++*wrong;
  }
}

void Verify(World& world, int* wrong, int* lost) {
  world.Ready();
  if (const Status opened = world.Open(); !opened.ok()) {
    Say("does not open again", opened);
    ++*lost;
    return;
  }
  for (const RecoveryInfo& info : world.broker->recovery()) {
    if (info.damage.empty()) continue;
    Say("damage: " + info.damage.front());
    ++*wrong;
  }
  Compare(world, Read(*world.client, wrong), wrong, lost);
  if (world.told.committed >= 0) {
    const auto committed = Committed(*world.client);
    if (!committed.ok() || *committed < world.told.committed) {
      Say("lost a commit", committed.status());
      ++*lost;
    }
  }
  if (world.told.log_start > 0) {
    const auto topic = world.client->admin().DescribeTopic(World::kTopic);
    if (!topic.ok() || topic->partitions.at(0).begin < world.told.log_start) {
      Say("deleted records are there again", topic.status());
      ++*wrong;
    }
  }
  world.Drop();
}

}  // namespace millrace::oom
