#include "checks.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "millrace/testing/manual_clock.h"
#include "reading.h"

namespace demo {

using millrace::Status;

Expectation::Expectation(std::vector<Event> events)
    : events_(std::move(events)), by_partition_(kPartitions) {
  for (size_t i = 0; i < events_.size(); ++i)
    by_partition_[static_cast<size_t>(PartitionOf(events_[i].package))].push_back(i);
}

const Event& Expectation::At(int32_t partition, millrace::Offset offset) const {
  return events_[by_partition_[static_cast<size_t>(partition)][static_cast<size_t>(offset)]];
}

Expectation::Part Expectation::From(const std::vector<millrace::Offset>& begin) const {
  Part part;
  for (size_t partition = 0; partition < by_partition_.size(); ++partition) {
    const auto& indexes = by_partition_[partition];
    for (auto i = static_cast<size_t>(begin[partition]); i < indexes.size(); ++i) {
      ++part.count;
      part.states[events_[indexes[i]].package].Apply(events_[indexes[i]]);
    }
  }
  return part;
}

Expectation::Part Expectation::All() const {
  return From(std::vector<millrace::Offset>(kPartitions, 0));
}

Expectation::Part Expectation::Since(absl::Time time) const {
  std::vector<millrace::Offset> begin;
  for (const auto& indexes : by_partition_) {
    const auto first = std::find_if(indexes.begin(), indexes.end(),
                                    [&](size_t i) { return events_[i].time >= time; });
    begin.push_back(first - indexes.begin());
  }
  return From(begin);
}

absl::Time Expectation::TimeAt(double fraction) const {
  const auto index = static_cast<size_t>(fraction * static_cast<double>(events_.size()));
  return events_[std::min(index, events_.size() - 1)].time;
}

Status CheckLog(const millrace::Client& client, const Expectation& expected) {
  int64_t count = 0;
  for (int32_t partition = 0; partition < kPartitions; ++partition) {
    const Status read =
        ReadPartition(client, {kTopic, partition}, [&](const millrace::RecordView& record) {
          if (++count > expected.count())
            return Expect("events in the log", count, expected.count());
          const Event& event = expected.At(partition, record.offset());
          if (record.value().str() == event.line && record.key().str() == event.package)
            return absl::OkStatus();
          return absl::InternalError(fmt::format("{}-{} at {} holds '{}', not '{}'", kTopic,
                                                 partition, record.offset(), record.value().str(),
                                                 event.line));
        });
    if (!read.ok()) return read;
  }
  return Expect("events in the log", count, expected.count());
}

Status CheckWorkersState(const millrace::Client& client, const Expectation& expected) {
  States states;
  for (int32_t partition = 0; partition < kPartitions; ++partition) {
    const Status read =
        ReadPartition(client, {kStateTopic, partition}, [&](const millrace::RecordView& record) {
          auto state = Decode(record.value().str());
          if (state.ok()) states[std::string(record.key().str())] = *std::move(state);
          return state.status();
        });
    if (!read.ok()) return read;
  }
  int64_t events = 0;
  for (const auto& [package, state] : states) events += state.events;
  if (Status s = Expect("events in the state", events, expected.count()); !s.ok()) return s;
  const Status same = ExpectSame("the workers' state", states, expected.All().states);
  if (!same.ok()) return same;

  const auto group = client.admin().DescribeGroup("workers");
  if (!group.ok()) return group.status();
  int64_t lag = 0;
  for (const auto& [partition, records] : group->lag) lag += records;
  return Expect("events that the workers have not committed", lag, 0);
}

namespace {

// Begins at a point in time instead of at the beginning.
class SeekOnAssignment : public millrace::RebalanceListener {
 public:
  explicit SeekOnAssignment(absl::Time from) : from_(from) {}
  void OnAssigned(millrace::Consumer& consumer,
                  const std::vector<millrace::TopicPartition>& partitions) override {
    status_ = consumer.SeekToTime(from_, partitions);
  }
  const Status& status() const { return status_; }

