#include "worker.h"

#include <charconv>
#include <mutex>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "reading.h"

namespace demo {
namespace {

using millrace::Status;
using millrace::TopicPartition;

constexpr char kNextHeader[] = "next";  // of a state record: the offset that it reaches

}  // namespace

// Called inside of Poll, on the worker's thread.
class Worker::Rebalances : public millrace::RebalanceListener {
 public:
  explicit Rebalances(Worker& worker) : worker_(worker) {}
  void OnAssigned(millrace::Consumer&, const std::vector<TopicPartition>& partitions) override {
    if (Status status = worker_.Load(partitions); !status.ok()) worker_.load_status_ = status;
  }
  void OnRevoked(millrace::Consumer&, const std::vector<TopicPartition>& partitions) override {
    const std::lock_guard lock(worker_.mu_);
    for (const TopicPartition& partition : partitions) {
      worker_.states_.erase(partition.partition);
      worker_.assigned_.erase(partition.partition);
    }
  }
  void OnLost(millrace::Consumer& consumer,
              const std::vector<TopicPartition>& partitions) override {
    OnRevoked(consumer, partitions);
  }

 private:
  Worker& worker_;
};

Worker::Worker(int number, millrace::Client client, Progress& progress)
    : number_(number), client_(std::move(client)), progress_(progress) {
  thread_ = std::jthread([this](const std::stop_token& stop) {
    const Status status = Run(stop);
    const std::lock_guard lock(mu_);
    status_ = status;
  });
}

std::set<int32_t> Worker::partitions() const {
  const std::lock_guard lock(mu_);
  return assigned_;
}

Status Worker::status() const {
  const std::lock_guard lock(mu_);
  return status_;
}

// Rebuilds what is known of these partitions from the state topic.
Status Worker::Load(const std::vector<TopicPartition>& partitions) {
  for (const TopicPartition& partition : partitions) {
    PartitionState known;
    const Status read = ReadPartition(
        client_, {kStateTopic, partition.partition}, [&known](const millrace::RecordView& record) {
          auto state = Decode(record.value().str());
          if (!state.ok()) return state.status();
          known.packages[std::string(record.key().str())] = *std::move(state);
          const std::string_view next = record.header(kNextHeader).value_or("0").str();
          std::from_chars(next.data(), next.data() + next.size(), known.next);
          return absl::OkStatus();
        });
    if (!read.ok()) return read;
    progress_.next_offset[static_cast<size_t>(partition.partition)] = known.next;
    states_[partition.partition] = std::move(known);
    const std::lock_guard lock(mu_);
    assigned_.insert(partition.partition);
  }
  return absl::OkStatus();
}

Status Worker::WorkOn(const millrace::RecordBatch::Slice& slice) {
  const int32_t partition = slice.partition.partition;
  PartitionState& state = states_[partition];
  std::set<std::string> changed;
  for (const millrace::RecordView& record : slice) {
    if (record.offset() < state.next) {
      ++progress_.delivered_again;
      continue;
    }
    const Event event = ParseLine(record.value().str(), record.timestamp());
    state.packages[event.package].Apply(event);
    changed.insert(event.package);
    state.next = record.offset() + 1;
  }
  std::vector<millrace::ProducerRecord> records;
  for (const std::string& package : changed) {
    records.push_back({.topic = kStateTopic,
                       .partition = partition,
                       .key = package,
                       .value = Encode(state.packages[package]),
                       .headers = {{kNextHeader, std::to_string(state.next)}}});
  }
  for (const auto& delivery : producer_->SendAll(records))
    if (!delivery.ok()) return delivery.status();
  progress_.next_offset[static_cast<size_t>(partition)] = state.next;
  return absl::OkStatus();
}

Status Worker::Run(const std::stop_token& stop) {
  auto producer = client_.NewProducer();
  if (!producer.ok()) return producer.status();
  producer_ = *std::move(producer);
  auto consumer = client_.NewConsumer({.group = "workers",
                                       .topics = {kTopic},
                                       .max_poll_records = 100,
                                       .max_poll_interval = kMaxPollInterval,
                                       .listener = std::make_shared<Rebalances>(*this)});
  if (!consumer.ok()) return consumer.status();
  for (;;) {
    // Commits what the last poll returned: by then it is in the state.
    auto batch = consumer->Poll(absl::InfiniteDuration(), stop);
    if (!load_status_.ok()) return load_status_;
    if (absl::IsCancelled(batch.status())) return consumer->Close(absl::Seconds(5));
    if (!batch.ok()) return batch.status();
    if (hang_) {
      held_ = static_cast<int64_t>(batch->size());
      while (!stop.stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      return absl::OkStatus();  // a destroyed consumer commits nothing
    }
    for (const auto& slice : batch->slices())
      if (Status status = WorkOn(slice); !status.ok()) return status;
  }
}

}  // namespace demo
