#include <fmt/format.h>

#include "base/errors.h"
#include "log/log_fixture.h"
#include "millrace/testing/simulated_disk.h"

// When records go, and what goes with them.
namespace millrace::log {
namespace {

using testing::SimulatedDisk;

// Five records a segment: every batch is 90 bytes.
constexpr LogConfig kFive{.segment_bytes = 450, .retention = std::nullopt};

std::string Value(Offset i) { return fmt::format("v{:020}", i); }

void AppendMany(PartitionLog& log, int count, absl::Duration apart) {
  for (int i = 0; i < count; ++i) {
    const Offset at = log.log_end();
    Append(log, {Value(at)}, kT0 + at * absl::ToInt64Milliseconds(apart),
           std::max(0, log.latest_epoch()));
  }
  OrFail(log.SyncTo(log.log_end()));
}

absl::Time At(int64_t hours) { return absl::FromUnixMillis(kT0) + absl::Hours(hours); }

TEST_CASE("retention by time takes whole segments, oldest first, by their newest record",
          "[retention]") {
  SimulatedDisk disk(1);
  LogConfig config = kFive;
  config.retention = absl::Hours(10);
  OneLog log(disk, config);
  log.Open();
  AppendMany(*log, 23, absl::Hours(1));
  SECTION("a segment with one record that is young enough stays") {
    // The newest record of [0, 5) is four hours old at hour 4.
    CHECK(OrFail(log->ApplyRetention(At(14), 23)) == 0);
    CHECK(log->log_start() == 0);
  }
  SECTION("one without goes, with its indexes and its snapshot") {
    CHECK(OrFail(log->ApplyRetention(At(15), 23)) == 450);
    CHECK(log->log_start() == 5);
    for (const std::string& path : disk.AllFiles())
      CHECK_THAT(path, !Catch::Contains("00000000000000000000."));
    CHECK(ErrorIdOf(log->Read(4, 23, 1, TestPool()).status()) == ErrorId::kOffsetOutOfRange);
    CHECK(ReadAll(*log).front().offset == 5);
  }
  SECTION("nothing at or above the high watermark goes") {
    CHECK(OrFail(log->ApplyRetention(At(1000), 12)) == 900);
    CHECK(log->log_start() == 10);
  }
  SECTION("the active segment is rolled when all of it is due: a log may become empty") {
    CHECK(OrFail(log->ApplyRetention(At(1000), 23)) == 23 * 90);
    CHECK(log->log_start() == 23);
    CHECK(log->log_end() == 23);
    CHECK(log->size_bytes() == 0);
    CHECK(Append(*log, {"next"}).base_offset == 23);
    OrFail(log->SyncTo(24));
    log.DropAndOpen();
    CHECK(log->log_start() == 23);
    CHECK(Values(ReadAll(*log)) == "next");
  }
  SECTION("a topic that is not cleaned by deletion keeps all") {
    config.delete_by_retention = false;
    log->SetConfig(config);
    CHECK(OrFail(log->ApplyRetention(At(1000), 23)) == 0);
  }
  SECTION("a new limit holds from the next pass on") {
    config.retention = std::nullopt;
    log->SetConfig(config);
    CHECK(OrFail(log->ApplyRetention(At(1000), 23)) == 0);
  }
}

TEST_CASE("retention by size keeps at least as much as it says", "[retention]") {
  SimulatedDisk disk(1);
  LogConfig config = kFive;
  config.retention_bytes = 1000;
  OneLog log(disk, config);
  log.Open();
  AppendMany(*log, 25, absl::Hours(1));
  // 2250 bytes: two segments of 450 may go, with a third there would be 900 left.
  CHECK(OrFail(log->ApplyRetention(At(0), 25)) == 900);
  CHECK(log->log_start() == 10);
  CHECK(log->size_bytes() == 15 * 90);
  CHECK(log.directory->total_bytes() == 15 * 90);
}

TEST_CASE("deleted records stay deleted", "[retention]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFive);
  log.Open();
  AppendMany(*log, 23, absl::Hours(1));
  OrFail(log->DeleteRecordsBefore(12, 23));
  CHECK(log->log_start() == 12);
  CHECK(log->segments().front().base_offset == 10);
  SECTION("after a power cut at once") {
    log.Drop();
    const auto after = disk.PowerCut(3, testing::CutMode::kAdversarial);
    OneLog again(*after, kFive);
    again.Open();
    CHECK(again->log_start() == 12);
    CHECK(again->log_end() == 23);
    CHECK(ReadAll(*again).front().offset == 12);
  }
  SECTION("after a clean close") {
    log.CloseAndOpen();
    CHECK(log->recovery().clean);
    CHECK(log->log_start() == 12);
  }
  SECTION("asking for less changes nothing, for more than the high watermark is refused") {
    OrFail(log->DeleteRecordsBefore(3, 23));
    CHECK(log->log_start() == 12);
    const Status status = log->DeleteRecordsBefore(24, 23);
    CHECK(ErrorIdOf(status) == ErrorId::kOffsetOutOfRange);
    CHECK_THAT(status.ToString(), Catch::Contains("[12, 23]"));
  }
}

TEST_CASE("files wait for file.delete.delay.ms under another name", "[retention]") {
  SimulatedDisk disk(1);
  LogConfig config = kFive;
  config.file_delete_delay = absl::Minutes(1);
  OneLog log(disk, config);
  log.Open();
  AppendMany(*log, 12, absl::Hours(1));
  OrFail(log->DeleteRecordsBefore(7, 12));
  const std::string renamed = log.PathOf("00000000000000000000.log.deleted");
  CHECK(disk.Peek(renamed).ok());
  log.clock.Advance(absl::Minutes(2));
  OrFail(log->ApplyRetention(log.clock.Now(), 12));
  CHECK_FALSE(disk.Peek(renamed).ok());
}

TEST_CASE("segments roll by the time in their records, and by upkeep when nothing comes",
          "[retention]") {
  SimulatedDisk disk(1);
  LogConfig config;
  config.segment_age = absl::Hours(5);
  OneLog log(disk, config);
  log.Open();
  Append(*log, {"a"}, kT0);
  Append(*log, {"b"}, kT0 + 5 * 3'600'000);
  CHECK(log->segments().size() == 1);
  const AppendResult rolled = Append(*log, {"c"}, kT0 + 5 * 3'600'000 + 1);
  CHECK(rolled.rolled);
  CHECK(log->segments().size() == 2);
  OrFail(log->RollIfDue(At(10)));
  CHECK(log->segments().size() == 2);
  OrFail(log->RollIfDue(At(11)));
  CHECK(log->segments().size() == 3);
  OrFail(log->RollIfDue(At(100)));
  CHECK(log->segments().size() == 3);  // an empty one does not age
}

TEST_CASE("the file of the sums does not grow with segments long gone", "[retention]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFive);
  log.Open();
  for (int i = 0; i < 400; ++i) {
    AppendMany(*log, 5, absl::Hours(1));
    OrFail(log->DeleteRecordsBefore(log->log_end() - 2, log->log_end()));
  }
  size_t bytes = 0;
  for (const std::string& path : disk.AllFiles()) {
    if (path.starts_with("data/millrace/sums/")) bytes = OrFail(disk.Peek(path)).size();
  }
  CHECK(bytes < 300 * 70);
  log.DropAndOpen();
  CHECK(log->recovery().damage.empty());
  CHECK(log->log_end() == 2000);
}

}  // namespace
}  // namespace millrace::log
