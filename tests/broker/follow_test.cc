// A broker that only reads, beside the one that writes.
#include <catch2/catch.hpp>

#include "base/errors.h"
#include "broker/broker_fixture.h"

namespace millrace::broker {
namespace {

using Strings = std::vector<std::string>;

struct Beside {
  Beside() {
    Options options = machine.options();
    options.read_only = true;
    reader = machine.Open(options);
  }
  void Look() { OrFail(reader->RunMaintenance()); }
  std::shared_ptr<Partition> Seen(std::string_view topic, int32_t partition = 0) {
    return OrFail(reader->FindPartition(topic, partition));
  }

  Machine machine;
  std::shared_ptr<Broker> writer = machine.Open();
  std::shared_ptr<Broker> reader;
};

TEST_CASE("a reader sees records and topics that come while it is open", "[broker][follow]") {
  Beside beside;
  CHECK(beside.reader->metadata()->topics.empty());
  const auto partition = MakeTopic(*beside.writer, "orders");
  OrFail(Append(*beside.writer, *partition, {"a"}).status());
  beside.Look();
  const auto seen = beside.Seen("orders");
  CHECK(Values(*seen) == Strings{"a"});
  OrFail(Append(*beside.writer, *partition, {"b", "c"}).status());
  CHECK(seen->high_watermark() == 1);
  beside.Look();
  CHECK(seen->high_watermark() == 3);
  CHECK(Values(*seen) == Strings{"a", "b", "c"});

  OrFail(beside.writer->AddPartitions("orders", 3));
  OrFail(
      Append(*beside.writer, *OrFail(beside.writer->FindPartition("orders", 2)), {"d"}).status());
  OrFail(beside.writer->AlterConfig("orders", {{"retention.ms", "1000"}}));
  beside.Look();
  CHECK(Values(*beside.Seen("orders", 2)) == Strings{"d"});
  CHECK(beside.reader->metadata()->topics.at("orders")->config.at("retention.ms") == "1000");
}

TEST_CASE("who listens to a reader is woken by what the writer does", "[broker][follow]") {
  Beside beside;
  const auto partition = MakeTopic(*beside.writer, "orders");
  beside.Look();
  const auto seen = beside.Seen("orders");
  CHECK(seen->high_watermark() == 0);
  const auto bell = std::make_shared<Bell>();
  seen->AddListener(bell);
  beside.Look();
  const uint32_t before = bell->count();
  beside.machine.clock->Advance(absl::Seconds(1));
  beside.Look();
  CHECK(bell->count() == before);  // nothing has happened
  OrFail(Append(*beside.writer, *partition, {"a"}).status());
  beside.machine.clock->Advance(absl::Milliseconds(20));
  beside.Look();
  CHECK(bell->count() > before);
  CHECK(seen->high_watermark() == 1);
}

TEST_CASE("a topic that is deleted, or made anew, is so for a reader", "[broker][follow]") {
  Beside beside;
  OrFail(Append(*beside.writer, *MakeTopic(*beside.writer, "orders"), {"old"}).status());
  beside.Look();
  const auto seen = beside.Seen("orders");
  CHECK(Values(*seen) == Strings{"old"});
  OrFail(beside.writer->DeleteTopic("orders"));
  SECTION("deleted") {
    beside.Look();
    CHECK(ErrorIdOf(beside.reader->FindPartition("orders", 0).status()) == ErrorId::kUnknownTopic);
  }
  SECTION("made anew") {
    OrFail(Append(*beside.writer, *MakeTopic(*beside.writer, "orders"), {"new"}).status());
    beside.Look();
    CHECK(Values(*beside.Seen("orders")) == Strings{"new"});
  }
  CHECK(seen->deleted());
  CHECK_FALSE(seen->Fetch(0, 100, ReadLevel::kCommitted).ok());
}

TEST_CASE("a reader that fell behind the metadata log begins with a snapshot", "[broker][follow]") {
  Beside beside;
  // The log grows until the writer has put two snapshots in the place of its beginning.
  for (int i = 0; i < 8; ++i) {
    CreateTopicRequest request;
    request.name = "large";
    request.partitions = 10'000;
    OrFail(beside.writer->CreateTopic(request));
    OrFail(beside.writer->DeleteTopic("large"));
  }
  MakeTopic(*beside.writer, "last");
  const uint64_t version = beside.reader->metadata_version();
  beside.Look();
  CHECK(beside.reader->metadata_version() > version);
  CHECK(beside.reader->metadata()->topics.contains("last"));
  CHECK(beside.machine.warnings.empty());
  const auto log_file = "data/__cluster_metadata-0/00000000000000000000.log";
  CHECK_FALSE(beside.machine.disk->Peek(log_file).ok());
}

TEST_CASE("what a reader could not read of topics is read the next time", "[broker][follow]") {
  int call = 0, reads = 0;
  do {
    ++call;
    Beside beside;
    MakeTopic(*beside.writer, "orders");
    beside.Look();
    OrFail(beside.writer->AddPartitions("orders", 2));
    MakeTopic(*beside.writer, "later");
    reads = 0;
    beside.machine.disk->SetFaults(
        [&](const testing::DiskCall& c) -> std::optional<testing::Fault> {
          if (c.op != testing::DiskOp::kRead || ++reads != call) return std::nullopt;
          return testing::Fault{};
        });
    beside.reader->RunMaintenance().IgnoreError();
    beside.machine.disk->SetFaults(nullptr);
    CHECK(beside.machine.warnings.empty() == (reads < call));
    beside.Look();
    CHECK(beside.reader->metadata()->topics.contains("later"));
    CHECK(beside.reader->FindPartition("orders", 1).ok());
  } while (reads == call);
  CHECK(call > 2);
}

}  // namespace
}  // namespace millrace::broker
