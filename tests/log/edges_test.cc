#include <catch2/catch.hpp>

#include "base/errors.h"
#include "log/log_fixture.h"
#include "millrace/testing/simulated_disk.h"
#include "record/batch.h"

// What is rare in the life of a log: very large batches, odd timestamps, requests out of order.
namespace millrace::log {
namespace {

using testing::SimulatedDisk;

const std::string kLogFile = "data/orders-0/00000000000000000000.log";

StatusOr<AppendResult> AppendWith(PartitionLog& log, AppendRequest request) {
  auto batch = MakeBatch({"v"});
  request.payload_crc = record::PayloadCrc(batch);
  return log.Append(batch, request, /*verified=*/false);
}

}  // namespace

TEST_CASE("a batch is read whole, however large", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk, {.max_message_bytes = 64 << 20});
  log.Open();
  Append(*log, {"small"});
  Append(*log, {std::string(20 << 10, 'm')});
  Append(*log, {std::string(9 << 20, 'l')});
  Append(*log, {"last"});
  const auto size_at = [&](Offset offset) {
    return OrFail(log->Read(offset, 4, 1, TestPool())).bytes.size();
  };
  CHECK(size_at(1) > size_t{20 << 10});
  CHECK(size_at(2) > size_t{9 << 20});
  SECTION("and one that fails its CRC is damage, of which the others know nothing") {
    std::string bytes = OrFail(disk.Peek(kLogFile));
    bytes[size_t{5} << 20] ^= 1;
    OrFail(disk.Poke(kLogFile, bytes));
    CHECK(ErrorIdOf(log->Read(2, 4, 1, TestPool()).status()) == ErrorId::kCorruptLog);
    REQUIRE(log->damage().size() == 1);
    CHECK(log->damage()[0].first_offset == 2);
    CHECK(log->damage()[0].end_offset == 3);
    CHECK(Values(OrFail(TryReadAll(*log, 3, 4))) == "last");
    CHECK(Values(OrFail(TryReadAll(*log, 0, 1))) == "small");
  }
  SECTION("and one of which only the beginning is there is damage too") {
    OrFail(disk.Poke(kLogFile, OrFail(disk.Peek(kLogFile)).substr(0, size_t{5} << 20)));
    CHECK(ErrorIdOf(log->Read(2, 4, 1, TestPool()).status()) == ErrorId::kCorruptLog);
    CHECK(size_at(1) > size_t{20 << 10});
  }
}

TEST_CASE("nobody is shown a batch that goes on beyond what he may see", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Append(*log, {"a", "b", "c"});
  Append(*log, {"d", "e", "f"});
  const auto nothing = OrFail(log->Read(0, 2, 1 << 20, TestPool()));
  CHECK(nothing.bytes.empty());
  CHECK(nothing.next_offset == 0);
  CHECK(OrFail(log->Read(0, 4, 1 << 20, TestPool())).next_offset == 3);
  CHECK(log->damage().empty());
}

TEST_CASE("a log writes into a batch what it is asked to", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  const auto header_at = [&](Offset offset) {
    return OrFail(record::ParseHeader(OrFail(log->Read(offset, offset + 1, 1, TestPool())).bytes));
  };
  SECTION("the sequences of a producer that leaves them to the log") {
    for (int i = 0; i < 2; ++i) {
      OrFail(AppendWith(
          *log,
          {.leader_epoch = 0, .assign_sequence = true, .producer_id = 9, .producer_epoch = 2}));
      CHECK(header_at(i).base_sequence == i);
      CHECK(header_at(i).producer_id == 9);
    }
  }
  SECTION("the time of the append") {
    const auto appended =
        OrFail(AppendWith(*log, {.leader_epoch = 0, .log_append_time_ms = kT0 + 5}));
    CHECK(appended.max_timestamp_ms == kT0 + 5);
    CHECK(header_at(0).is_log_append_time());
    CHECK(header_at(0).max_timestamp_ms == kT0 + 5);
  }
  SECTION("but no leader epoch that lies behind") {
    Append(*log, {"v"}, kT0, 3);
    CHECK(ErrorIdOf(TryAppend(*log, {"v"}, kT0, 2).status()) == ErrorId::kInvalidArgument);
    CHECK(log->log_end() == 1);
  }
}

