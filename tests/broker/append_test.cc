// Appends and their answers under each flush policy; what readers may see.
#include <catch2/catch.hpp>

#include "base/errors.h"
#include "broker_fixture.h"
#include "record/codec.h"

namespace millrace::broker {
namespace {

using Catch::Contains;

std::string Message(const Status& status) { return std::string(status.message()); }

// How often the segments of the partition are synced during `work`.
uint64_t SyncsOf(Machine& machine, const std::function<void()>& work, std::string_view of) {
  uint64_t syncs = 0;
  machine.disk->SetFaults([&](const testing::DiskCall& call) -> std::optional<testing::Fault> {
    const bool counted = call.op == testing::DiskOp::kSync &&
                         call.path.find(of) != std::string::npos && call.path.ends_with(".log");
    syncs += counted ? 1 : 0;
    return std::nullopt;
  });
  work();
  machine.disk->SetFaults(nullptr);
  return syncs;
}

}  // namespace

TEST_CASE("nothing is visible or acknowledged before it is synced", "[broker][append]") {
  Machine machine;
  auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders");
  OrFail(Append(*broker, *partition, {"durable"}).status());
  const auto bell = std::make_shared<Bell>();
  partition->AddListener(bell);
  const auto all = AppendLater(*broker, *partition, {"a"});
  const auto leader = AppendLater(*broker, *partition, {"b"}, {.acks = AckLevel::kLeader});
  const auto none = AppendLater(*broker, *partition, {"c"}, {.acks = AckLevel::kNone});
  CHECK_FALSE(all->given());
  CHECK(OrFail(*leader->result).base_offset == 2);  // acks=1: after the write
  CHECK(none->given());
  CHECK(partition->log_end() == 4);
  CHECK(partition->high_watermark() == 1);
  CHECK(partition->durable_end() == 1);
  CHECK(bell->count() == 0);
  CHECK(Values(*partition) == std::vector<std::string>{"durable"});
  const FetchResult nothing = OrFail(partition->Fetch(2, 100, ReadLevel::kUncommitted));
  CHECK(nothing.bytes.empty());
  CHECK(nothing.next_offset == 2);
  CHECK(nothing.high_watermark == 1);

  SECTION("a power cut takes back nothing that was seen") {
    machine.PowerCut();
    Abandon(broker);
    broker = machine.Open();
    const auto values = Values(*OrFail(broker->FindPartition("orders", 0)));
    REQUIRE_FALSE(values.empty());
    CHECK(values[0] == "durable");
  }
  SECTION("the sync makes all of it visible, answers and rings") {
    OrFail(partition->SyncTo(4));
    REQUIRE(all->given());
    CHECK(OrFail(*all->result).base_offset == 1);
    CHECK(OrFail(*all->result).next_offset == 2);
    CHECK(bell->count() == 1);
    CHECK(Values(*partition) == std::vector<std::string>{"durable", "a", "b", "c"});
    partition->RemoveListener(bell.get());
    OrFail(Append(*broker, *partition, {"d"}).status());
    CHECK(bell->count() == 1);
  }
  SECTION("maintenance does what the absent threads would") {
    OrFail(broker->RunMaintenance());
    CHECK(all->given());
    CHECK(partition->high_watermark() == 4);
  }
}

TEST_CASE("appends that wait together share one sync, and are answered in order",
          "[broker][append]") {
  Machine machine;
  const auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders");
  OrFail(Append(*broker, *partition, {"first"}).status());
  std::vector<Offset> answered;
  const uint64_t syncs = SyncsOf(
      machine,
      [&] {
        for (int i = 0; i < 100; ++i) {
          const auto batch = MakeBatch(broker->buffers(), {"x"}, 1700000000000);
          OrFail(partition->Append(batch, {}, [&](const StatusOr<Appended>& appended) {
            answered.push_back(OrFail(appended).base_offset);
          }));
        }
        CHECK(answered.empty());
        OrFail(broker->RunMaintenance());
      },
      "orders-0/");
  CHECK(syncs == 1);
  REQUIRE(answered.size() == 100);
  CHECK(std::ranges::is_sorted(answered));
}

TEST_CASE("under kOs the written end is the visible one", "[broker][append]") {
  Machine machine;
  Options options = machine.options();
  options.flush = FlushPolicy::kOs;
  const auto broker = machine.Open(options);
  const auto partition = MakeTopic(*broker, "orders");
  const auto bell = std::make_shared<Bell>();
  partition->AddListener(bell);
  const uint64_t syncs = SyncsOf(
      machine,
      [&] {
        CHECK(AppendLater(*broker, *partition, {"a"})->given());
        CHECK(bell->count() == 1);
        CHECK(Values(*partition) == std::vector<std::string>{"a"});
        OrFail(broker->RunMaintenance());
      },
      "orders-0/");
  CHECK(syncs == 0);
  const auto durable = AppendLater(*broker, *partition, {"b"}, {.sync = true});
  CHECK_FALSE(durable->given());
  CHECK(partition->high_watermark() == 2);
  OrFail(broker->RunMaintenance());
  CHECK(durable->given());
  CHECK(partition->durable_end() == 2);
}

TEST_CASE("under kInterval the sync follows within the interval", "[broker][append]") {
  Machine machine;
  Options options = machine.options();
  options.flush = FlushPolicy::kInterval;
  options.flush_interval = absl::Milliseconds(300);
  const auto broker = machine.Open(options);
  const auto partition = MakeTopic(*broker, "orders");
  CHECK(AppendLater(*broker, *partition, {"a"})->given());
  CHECK(partition->high_watermark() == 1);
  machine.clock->Advance(absl::Milliseconds(299));
  OrFail(broker->RunMaintenance());
  CHECK(partition->durable_end() == 0);
  machine.clock->Advance(absl::Milliseconds(1));
  OrFail(broker->RunMaintenance());
  CHECK(partition->durable_end() == 1);
}

TEST_CASE("flush.messages and flush.ms delay the sync and with it acks=all", "[broker][append]") {
  Machine machine;
  const auto broker = machine.Open();
  const auto partition =
      MakeTopic(*broker, "orders", {{"flush.messages", "3"}, {"flush.ms", "500"}});
  const auto first = AppendLater(*broker, *partition, {"a"});
  const auto leader = AppendLater(*broker, *partition, {"b"}, {.acks = AckLevel::kLeader});
  OrFail(broker->RunMaintenance());
  CHECK(leader->given());
  CHECK_FALSE(first->given());
  SECTION("until there are so many records") {
    const auto third = AppendLater(*broker, *partition, {"c"});
    OrFail(broker->RunMaintenance());
    CHECK(first->given());
    CHECK(third->given());
  }
  SECTION("until the first has waited so long") {
    machine.clock->Advance(absl::Milliseconds(500));
    OrFail(broker->RunMaintenance());
    CHECK(first->given());
  }
  SECTION("not for an append that asks for its sync") {
    const auto now = AppendLater(*broker, *partition, {"c"}, {.sync = true});
    OrFail(broker->RunMaintenance());
    CHECK(now->given());
  }
  SECTION("nor for a caller who syncs") {
    OrFail(partition->SyncTo(1));
    CHECK(first->given());
  }
}

TEST_CASE("a closed segment is synced under every policy", "[broker][append]") {
  Machine machine;
  Options options = machine.options();
  options.flush = FlushPolicy::kOs;
  const auto broker = machine.Open(options);
  const auto partition = MakeTopic(*broker, "orders", {{"segment.bytes", "200"}});
  for (int i = 0; i < 4; ++i) AppendLater(*broker, *partition, {std::string(50, 'x')});
  OrFail(broker->RunMaintenance());
  CHECK(partition->durable_end() >= 1);
}

TEST_CASE("the quota refuses appends, and nothing else", "[broker][append]") {
  Machine machine;
  Options options = machine.options();
  options.max_total_bytes = 4096;
  const auto broker = machine.Open(options);
  const auto partition = MakeTopic(*broker, "orders", {{"segment.bytes", "1024"}});
  Status status;
  int accepted = 0;
  while (status.ok()) {
    status = Append(*broker, *partition, {std::string(500, 'x')}).status();
    accepted += status.ok() ? 1 : 0;
    REQUIRE(accepted < 100);
  }
  CHECK(ErrorIdOf(status) == ErrorId::kQuotaReached);
  CHECK_THAT(Message(status), Contains("orders-0") && Contains("max_total_bytes = 4096"));
  CHECK(accepted > 3);
  CHECK(Values(*partition).size() == static_cast<size_t>(accepted));
  MakeTopic(*broker, "another");  // metadata is not held to it
  OrFail(broker->DeleteRecords({{{"orders", 0}, -1}}));
  OrFail(Append(*broker, *partition, {std::string(500, 'x')}).status());
}

TEST_CASE("the quota counts what was there when the broker was opened", "[broker][append]") {
  Machine machine;
  auto broker = machine.Open();
  OrFail(Append(*broker, *MakeTopic(*broker, "orders"), {std::string(3000, 'x')}).status());
  OrFail(broker->Close(absl::Seconds(5)));
  Options options = machine.options();
  options.max_total_bytes = 4096;
  broker = machine.Open(options);
  const auto other = MakeTopic(*broker, "other");
  CHECK(ErrorIdOf(Append(*broker, *other, {std::string(1000, 'x')}).status()) ==
        ErrorId::kQuotaReached);
  OrFail(broker->DeleteTopic("orders"));
  OrFail(Append(*broker, *other, {std::string(1000, 'x')}).status());
}

TEST_CASE("timestamps are held to the topic's limits", "[broker][append]") {
  Machine machine;
  const auto broker = machine.Open();
  const auto partition =
      MakeTopic(*broker, "orders", {{"message.timestamp.before.max.ms", "1000"}});
  const int64_t now = absl::ToUnixMillis(machine.clock->Now());
  const auto append = [&](Partition& to, int64_t timestamp, bool in_process) {
    const auto batch = MakeBatch(broker->buffers(), {"x"}, timestamp);
    return to.Append(batch, {.in_process = in_process}, [](const StatusOr<Appended>&) {});
  };
  for (const bool in_process : {true, false}) {
    OrFail(append(*partition, now, in_process));
    OrFail(append(*partition, now + 3600000, in_process));
    OrFail(append(*partition, now - 1000, in_process));
    for (const int64_t bad :
         {now + 3600001, now - 1001, int64_t{253402300800000}, INT64_MAX, int64_t{-2}}) {
      const Status status = append(*partition, bad, in_process);
      INFO(bad << " " << in_process);
      CHECK(ErrorIdOf(status) == ErrorId::kInvalidTimestamp);
      CHECK_THAT(Message(status), Contains("orders-0"));
    }
  }
  const auto free =
      MakeTopic(*broker, "free", {{"message.timestamp.after.max.ms", "9223372036854775807"}});
  OrFail(append(*free, 253402300800000, true));
  CHECK(ErrorIdOf(append(*free, -1, true)) == ErrorId::kInvalidTimestamp);
  OrFail(append(*free, -1, false));  // Kafka's "no timestamp"

  const auto stamped = MakeTopic(*broker, "stamped", {{"message.timestamp.type", "LogAppendTime"}});
  OrFail(append(*stamped, 5, true));
  OrFail(stamped->SyncTo(1));
  const auto fetched = OrFail(stamped->Fetch(0, 1000, ReadLevel::kCommitted));
  const auto header = OrFail(record::ParseHeader(fetched.bytes));
  CHECK(header.is_log_append_time());
  CHECK(header.max_timestamp_ms == now);
  OrFail(record::CheckCrc(header, fetched.bytes));
}

TEST_CASE("a compacted topic takes no record without a key", "[broker][append]") {
  Machine machine;
  const auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "table", {{"cleanup.policy", "compact"}});
  const int64_t now = absl::ToUnixMillis(machine.clock->Now());
  const auto batch = MakeBatch(broker->buffers(), {"x"}, now, std::nullopt);
  const Status status = partition->Append(batch, {}, [](const StatusOr<Appended>&) {});
  CHECK(ErrorIdOf(status) == ErrorId::kInvalidRecord);
  OrFail(Append(*broker, *partition, {"keyed"}).status());
}

