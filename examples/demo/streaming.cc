#include "streaming.h"

#include <array>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "millrace/millrace.h"
#include "package_log.h"
#include "reading.h"
#include "worker.h"

namespace demo {
namespace {

using millrace::Status;
using SteadyClock = std::chrono::steady_clock;
using Workers = std::vector<std::unique_ptr<Worker>>;

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

void Say(std::string_view line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

Status CreateTopics(const millrace::Client& client, const std::vector<Event>& events) {
  int64_t bytes = 0;
  for (const Event& event : events) bytes += static_cast<int64_t>(event.line.size());
  // Segments so small that each partition has about six, and retention something to drop.
  const int64_t segment_bytes = std::max<int64_t>(bytes / (kPartitions * 6), 4096);
  // The file says the local time without its zone, which can be hours ahead: that is taken, too.
  const std::string forever = std::to_string(std::numeric_limits<int64_t>::max());
  const Status created =
      client.admin().CreateTopic(kTopic,
                                 {.partitions = kPartitions,
                                  .retention = absl::InfiniteDuration(),
                                  .segment_bytes = segment_bytes,
                                  .config = {{"message.timestamp.after.max.ms", forever}}},
                                 millrace::OnExists::kKeep);
  if (!created.ok()) return created;
  return client.admin().CreateTopic(
      kStateTopic, {.partitions = kPartitions, .retention = absl::InfiniteDuration()},
      millrace::OnExists::kKeep);
}

// Each record carries the number of its line. The lines of one partition are appended in their
// order, so that the last one in each partition says which are there: nothing is sent twice after a
// kill.
struct Found {
  int64_t events = 0;
  std::array<int64_t, kPartitions> last_line = {};
};
millrace::StatusOr<Found> LookForEvents(const millrace::Client& client) {
  Found found;
  found.last_line.fill(-1);
  for (int32_t partition = 0; partition < kPartitions; ++partition) {
    const Status read =
        ReadPartition(client, {kTopic, partition}, [&](const millrace::RecordView& record) {
          ++found.events;
          found.last_line[static_cast<size_t>(partition)] =
              std::stoll(std::string(record.header("line").value_or("-1").str()));
          return absl::OkStatus();
        });
    if (!read.ok()) return read;
  }
  return found;
}

// Of the first `count` workers.
std::string Assignments(const Workers& workers, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    const auto partitions = workers[i]->partitions();
    text +=
        fmt::format("{}worker {}: {}", i == 0 ? "" : ", ", i + 1,
                    partitions.empty() ? "none" : fmt::format("{}", fmt::join(partitions, " ")));
  }
  return text;
}

Status CheckWorkers(const Workers& workers) {
  for (const auto& worker : workers)
    if (Status status = worker->status(); !status.ok()) return status;
  return absl::OkStatus();
}

Status WaitFor(std::string_view what, const Workers& workers,
               const std::function<bool()>& reached) {
  const auto start = SteadyClock::now();
  while (!reached()) {
    if (Status status = CheckWorkers(workers); !status.ok()) return status;
    if (SecondsSince(start) > 20) {
      return absl::DeadlineExceededError(
          fmt::format("waited 20 s for {}; {}", what, Assignments(workers, workers.size())));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return absl::OkStatus();
}

// Appends lines, reports, and lets a worker hang on the way.
class Stream {
 public:
  Stream(const std::vector<Event>& events, const Found& found, millrace::Producer& producer,
         const Progress& progress, const Workers& workers)
      : events_(events),
        found_(found),
        producer_(producer),
        progress_(progress),
        workers_(workers),
        appended_(found.events) {}

  Status Run(bool hang) {
    // A second or two in all, so that there is a middle to be killed in.
    const size_t step = std::max<size_t>(events_.size() / 100, 5);
    for (size_t at = 0; at < events_.size(); at += step) {
      const size_t end = std::min(at + step, events_.size());
      if (Status status = Append(at, end); !status.ok()) return status;
      if (Status status = CheckWorkers(workers_); !status.ok()) return status;
      Say(fmt::format("at {} {}", appended_, progress_.total()));
      if (hang && end > events_.size() * 3 / 10) {
        Worker& last = *workers_.back();
        last.Hang();
        if (last.held() < 0) continue;  // it must get records first
        if (Status status = WaitForTakeover(last); !status.ok()) return status;
        hang = false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return WaitFor("the workers to reach the end", workers_,
                   [this] { return progress_.total() == appended_; });
  }

 private:
  Status Append(size_t first, size_t end) {
    std::vector<millrace::ProducerRecord> records;
    for (size_t i = first; i < end; ++i) {
      const Event& event = events_[i];
      const auto partition = static_cast<size_t>(PartitionOf(event.package));
      if (static_cast<int64_t>(i) <= found_.last_line[partition]) continue;
      records.push_back({.topic = kTopic,
                         .key = event.package,
                         .value = event.line,
                         .headers = {{"line", std::to_string(i)}},
                         .timestamp = event.time});
    }
    for (const auto& delivery : producer_.SendAll(records))
      if (!delivery.ok()) return delivery.status();
    appended_ += static_cast<int64_t>(records.size());
    return absl::OkStatus();
  }

  Status WaitForTakeover(const Worker& hung) {
    const auto start = SteadyClock::now();
    const Status taken = WaitFor("the others to take over", workers_, [this] {
      size_t owned = 0;
      for (size_t i = 0; i + 1 < workers_.size(); ++i) owned += workers_[i]->partitions().size();
      return owned == kPartitions;
    });
    if (!taken.ok()) return taken;
    Say(fmt::format("takeover {} {:.2f} {}", hung.held(), SecondsSince(start),
                    Assignments(workers_, workers_.size() - 1)));
    return absl::OkStatus();
  }

  const std::vector<Event>& events_;
  const Found& found_;
  millrace::Producer& producer_;
  const Progress& progress_;
  const Workers& workers_;
  int64_t appended_;
};

}  // namespace

Status StreamHere(const std::string& directory, const std::string& input, bool hang) {
  const auto events = ReadEvents(input);
  if (!events.ok()) return events.status();
  const auto start = SteadyClock::now();
  auto broker = millrace::Broker::Open({.directory = directory});
  if (!broker.ok()) return broker.status();
  const double open_ms = SecondsSince(start) * 1000;
  const millrace::Client client = broker->client();
  if (Status status = CreateTopics(client, *events); !status.ok()) return status;
  const auto found = LookForEvents(client);
  if (!found.ok()) return found.status();
  Say(fmt::format("open {:.1f} {}", open_ms, found->events));

  Progress progress;
  Workers workers;
  for (int number = 1; number <= 3; ++number)
    workers.push_back(std::make_unique<Worker>(number, client, progress));
  const Status shared_out = WaitFor("two partitions a worker", workers, [&workers] {
    return std::all_of(workers.begin(), workers.end(),
                       [](const auto& worker) { return worker->partitions().size() == 2; });
  });
  if (!shared_out.ok()) return shared_out;
  Say(fmt::format("assigned {}", Assignments(workers, workers.size())));

  auto producer = client.NewProducer();
  if (!producer.ok()) return producer.status();
  const Status streamed = Stream(*events, *found, *producer, progress, workers).Run(hang);
  if (!streamed.ok()) return streamed;
  workers.clear();  // each commits and leaves the group
  Say(fmt::format("done {}", progress.delivered_again.load()));
  return broker->Close();
}

}  // namespace demo
