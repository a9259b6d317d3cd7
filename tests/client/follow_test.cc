// A client of a broker that only reads, beside the process that writes: here, beside its broker.
#include <atomic>
#include <thread>

#include "client/fixture.h"
#include "support/temporary_directory.h"

namespace millrace {
namespace {

struct TwoBrokers {
  Broker Open(bool read_only) {
    return OrFail(Broker::Open({.directory = directory.path(),
                                .read_only = read_only,
                                .flush = Flush::kOs,
                                .client = {.log = std::make_shared<LogLines>()}}));
  }
  const TemporaryDirectory directory;
  Broker writer = Open(false);
};

void Send(Producer& producer, const std::string& topic, const std::string& value) {
  OrFail(producer.Send({.topic = topic, .partition = 0, .value = value}).Get());
}

TEST_CASE("a consumer beside the writer waits for what comes", "[client][follow]") {
  TwoBrokers two;
  OrFail(two.writer.client().admin().CreateTopic("orders"));
  Broker reader = two.Open(true);
  Consumer consumer = OrFail(reader.client().NewConsumer());
  OrFail(consumer.Assign({{"orders", 0}}));
  CHECK(OrFail(consumer.Poll(absl::ZeroDuration())).empty());
  Producer producer = OrFail(two.writer.client().NewProducer());
  for (int i = 0; i < 5; ++i) {
    Send(producer, "orders", std::to_string(i));
    CHECK(Values(OrFail(consumer.Poll(absl::Seconds(60)))) ==
          std::vector<std::string>{std::to_string(i)});
  }
  // And topics that come: there is none yet to look for.
  OrFail(two.writer.client().admin().CreateTopic("later"));
  Send(producer, "later", "x");
  OrFail(reader.RunMaintenance());
  OrFail(consumer.Assign({{"later", 0}}));
  CHECK(Values(OrFail(consumer.Poll(absl::Seconds(60)))) == std::vector<std::string>{"x"});
}

TEST_CASE("who reads beside the writer sees what groups commit", "[client][follow]") {
  TwoBrokers two;
  Broker reader = two.Open(true);
  Admin seen = reader.client().admin();
  CHECK(OrFail(seen.ListGroups()).empty());
  OrFail(two.writer.client().admin().CreateTopic("orders"));
  Producer producer = OrFail(two.writer.client().NewProducer());
  Consumer member =
      OrFail(two.writer.client().NewConsumer({.group = "billing", .topics = {"orders"}}));
  for (Offset i = 0; i < 3; ++i) {
    Send(producer, "orders", std::to_string(i));
    REQUIRE(OrFail(member.Poll(absl::Seconds(60))).size() == 1);
    OrFail(member.Commit());
    OrFail(reader.RunMaintenance());  // sees the topics that are new
    CHECK(OrFail(seen.ListGroups()) == std::vector<std::string>{"billing"});
    Consumer other = OrFail(reader.client().NewConsumer({.group = "billing"}));
    CHECK(OrFail(other.Committed({{"orders", 0}})) == OffsetMap{{{"orders", 0}, i + 1}});
  }
  OrFail(member.Close(absl::Seconds(60)));
  OrFail(two.writer.client().admin().DeleteGroup("billing"));
  CHECK(OrFail(seen.ListGroups()).empty());
}

// Small segments come and go under the reader. It sees every record that it is fast enough for, in
// order and as it was written.
TEST_CASE("a reader keeps up with rolls and retention", "[client][follow][stress]") {
  TwoBrokers two;
  OrFail(two.writer.client().admin().CreateTopic(
      "orders", {.segment_bytes = 4096, .config = {{"file.delete.delay.ms", "0"}}}));
  Broker reader = two.Open(true);
  constexpr Offset kRecords = 5000;
  std::atomic<Offset> read_up_to{0};
  std::thread writing([&] {
    Producer producer = OrFail(two.writer.client().NewProducer());
    for (Offset i = 0; i < kRecords; ++i) {
      Send(producer, "orders", "value " + std::to_string(i));
      if (i % 500 == 499)
        OrFail(two.writer.client().admin().DeleteRecords({{{"orders", 0}, read_up_to.load()}}));
    }
  });
  Consumer consumer = OrFail(reader.client().NewConsumer());
  OrFail(consumer.Assign({{"orders", 0}}));
  Offset next = 0;
  bool as_written = true;
  while (next < kRecords) {
    const StatusOr<RecordBatch> batch = consumer.Poll(absl::Seconds(60));
    if (!batch.ok() || batch->empty()) {
      FAIL_CHECK("at " << next << ": " << batch.status());
      break;
    }
    for (const RecordView& record : *batch) {
      as_written &= record.offset() == next;
      as_written &= record.value().str() == "value " + std::to_string(next);
      ++next;
    }
    read_up_to = next;
  }
  writing.join();
  CHECK(next == kRecords);
  CHECK(as_written);
}

}  // namespace
}  // namespace millrace