TEST_CASE("a batch from outside is looked at before it is taken", "[broker][append]") {
  Machine machine;
  const auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders");
  const int64_t now = absl::ToUnixMillis(machine.clock->Now());
  const AppendOptions foreign = {.in_process = false};
  const auto refused = [&](const record::EncodedBatch& batch) {
    const Status status =
        partition->Append(batch, foreign, [](const StatusOr<Appended>&) { FAIL("answered"); });
    CHECK_THAT(Message(status), Contains("orders-0"));
    return ErrorIdOf(status);
  };
  auto batch = MakeBatch(broker->buffers(), {"hello"}, now);
  SECTION("its checksum") {
    batch.bytes()[70] ^= std::byte{1};
    CHECK(refused(batch) == ErrorId::kCorruptMessage);
  }
  SECTION("its length") {
    --batch.size_bytes;
    CHECK(refused(batch) == ErrorId::kInvalidRecord);
  }
  SECTION("its header") {
    batch.bytes()[16] = std::byte{1};
    CHECK(refused(batch) == ErrorId::kCorruptMessage);
  }
  SECTION("control batches are not a client's to write") {
    auto header = OrFail(record::ParseHeader(batch.bytes()));
    header.attributes |= 0x20;
    record::StoreHeader(header, batch.bytes().data());
    header.crc = record::ComputeCrc(batch.bytes());
    record::StoreHeader(header, batch.bytes().data());
    CHECK(refused(batch) == ErrorId::kInvalidRecord);
  }
  SECTION("its records, against its own header") {
    auto header = OrFail(record::ParseHeader(batch.bytes()));
    header.record_count = 2;
    header.last_offset_delta = 1;
    record::StoreHeader(header, batch.bytes().data());
    header.crc = record::ComputeCrc(batch.bytes());
    record::StoreHeader(header, batch.bytes().data());
    CHECK(refused(batch) == ErrorId::kInvalidRecord);
  }
  CHECK(partition->log_end() == 0);
}

