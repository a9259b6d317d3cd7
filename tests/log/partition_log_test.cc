#include "log/partition_log.h"

#include <fmt/format.h>

#include "base/errors.h"
#include "env/file_util.h"
#include "log/log_fixture.h"

namespace millrace::log {
namespace {

// A partition's promises to its readers, over files in memory.
TEST_CASE("a log numbers its records without gaps", "[log]") {
  const auto files = NewMemoryFileSystem();
  OneLog log(*files);
  log.Open();
  CHECK(Append(*log, {"a", "b"}).base_offset == 0);
  CHECK(Append(*log, {"c"}).base_offset == 2);
  CHECK(log->log_end() == 3);
  CHECK(log->synced_end() == 0);
  OrFail(log->SyncTo(3));
  CHECK(log->synced_end() == 3);
  CHECK(Values(ReadAll(*log)) == "a b c");
  SECTION("a read stops below its bound, at a batch border") {
    const auto read = OrFail(log->Read(0, 2, 1 << 20, TestPool()));
    CHECK(read.next_offset == 2);
  }
  SECTION("a read gives one batch at least, whatever the byte limit") {
    const auto read = OrFail(log->Read(0, 3, 1, TestPool()));
    CHECK(read.next_offset == 2);
  }
  SECTION("an offset within a batch gives the whole batch") {
    const auto read = OrFail(log->Read(1, 3, 1, TestPool()));
    CHECK(OrFail(record::ParseHeader(read.bytes)).base_offset == 0);
  }
  SECTION("a read at the end is empty, one beyond it says which offsets exist") {
    CHECK(OrFail(log->Read(3, 3, 1, TestPool())).bytes.empty());
    const Status status = log->Read(4, 3, 1, TestPool()).status();
    CHECK(ErrorIdOf(status) == ErrorId::kOffsetOutOfRange);
    CHECK_THAT(status.ToString(), Catch::Contains("[0, 3)") && Catch::Contains("orders-0"));
  }
  SECTION("a clean close and open keeps everything") {
    log.CloseAndOpen();
    CHECK(log.directory->was_clean());
    CHECK(log->recovery().clean);
    CHECK(log->synced_end() == 3);
    CHECK(Values(ReadAll(*log)) == "a b c");
    CHECK(Append(*log, {"d"}).base_offset == 3);
    CHECK(Values(ReadAll(*log)) == "a b c d");
  }
  SECTION("and so does an unclean one, while the machine lives") {
    Append(*log, {"unsynced"});
    log.DropAndOpen();
    CHECK_FALSE(log.directory->was_clean());
    CHECK_FALSE(log->recovery().clean);
    CHECK(log->synced_end() == 4);
    CHECK(Values(ReadAll(*log)) == "a b c unsynced");
    CHECK(log->recovery().damage.empty());
  }
}

TEST_CASE("a log rolls into segments and reads across them", "[log]") {
  const auto files = NewMemoryFileSystem();
  OneLog log(*files, {.segment_bytes = 1000, .index_interval_bytes = 100});
  log.Open();
  std::string all;
  for (int i = 0; i < 100; ++i) {
    Append(*log, {fmt::format("v{}", i)}, kT0 + i * 10);
    all += fmt::format("{}v{}", i == 0 ? "" : " ", i);
  }
  CHECK(log->segments().size() > 5);
  CHECK(Values(ReadAll(*log)) == all);
  OrFail(log->SyncTo(100));
  for (Offset from = 0; from < 100; ++from) {
    const auto read = OrFail(log->Read(from, 100, 1, TestPool()));
    CHECK(read.next_offset == from + 1);
  }
  SECTION("after a clean close") {
    log.CloseAndOpen();
    CHECK(log->recovery().clean);
  }
  SECTION("after a kill") {
    log.DropAndOpen();
    CHECK(log->recovery().notes.empty());
  }
  CHECK(Values(ReadAll(*log)) == all);
  CHECK(log->segments().size() > 5);
  SECTION("and finds offsets for times") {
    for (int i = 0; i < 100; ++i) {
      const auto found = OrFail(log->FindTime(kT0 + i * 10 - 5, 100, TestPool()));
      REQUIRE(found.has_value());
      CHECK(found->offset == i);
      CHECK(found->timestamp_ms == kT0 + i * 10);
    }
    CHECK_FALSE(OrFail(log->FindTime(kT0 + 1000, 100, TestPool())).has_value());
    CHECK(OrFail(log->FindMaxTimestamp(100, TestPool()))->offset == 99);
    CHECK(OrFail(log->FindMaxTimestamp(50, TestPool()))->offset == 49);
  }
  for (Offset from = 0; from < 100; ++from) {
    const auto read = OrFail(log->Read(from, 100, 1, TestPool()));
    CHECK(read.next_offset == from + 1);
  }
}

TEST_CASE("a log refuses batches that are none", "[log]") {
  const auto files = NewMemoryFileSystem();
  OneLog log(*files, {.max_message_bytes = 500});
  log.Open();
  SECTION("a wrong CRC") {
    auto batch = MakeBatch({"a"});
    batch.back() ^= std::byte{1};
    CHECK(ErrorIdOf(log->Append(batch, {}, false).status()) == ErrorId::kCorruptMessage);
  }
  SECTION("too large") {
    auto batch = MakeBatch({std::string(600, 'x')});
    const Status status = log->Append(batch, {}, false).status();
    CHECK(ErrorIdOf(status) == ErrorId::kRecordTooLarge);
    CHECK_THAT(status.ToString(), Catch::Contains("max.message.bytes is 500"));
    INFO("or for a segment");
    log->SetConfig({.segment_bytes = 400, .max_message_bytes = 500});
    const Status wide = log->Append(batch, {}, false).status();
    CHECK(ErrorIdOf(wide) == ErrorId::kRecordTooLarge);
    CHECK_THAT(wide.ToString(), Catch::Contains("segment.bytes is 400"));
  }
  SECTION("cut off") {
    auto batch = MakeBatch({"a"});
    CHECK(ErrorIdOf(log->Append(std::span(batch).first(batch.size() - 1), {}, false).status()) ==
          ErrorId::kCorruptMessage);
  }
  CHECK(log->log_end() == 0);
}

TEST_CASE("a retry of one of the last five batches is recognised", "[log][producers]") {
  const auto files = NewMemoryFileSystem();
  OneLog log(*files);
  log.Open();
  for (int i = 0; i < 6; ++i) OrFail(TryAppendFrom(*log, {"x", "y"}, 9, 0, i * 2));
  SECTION("at once") {}
  SECTION("after a clean restart") { log.CloseAndOpen(); }
  SECTION("after a kill") { log.DropAndOpen(); }
  SECTION("after a roll and a kill") {
    OrFail(log->Roll());
    log.DropAndOpen();
  }
  SECTION("when the snapshot is lost") {
    log.Close();
    for (const auto& name : OrFail(files->List("data/orders-0"))) {
      if (name.ends_with(".snapshot")) OrFail(files->RemoveFile(log.PathOf(name)));
    }
    log.Open();
    CHECK_FALSE(log->recovery().clean);
  }
  for (int i = 1; i < 6; ++i) {
    const auto again = OrFail(TryAppendFrom(*log, {"x", "y"}, 9, 0, i * 2));
    CHECK(again.duplicate);
    CHECK(again.base_offset == i * 2);
  }
  CHECK(ErrorIdOf(TryAppendFrom(*log, {"x", "y"}, 9, 0, 0).status()) ==
        ErrorId::kOutOfOrderSequence);
  CHECK(ErrorIdOf(TryAppendFrom(*log, {"x"}, 9, 0, 14).status()) == ErrorId::kOutOfOrderSequence);
  CHECK(OrFail(TryAppendFrom(*log, {"z"}, 9, 0, 12)).base_offset == 12);
  CHECK(OrFail(TryAppendFrom(*log, {"z"}, 9, 1, 0)).base_offset == 13);
  CHECK(ErrorIdOf(TryAppendFrom(*log, {"z"}, 9, 0, 13).status()) == ErrorId::kInvalidProducerEpoch);
}

}  // namespace
}  // namespace millrace::log
