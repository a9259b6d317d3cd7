// How much room does a log take when it is compressed? Usage: compressed_archive DIR
#include <atomic>
#include <iostream>
#include <string>

#include "millrace/millrace.h"

constexpr int kLines = 20'000;

millrace::Status Run(const std::string& directory) {
  auto log = millrace::Open("file:" + directory);
  if (!log.ok()) return log.status();
  millrace::Admin admin = log->admin();
  // An archive: nothing expires.
  auto status = admin.CreateTopic("access", {.retention = absl::InfiniteDuration()});
  if (!status.ok()) return status;

  // A batch is compressed as a whole: what lingers for a while becomes large batches, and these
  // small files.
  auto producer = log->NewProducer(
      {.linger = absl::Milliseconds(50), .compression = millrace::Compression::kZstd});
  if (!producer.ok()) return producer.status();
  std::atomic<int> failed = 0;
  int64_t bytes = 0;
  for (int i = 0; i < kLines; ++i) {
    std::string line = "10.0.0." + std::to_string(i % 250) + " GET /orders/" + std::to_string(i) +
                       " HTTP/1.1 200 " + std::to_string(500 + i % 97);
    bytes += static_cast<int64_t>(line.size());
    // The callback runs on another thread, once for each record that was accepted.
    status = producer->Send({.topic = "access", .value = std::move(line)},
                            [&failed](const auto& delivery) { failed += delivery.ok() ? 0 : 1; });
    if (!status.ok()) return status;
  }
  if (status = producer->Flush(); !status.ok()) return status;
  if (failed > 0) return absl::DataLossError(std::to_string(failed) + " lines were not written");

  const auto topic = admin.DescribeTopic("access");
  if (!topic.ok()) return topic.status();
  const int64_t on_disk = topic->partitions[0].bytes_on_disk;
  std::cout << kLines << " lines of " << bytes << " bytes take " << on_disk << " on disk, "
            << bytes / on_disk << " times less\n";
  return absl::OkStatus();
}

int main(int argc, char** argv) {
  const millrace::Status status =
      argc == 2 ? Run(argv[1]) : absl::InvalidArgumentError("usage: compressed_archive DIR");
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
