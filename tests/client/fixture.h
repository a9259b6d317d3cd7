#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "base/errors.h"
#include "base/mutex.h"
#include "millrace/millrace.h"
#include "millrace/testing/manual_clock.h"
#include "support/or_fail.h"

namespace millrace {

// Keeps what is logged. Thread-safe.
class LogLines : public LogSink {
 public:
  void Write(LogLevel level, std::string_view, int, std::string_view message,
             const std::vector<std::pair<std::string_view, std::string>>&) override {
    MutexLock lock(mu_);
    lines_.emplace_back(level, message);
  }
  bool Has(LogLevel level, std::string_view part) const {
    MutexLock lock(mu_);
    for (const auto& [at, line] : lines_)
      if (at == level && line.find(part) != line.npos) return true;
    return false;
  }
  size_t size() const {
    MutexLock lock(mu_);
    return lines_.size();
  }

 private:
  mutable Mutex mu_;
  std::vector<std::pair<LogLevel, std::string>> lines_ ABSL_GUARDED_BY(mu_);
};

// A broker in memory on a clock that the test moves. Without threads of its own, unless a test
// wants them: then everything happens on the thread of the test, in an order that is always the
// same.
struct Embedded {
  explicit Embedded(BrokerOptions options = {.background_threads = 0}) {
    options.env.clock = clock;
    if (options.env.files == nullptr && options.directory.empty()) {
      options.env.files = files;
      options.directory = "/log";
      OrFail(files->CreateDir("/log"));
    }
    if (options.env.random == nullptr) options.env.random = testing::SeededRandom(7);
    if (options.client.log == nullptr) options.client.log = log;
    opened = options;
    broker = std::make_unique<Broker>(OrFail(Broker::Open(options)));
  }
  void Reopen() {
    broker.reset();
    broker = std::make_unique<Broker>(OrFail(Broker::Open(opened)));
  }
  Client client() const { return broker->client(); }
  Admin admin() const { return broker->client().admin(); }
  void Topic(const std::string& name, int32_t partitions = 1,
             std::map<std::string, std::string> config = {}) {
    OrFail(admin().CreateTopic(name, {.partitions = partitions, .config = std::move(config)}));
  }
  // The value is what `values` say; without a key, to one partition.
  void Produce(const std::string& topic, int32_t partition, std::vector<std::string> values) {
    Producer producer = OrFail(client().NewProducer());
    std::vector<ProducerRecord> records;
    for (const std::string& value : values)
      records.push_back({.topic = topic, .partition = partition, .value = value});
    for (const auto& answer : producer.SendAll(records)) OrFail(answer);
  }
  Consumer Reader(const std::string& topic, int32_t partition = 0, ConsumerOptions options = {}) {
    Consumer consumer = OrFail(client().NewConsumer(std::move(options)));
    OrFail(consumer.Assign({{topic, partition}}));
    return consumer;
  }

  std::shared_ptr<testing::ManualClock> clock =
      std::make_shared<testing::ManualClock>(absl::FromUnixMillis(1'700'000'000'000));
  std::shared_ptr<FileSystem> files = NewMemoryFileSystem();
  std::shared_ptr<LogLines> log = std::make_shared<LogLines>();
  BrokerOptions opened;
  std::unique_ptr<Broker> broker;
};

// "corrupt_log: the message"
inline std::string Described(const Status& status) {
  const auto detail = DetailOf(status);
  const absl::string_view text = status.message();
  return std::string(detail.has_value() ? detail->name : "?") + ": " +
         std::string(text.data(), text.size());
}
inline std::vector<std::string> Values(const RecordBatch& batch) {
  std::vector<std::string> values;
  for (const RecordView& record : batch) values.emplace_back(record.value().str());
  return values;
}
// The values of the next Poll, which does not wait.
inline std::vector<std::string> Next(Consumer& consumer) {
  return Values(OrFail(consumer.Poll(absl::ZeroDuration())));
}
inline std::vector<std::string> Numbers(int from, int to) {
  std::vector<std::string> numbers;
  for (int i = from; i < to; ++i) numbers.push_back(std::to_string(i));
  return numbers;
}

}  // namespace millrace