TEST_CASE("timestamps before 1970 are kept and never found", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Append(*log, {"a"}, -50);
  Append(*log, {"b"}, -20);
  CHECK(OrFail(log->FindMaxTimestamp(2, TestPool())) == std::nullopt);
  CHECK(OrFail(log->FindTime(INT64_MIN, 2, TestPool()))->offset == 0);
  CHECK(ReadAll(*log)[1].timestamp_ms == -20);
  Append(*log, {"c", "d"}, 10);
  Append(*log, {"e"}, 30);
  SECTION("a time that the middle of a batch has") {
    const auto found = OrFail(log->FindTime(11, 5, TestPool()));
    REQUIRE(found.has_value());
    CHECK(found->offset == 3);
  }
  SECTION("the largest of a part of the segment") {
    const auto found = OrFail(log->FindMaxTimestamp(4, TestPool()));
    REQUIRE(found.has_value());
    CHECK(found->timestamp_ms == 11);
  }
  SECTION("a time that only hidden records have") {
    CHECK(OrFail(log->FindTime(30, 4, TestPool())) == std::nullopt);
  }
}

TEST_CASE("what was closed or opened for reading takes nothing", "[log][directory]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Append(*log, {"a"});
  SECTION("after its close") {
    OrFail(log.directory->CloseCleanly({log.log.get()}, absl::InfiniteFuture()));
    CHECK(ErrorIdOf(TryAppend(*log, {"b"}).status()) == ErrorId::kClosed);
    OrFail(log.directory->CloseCleanly({log.log.get()}, absl::InfiniteFuture()));  // once is enough
  }
  SECTION("after a close that came too late, which the next open does not take for a clean one") {
    const Status late = log.directory->CloseCleanly({log.log.get()}, absl::InfinitePast());
    CHECK(ErrorIdOf(late) == ErrorId::kTimedOut);
    log.DropAndOpen();
    CHECK_FALSE(log.directory->was_clean());
    CHECK(Values(ReadAll(*log)) == "a");
  }
  SECTION("for reading") {
    log.Close();
    log.Drop();
    OrFail(log.TryOpen(/*read_only=*/true));
    CHECK(Values(ReadAll(*log)) == "a");
    CHECK(ErrorIdOf(TryAppend(*log, {"b"}).status()) == ErrorId::kReadOnly);
    CHECK(ErrorIdOf(log.directory->DeletePartition("orders-0", kTopic, 0)) == ErrorId::kReadOnly);
    const auto missing =
        log.directory->OpenPartition("other-0", Uuid::FromRandom(8, 9), 0, {}, true);
    CHECK(ErrorIdOf(missing.status()) == ErrorId::kNotFound);
    OrFail(log.directory->CloseCleanly({log.log.get()}, absl::InfiniteFuture()));
    log.Drop();
    log.Open();
    CHECK(log.directory->was_clean());  // a reader has not taken the close back
  }
  SECTION("for reading, where there is nothing") {
    OneLog nowhere(disk, {}, "elsewhere");
    CHECK(ErrorIdOf(nowhere.TryOpen(/*read_only=*/true)) == ErrorId::kNotFound);
  }
}

TEST_CASE("records are deleted up to an offset that everybody has", "[log][retention]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Append(*log, {"a", "b"});
  OrFail(log->SyncTo(2));
  for (const Offset offset : {Offset{-1}, Offset{2}}) {
    const Status refused = log->DeleteRecordsBefore(offset, /*high_watermark=*/1);
    CHECK(ErrorIdOf(refused) == ErrorId::kOffsetOutOfRange);
  }
  OrFail(log->DeleteRecordsBefore(1, 1));
  CHECK(log->log_start() == 1);
}

}  // namespace millrace::log
