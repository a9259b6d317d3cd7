// What goes on, and what does not, when the disk fails or is full.
#include <catch2/catch.hpp>

#include "base/errors.h"
#include "broker_fixture.h"

namespace millrace::broker {
namespace {

using Catch::Contains;
using testing::DiskCall;
using testing::DiskOp;
using testing::Fault;

}  // namespace

TEST_CASE("a failed sync is final: nothing more is acknowledged, what is durable is read",
          "[broker][failure]") {
  Machine machine;
  auto broker = machine.Open();
  const auto p0 = MakeTopic(*broker, "orders");
  const auto p1 = MakeTopic(*broker, "others");
  OrFail(Append(*broker, *p0, {"durable"}).status());
  OrFail(Append(*broker, *p1, {"durable too"}).status());
  const auto waits0 = AppendLater(*broker, *p0, {"a"});
  const auto waits1 = AppendLater(*broker, *p1, {"b"});

  const Fault::Kind kind = GENERATE(Fault::Kind::kFail, Fault::Kind::kSyncDropsPages);
  int failures = 1;
  machine.disk->SetFaults([&](const DiskCall& call) -> std::optional<Fault> {
    if (call.op != DiskOp::kSync || call.path.find("orders-0/") == std::string::npos) return {};
    if (failures-- <= 0) return {};
    return Fault{.kind = kind};
  });
  const Status failed = p0->SyncTo(2);
  CHECK_FALSE(failed.ok());
  for (const auto& answer : {waits0, waits1}) {
    REQUIRE(answer->given());
    const auto detail = DetailOf(answer->result->status());
    REQUIRE(detail.has_value());
    CHECK((detail->name == "io_error" || detail->name == "directory_failed"));
    CHECK(detail->persistence == Persistence::kPossiblyPersisted);
  }
  // A second sync would succeed; nobody tries it.
  CHECK(ErrorIdOf(p0->SyncTo(2)) == ErrorId::kDirectoryFailed);
  CHECK(p0->high_watermark() == 1);
  for (const auto acks : {AckLevel::kAll, AckLevel::kLeader, AckLevel::kNone}) {
    for (const auto& partition : {p0, p1}) {
      const Status refused = Append(*broker, *partition, {"c"}, {.acks = acks}).status();
      CHECK(ErrorIdOf(refused) == ErrorId::kDirectoryFailed);
    }
  }
  CHECK(ErrorIdOf(broker->usable()) == ErrorId::kDirectoryFailed);
  CHECK(ErrorIdOf(broker->Sync()) == ErrorId::kDirectoryFailed);
  CreateTopicRequest request;
  request.name = "more";
  CHECK(ErrorIdOf(broker->CreateTopic(request)) == ErrorId::kDirectoryFailed);
  CHECK(ErrorIdOf(broker->DeleteTopic("orders")) == ErrorId::kDirectoryFailed);
  CHECK(Values(*p0) == std::vector<std::string>{"durable"});
  CHECK(Values(*p1) == std::vector<std::string>{"durable too"});
  CHECK(broker->metrics().sync_failures == 1);
  REQUIRE_FALSE(machine.warnings.empty());
  CHECK_THAT(machine.warnings[0], Contains("nothing more is acknowledged"));

  machine.disk->SetFaults(nullptr);
  broker->Close(absl::Seconds(5)).IgnoreError();
  broker = machine.Open();
  const auto again = Values(*OrFail(broker->FindPartition("orders", 0)));
  REQUIRE_FALSE(again.empty());
  CHECK(again[0] == "durable");
  OrFail(Append(*broker, *OrFail(broker->FindPartition("orders", 0)), {"d"}).status());
}

TEST_CASE(
    "a full disk refuses appends; everything else goes on, and appends too when there is room",
    "[broker][failure]") {
  Machine machine;
  auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders", {{"segment.bytes", "4096"}});
  OrFail(Append(*broker, *partition, {"first"}).status());
  OrFail(broker->RunMaintenance());
  REQUIRE(machine.disk->Stat("data/millrace/ballast").ok());

  uint64_t used = 0;
  for (const std::string& path : machine.disk->AllFiles()) {
    used += OrFail(machine.disk->Peek(path)).size();
  }
  machine.disk->SetCapacity(used + 1000);
  Status status;
  int accepted = 1;
  while (status.ok()) {
    status = Append(*broker, *partition, {std::string(300, 'x')}).status();
    accepted += status.ok() ? 1 : 0;
    REQUIRE(accepted < 100);
  }
  CHECK(ErrorIdOf(status) == ErrorId::kNoSpace);
  CHECK(IsRetriable(status));
  CHECK(Values(*partition).size() == static_cast<size_t>(accepted));
  // The ballast pays for what the broker itself must write.
  for (int i = 0; machine.disk->Stat("data/millrace/ballast").ok(); ++i) {
    REQUIRE(i < 100);
    OrFail(broker->AlterConfig("orders", {{"retention.ms", std::to_string(1000000 + i)}}));
  }
  MakeTopic(*broker, "another");
  OrFail(broker->usable());
  // The room that it gave back is not for users.
  status = Append(*broker, *partition, {"small"}).status();
  CHECK(ErrorIdOf(status) == ErrorId::kNoSpace);
  CHECK_THAT(std::string(status.message()), Contains("kept for the broker's own state"));
  machine.clock->Advance(absl::Seconds(1));

  machine.disk->SetCapacity(used + (16 << 20));
  OrFail(Append(*broker, *partition, {"last"}).status());
  CHECK(machine.disk->Stat("data/millrace/ballast").ok());
  OrFail(broker->Close(absl::Seconds(5)));
  broker = machine.Open();
  CHECK(Values(*OrFail(broker->FindPartition("orders", 0))).size() ==
        static_cast<size_t>(accepted) + 1);
}

TEST_CASE("a broker closes and opens on a full disk", "[broker][failure]") {
  Machine machine;
  auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders", {{"segment.bytes", "4096"}});
  OrFail(broker->RunMaintenance());
  uint64_t used = 0;
  for (const std::string& path : machine.disk->AllFiles()) {
    used += OrFail(machine.disk->Peek(path)).size();
  }
  machine.disk->SetCapacity(used + 20000);
  size_t accepted = 0;
  while (Append(*broker, *partition, {std::string(accepted < 40 ? 300 : 1, 'x')}).ok()) ++accepted;
  const bool clean = GENERATE(true, false);
  if (clean) {
    OrFail(broker->Close(absl::Seconds(5)));
  } else {
    machine.PowerCut();
    machine.disk->SetCapacity(used + 20000);
    Abandon(broker);
  }
  broker = machine.Open();
  const auto again = OrFail(broker->FindPartition("orders", 0));
  CHECK(Values(*again).size() == accepted);
  CHECK(again->leader_epoch() == (clean ? 0 : 1));
  MakeTopic(*broker, "another");
  OrFail(broker->Close(absl::Seconds(5)));
}

TEST_CASE("a read that fails fails that read", "[broker][failure]") {
  Machine machine;
  const auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders", {{"segment.bytes", "200"}});
  for (int i = 0; i < 5; ++i) OrFail(Append(*broker, *partition, {std::string(80, 'x')}).status());
  bool fail = true;
  machine.disk->SetFaults([&](const DiskCall& call) -> std::optional<Fault> {
    if (!fail || call.op != DiskOp::kRead) return {};
    return Fault{};
  });
  const Status status = partition->Fetch(0, 100, ReadLevel::kCommitted).status();
  REQUIRE_FALSE(status.ok());
  CHECK(DetailOf(status)->topic == "orders");
  CHECK(DetailOf(status)->partition == 0);
  fail = false;
  CHECK(Values(*partition).size() == 5);
  OrFail(Append(*broker, *partition, {"more"}).status());
}

}  // namespace millrace::broker
