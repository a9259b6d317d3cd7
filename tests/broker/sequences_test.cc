// The sequences of idempotent producers at their limits, each with its words.
#include <catch2/catch.hpp>

#include "base/errors.h"
#include "broker_fixture.h"
#include "record/batch.h"

namespace millrace::broker {
namespace {

using Catch::Contains;

std::string Message(const Status& status) { return std::string(status.message()); }

// Batches that come from outside, as those of a network client would.
struct Producer {
  Broker& broker;
  Partition& partition;
  StatusOr<Appended> Send(int64_t id, int16_t epoch, int32_t sequence,
                          const std::vector<std::string>& values = {"x"}) {
    const auto batch =
        MakeBatch(broker.buffers(), values, absl::ToUnixMillis(broker.clock().Now()));
    record::AssignProducer(batch.bytes().data(), id, epoch, sequence, batch.payload_crc);
    Answer answer;
    const Status accepted =
        partition.Append(batch, {.in_process = false, .caller_syncs = true},
                         [&](const StatusOr<Appended>& result) { answer.result = result; });
    if (!accepted.ok()) return accepted;
    if (!answer.given()) OrFail(partition.SyncTo(INT64_MAX));
    return *answer.result;
  }
};

}  // namespace

TEST_CASE("a sequence that leaves a gap is told what comes next", "[broker][sequences]") {
  Machine machine;
  const auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders");
  Producer producer{*broker, *partition};
  OrFail(producer.Send(77, 0, 0, {"a", "b"}));
  const Status gap = producer.Send(77, 0, 3).status();
  CHECK(ErrorIdOf(gap) == ErrorId::kOutOfOrderSequence);
  CHECK_THAT(Message(gap), Contains("producer 77 epoch 0") && Contains("sequence 3") &&
                               Contains("the next one is 2"));
  CHECK(DetailOf(gap)->topic == "orders");
  CHECK(DetailOf(gap)->persistence == Persistence::kNotPersisted);
  CHECK(OrFail(producer.Send(77, 0, 2)).base_offset == 2);
  SECTION("and a repetition gets the offset that it had") {
    const Appended again = OrFail(producer.Send(77, 0, 0, {"a", "b"}));
    CHECK(again.duplicate);
    CHECK(again.base_offset == 0);
    CHECK(partition->log_end() == 3);
  }
}

TEST_CASE("after sequence 2147483647 comes 0", "[broker][sequences]") {
  Machine machine;
  auto broker = machine.Open();
  auto partition = MakeTopic(*broker, "orders");
  // The first batch of a producer that is not known may begin anywhere.
  OrFail(Producer{*broker, *partition}.Send(77, 0, INT32_MAX - 1, {"a", "b"}));
  SECTION("in the batch that follows") {
    CHECK_FALSE(OrFail(Producer{*broker, *partition}.Send(77, 0, 0)).duplicate);
  }
  SECTION("in the middle of a batch") {
    OrFail(Producer{*broker, *partition}.Send(78, 0, INT32_MAX, {"c", "d"}));
    CHECK(OrFail(Producer{*broker, *partition}.Send(78, 0, INT32_MAX, {"c", "d"})).duplicate);
    const Status wrong = Producer{*broker, *partition}.Send(78, 0, 2).status();
    CHECK_THAT(Message(wrong), Contains("sequence 2") && Contains("the next one is 1"));
    CHECK_FALSE(OrFail(Producer{*broker, *partition}.Send(78, 0, 1)).duplicate);
  }
  SECTION("also after a crash") {
    machine.ProcessKill();
    Abandon(broker);
    broker = machine.Open();
    partition = OrFail(broker->FindPartition("orders", 0));
    CHECK(OrFail(Producer{*broker, *partition}.Send(77, 0, INT32_MAX - 1, {"a", "b"})).duplicate);
    CHECK_FALSE(OrFail(Producer{*broker, *partition}.Send(77, 0, 0)).duplicate);
  }
}

TEST_CASE("epoch 32767 is the last of a producer id; another id begins anew",
          "[broker][sequences]") {
  Machine machine;
  const auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders");
  Producer producer{*broker, *partition};
  OrFail(producer.Send(77, INT16_MAX - 1, 0));
  OrFail(producer.Send(77, INT16_MAX, 0));
  const Status fenced = producer.Send(77, INT16_MAX - 1, 1).status();
  CHECK(ErrorIdOf(fenced) == ErrorId::kInvalidProducerEpoch);
  CHECK_THAT(Message(fenced), Contains("producer 77") && Contains("32766") && Contains("32767"));
  OrFail(producer.Send(77, INT16_MAX, 1));
  OrFail(producer.Send(78, 0, 0));
  CHECK(Values(*partition).size() == 4);
}

TEST_CASE("a batch without records is refused", "[broker][sequences]") {
  Machine machine;
  const auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders");
  auto batch = MakeBatch(broker->buffers(), {"x"}, absl::ToUnixMillis(machine.clock->Now()));
  auto header = OrFail(record::ParseHeader(batch.bytes()));
  header.record_count = 0;
  header.last_offset_delta = 0;
  header.batch_length = record::kHeaderBytes - record::kLogOverheadBytes;
  batch.size_bytes = record::kHeaderBytes;
  record::StoreHeader(header, batch.bytes().data());
  header.crc = record::ComputeCrc(batch.bytes());
  record::StoreHeader(header, batch.bytes().data());
  for (const bool in_process : {true, false}) {
    const Status status = partition->Append(batch, {.in_process = in_process},
                                            [](const StatusOr<Appended>&) { FAIL("answered"); });
    CHECK(ErrorIdOf(status) == ErrorId::kInvalidRecord);
    CHECK_THAT(Message(status), Contains("orders-0"));
  }
  CHECK(partition->log_end() == 0);
}

}  // namespace millrace::broker