 private:
  const absl::Time from_;
  Status status_;
};

}  // namespace

millrace::StatusOr<Replay> CheckReplay(const millrace::Client& client, const std::string& group,
                                       std::optional<absl::Time> from,
                                       const Expectation& expected) {
  const auto start = std::chrono::steady_clock::now();
  const auto listener = from ? std::make_shared<SeekOnAssignment>(*from) : nullptr;
  auto consumer = client.NewConsumer({.group = group, .topics = {kTopic}, .listener = listener});
  if (!consumer.ok()) return consumer.status();
  Replay replay;
  States states;
  const Status read = ReadToEnd(*consumer, [&](const millrace::RecordView& record) {
    ++replay.events;
    const Event event = ParseLine(record.value().str(), record.timestamp());
    states[event.package].Apply(event);
    return absl::OkStatus();
  });
  if (!read.ok()) return read;
  if (listener && !listener->status().ok()) return listener->status();
  if (Status status = consumer->Close(absl::Seconds(5)); !status.ok()) return status;
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  replay.milliseconds = took.count();

  const Expectation::Part wanted = from ? expected.Since(*from) : expected.All();
  const Status count =
      Expect(fmt::format("events for group {}", group), replay.events, wanted.count);
  if (!count.ok()) return count;
  const Status same = ExpectSame(fmt::format("state of group {}", group), states, wanted.states);
  if (!same.ok()) return same;
  return replay;
}

namespace {

constexpr absl::Duration kWeek = absl::Hours(24 * 7);

// The real time if a part of the log is older than a week by it, but not all; otherwise a week
// after the middle of the log, or after its end where all of it is of one time.
void ChooseTime(const Expectation& expected, Retention& retention) {
  const auto& events = expected.events();
  const auto older_than = [&](absl::Time time) {
    return std::count_if(events.begin(), events.end(),
                         [&](const Event& event) { return event.time < time; });
  };
  retention.now = absl::Now();
  const int64_t old = older_than(retention.now - kWeek);
  retention.virtual_clock = old < expected.count() / 20 || old > expected.count() * 19 / 20;
  if (retention.virtual_clock) {
    retention.now = expected.TimeAt(0.5) + kWeek;
    if (older_than(expected.TimeAt(0.5)) == 0) retention.now += absl::Seconds(1);
  }
  retention.cutoff = retention.now - kWeek;
  retention.old = older_than(retention.cutoff);
}

int64_t BytesOf(const millrace::TopicInfo& topic) {
  int64_t bytes = 0;
  for (const auto& partition : topic.partitions) bytes += partition.bytes_on_disk;
  return bytes;
}

}  // namespace

millrace::StatusOr<Retention> CheckRetention(const std::string& directory,
                                             const Expectation& expected) {
  Retention retention;
  ChooseTime(expected, retention);
  millrace::BrokerOptions options{.directory = directory, .background_threads = 0};
  if (retention.virtual_clock)
    options.env.clock = std::make_shared<millrace::testing::ManualClock>(retention.now);
  auto broker = millrace::Broker::Open(std::move(options));
  if (!broker.ok()) return broker.status();
  const millrace::Client client = broker->client();
  millrace::Admin admin = client.admin();
  const auto before = admin.DescribeTopic(kTopic);
  if (!before.ok()) return before.status();
  const Status altered = admin.SetTopicConfig(kTopic, {{"retention.ms", std::nullopt}});
  if (!altered.ok()) return altered;
  if (Status status = broker->RunMaintenance(); !status.ok()) return status;

  const auto after = admin.DescribeTopic(kTopic);
  if (!after.ok()) return after.status();
  std::vector<millrace::Offset> begin;
  for (const auto& partition : after->partitions) {
    begin.push_back(partition.begin);
    retention.dropped += partition.begin;
    for (millrace::Offset offset = 0; offset < partition.begin; ++offset) {
      if (expected.At(partition.id, offset).time < retention.cutoff) continue;
      return absl::InternalError(fmt::format("retention dropped '{}', which is younger than a week",
                                             expected.At(partition.id, offset).line));
    }
  }
  retention.bytes_before = BytesOf(*before);
  retention.bytes_after = BytesOf(*after);
  // A segment goes as a whole, so that the last old events of each partition may stay: of a log
  // this long, not all.
  if (retention.dropped == 0 && retention.old > 1000)
    return Expect("events dropped by retention", 0, retention.old);

  States states;
  for (int32_t partition = 0; partition < kPartitions; ++partition) {
    const Status read =
        ReadPartition(client, {kTopic, partition}, [&](const millrace::RecordView& record) {
          ++retention.kept;
          states[std::string(record.key().str())].Apply(
              ParseLine(record.value().str(), record.timestamp()));
          return absl::OkStatus();
        });
    if (!read.ok()) return read;
  }
  const Expectation::Part wanted = expected.From(begin);
  if (Status s = Expect("events kept", retention.kept, wanted.count); !s.ok()) return s;
  if (Status s = ExpectSame("state of what was kept", states, wanted.states); !s.ok()) return s;
  if (Status s = broker->Close(); !s.ok()) return s;
  return retention;
}

}  // namespace demo
