// How do I read again what happened since some moment? Usage: replay_from_time
#include <iostream>
#include <string>

#include "millrace/millrace.h"

millrace::Status Run() {
  auto log = millrace::Open("memory:");
  if (!log.ok()) return log.status();
  millrace::Admin admin = log->admin();
  if (auto status = admin.CreateTopic("temperature"); !status.ok()) return status;

  // Ten readings, one a minute; the last one is a minute old.
  const absl::Time now = absl::Now();
  auto producer = log->NewProducer();
  if (!producer.ok()) return producer.status();
  for (int minutes = 10; minutes >= 1; --minutes) {
    const auto sent = producer
                          ->Send({.topic = "temperature",
                                  .key = "cellar",
                                  .value = std::to_string(20 - minutes) + " degrees",
                                  .timestamp = now - absl::Minutes(minutes)})
                          .Get();
    if (!sent.ok()) return sent.status();
  }

  // Without a group: this reader looks, and leaves no trace.
  auto consumer = log->NewConsumer();
  if (!consumer.ok()) return consumer.status();
  const millrace::TopicPartition partition{"temperature", 0};
  if (auto status = consumer->Assign({partition}); !status.ok()) return status;
  // To the first record at or after that time, found by the time index.
  if (auto status = consumer->SeekToTime(now - absl::Minutes(3)); !status.ok()) return status;
  const auto batch = consumer->Poll(absl::Seconds(5));
  if (!batch.ok()) return batch.status();
  for (const millrace::RecordView& reading : *batch) {
    std::cout << absl::ToInt64Minutes(now - reading.timestamp())
              << " minutes ago: " << reading.value().str() << "\n";
  }
  return consumer->Close(absl::Seconds(5));
}

int main() {
  const millrace::Status status = Run();
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
