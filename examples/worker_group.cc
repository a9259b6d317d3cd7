// How do threads share the work of one topic? Usage: worker_group
#include <atomic>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "millrace/millrace.h"

constexpr int kJobs = 600;

// One member of the group. The members share out the partitions; of each partition one member at a
// time has the records, in their order.
millrace::Status Work(const millrace::Client& log, std::atomic<int>& done, std::stop_source stop) {
  auto consumer = log.NewConsumer({.group = "workers", .topics = {"jobs"}, .max_poll_records = 10});
  if (!consumer.ok()) return consumer.status();
  for (;;) {
    // Each Poll first commits what the one before returned.
    auto batch = consumer->Poll(absl::InfiniteDuration(), stop.get_token());
    if (absl::IsCancelled(batch.status())) return consumer->Close(absl::Seconds(5));
    if (!batch.ok()) return batch.status();
    if ((done += static_cast<int>(batch->size())) >= kJobs) stop.request_stop();
  }
}

millrace::Status Run() {
  auto log = millrace::Open("memory:");
  if (!log.ok()) return log.status();
  if (auto status = log->admin().CreateTopic("jobs", {.partitions = 6}); !status.ok())
    return status;
  auto producer = log->NewProducer();
  if (!producer.ok()) return producer.status();
  for (int job = 0; job < kJobs; ++job) {
    const auto sent =
        producer->Send({.topic = "jobs", .key = "job-" + std::to_string(job), .value = "work"})
            .Get();
    if (!sent.ok()) return sent.status();
  }

  std::atomic<int> done = 0;
  std::stop_source stop;
  std::vector<millrace::Status> ends(3);
  {
    std::vector<std::jthread> workers;  // joined at the brace
    for (millrace::Status& end : ends) workers.emplace_back([&] { end = Work(*log, done, stop); });
  }
  for (const millrace::Status& end : ends)
    if (!end.ok()) return end;
  std::cout << ends.size() << " workers did " << done << " jobs\n";
  return absl::OkStatus();
}

int main() {
  const millrace::Status status = Run();
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