TEST_CASE("a topic with a codec of its own stores batches in it", "[broker][append]") {
  Machine machine;
  const auto broker = machine.Open();
  const std::vector<std::string> values(50, "the same thing over and over");
  for (const auto& [type, codec] :
       {std::pair("zstd", record::Codec::kZstd), std::pair("gzip", record::Codec::kGzip),
        std::pair("lz4", record::Codec::kLz4), std::pair("snappy", record::Codec::kSnappy),
        std::pair("uncompressed", record::Codec::kNone)}) {
    const auto partition = MakeTopic(*broker, type, {{"compression.type", type}});
    OrFail(Append(*broker, *partition, values).status());
    const auto packed = record::BatchBuilder(broker->buffers());
    const auto fetched = OrFail(partition->Fetch(0, 1 << 20, ReadLevel::kCommitted));
    const auto header = OrFail(record::ParseHeader(fetched.bytes));
    CHECK(header.codec() == codec);
    OrFail(record::CheckCrc(header, fetched.bytes));
    CHECK(header.producer_id >= 0);
    CHECK(Values(*partition) == values);
  }
}

TEST_CASE("producers of the process are idempotent under one id, across restarts",
          "[broker][append]") {
  Machine machine;
  auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders");
  OrFail(Append(*broker, *partition, {"a", "b"}).status());
  OrFail(Append(*broker, *partition, {"c"}).status());
  OrFail(Append(*broker, *partition, {"d"}, {.idempotent = false}).status());
  const auto header_at = [](Partition& p, Offset offset) {
    // One batch a read: max_bytes is too small for two.
    const auto fetched = OrFail(p.Fetch(offset, 1, ReadLevel::kCommitted));
    return OrFail(record::ParseHeader(fetched.bytes));
  };
  CHECK(header_at(*partition, 0).producer_id == 0);
  CHECK(header_at(*partition, 0).base_sequence == 0);
  CHECK(header_at(*partition, 2).base_sequence == 2);
  CHECK(header_at(*partition, 3).producer_id == -1);

  machine.ProcessKill();
  Abandon(broker);
  broker = machine.Open();
  const auto again = OrFail(broker->FindPartition("orders", 0));
  OrFail(Append(*broker, *again, {"e"}).status());
  CHECK(header_at(*again, 4).producer_id == 1000);
  CHECK(header_at(*again, 4).base_sequence == 0);
}

