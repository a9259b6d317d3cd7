#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "client/embedded_producer.h"
#include "client/fake_broker.h"
#include "record/codec.h"
#include "record/record_reader.h"
#include "support/or_fail.h"

namespace millrace::client {

struct Outcomes {
  Mutex mu;
  std::vector<StatusOr<Delivery>> all ABSL_GUARDED_BY(mu);
  DeliveryCallback Callback() {
    return [this](const StatusOr<Delivery>& d) {
      MutexLock lock(mu);
      all.push_back(d);
    };
  }
  size_t size() {
    MutexLock lock(mu);
    return all.size();
  }
  StatusOr<Delivery> at(size_t i) {
    MutexLock lock(mu);
    return all.at(i);
  }
};

// A producer over fake partitions; callbacks run when the test says so.
struct ProducerFixture {
  explicit ProducerFixture(ProducerOptions options = {}, int partitions = 1,
                           std::map<std::string, std::string> config = {},
                           ClientOptions client = {}) {
    broker = std::make_shared<FakeBroker>();
    orders = broker->AddTopic("orders", partitions, std::move(config));
    if (client.executor == nullptr) client.executor = executor;
    client.log = std::make_shared<Quiet>();
    context = FakeContext(broker, client);
    producer = std::make_unique<EmbeddedProducer>(context, std::move(options));
  }
  ~ProducerFixture() {
    broker->LetGo();  // so that the producer has nothing to wait for
    producer.reset();
    broker->LetGo();
  }
  struct Quiet : LogSink {
    void Write(LogLevel, std::string_view, int, std::string_view,
               const std::vector<std::pair<std::string_view, std::string>>&) override {}
  };
  Status Send(ProducerRecord r, DeliveryCallback done, bool wait = true) {
    return producer->Send(r, std::move(done), {}, wait);
  }
  Future<Delivery> Send(ProducerRecord r) { return producer->Send(r, {}); }
  // The values in a partition's log, in order.
  std::vector<std::string> Values(size_t partition = 0) {
    const auto bytes = orders[partition]->log_bytes();
    std::vector<std::string> values;
    std::span<const std::byte> rest(bytes);
    while (!rest.empty()) {
      const auto header = OrFail(record::ParseHeader(rest));
      const auto batch = rest.first(header.size_bytes());
      const auto payload = OrFail(record::ExpandedPayload(header, batch, 1 << 24, pool));
      record::RecordReader reader(header, payload.records);
      record::RecordFields fields;
      while (reader.Next(&fields)) values.emplace_back(fields.value.str());
      OrFail(reader.status());
      rest = rest.subspan(batch.size());
    }
    return values;
  }

  BufferPool pool;
  std::shared_ptr<ManualExecutor> executor = std::make_shared<ManualExecutor>();
  std::shared_ptr<FakeBroker> broker;
  std::vector<std::shared_ptr<FakePartition>> orders;
  std::shared_ptr<Context> context;
  std::unique_ptr<EmbeddedProducer> producer;
};

}  // namespace millrace::client