TEST_CASE("a retry from outside is recognised and answered with the old offset",
          "[broker][append]") {
  Machine machine;
  const auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders");
  const int64_t now = absl::ToUnixMillis(machine.clock->Now());
  const auto send = [&](int32_t sequence) {
    const auto batch = MakeBatch(broker->buffers(), {"x"}, now);
    record::AssignProducer(batch.bytes().data(), 77, 0, sequence, batch.payload_crc);
    auto answer = std::make_shared<Answer>();
    const Status accepted =
        partition->Append(batch, {.in_process = false},
                          [answer](const StatusOr<Appended>& result) { answer->result = result; });
    if (!accepted.ok()) answer->result = accepted;
    return answer;
  };
  const auto first = send(0);
  const auto retry = send(0);  // while the first still waits
  CHECK_FALSE(retry->given());
  OrFail(partition->SyncTo(1));
  CHECK(OrFail(*first->result).base_offset == 0);
  CHECK(OrFail(*retry->result).base_offset == 0);
  CHECK(OrFail(*retry->result).duplicate);
  CHECK(OrFail(*send(0)->result).duplicate);  // durable already: answered at once
  CHECK(partition->log_end() == 1);
  CHECK(ErrorIdOf(send(5)->result->status()) == ErrorId::kOutOfOrderSequence);
  CHECK(broker->metrics().records_appended == 1);
}

}  // namespace millrace::broker
