// A log that is open for reading beside its writer.
#include <catch2/catch.hpp>

#include "base/byte_writer.h"
#include "env/file_util.h"
#include "log/log_fixture.h"
#include "millrace/testing/simulated_disk.h"

namespace millrace::log {
namespace {

struct Pair {
  explicit Pair(LogConfig config = {}) : writer(*files, config), reader(*files, config) {
    writer.Open();
    Append(*writer, {"v0"});
    OrFail(reader.TryOpen(/*read_only=*/true));
  }
  std::string Read(Offset from = -1) { return Values(ReadAll(*reader, from)); }

  std::shared_ptr<FileSystem> files = NewMemoryFileSystem();
  OneLog writer, reader;
};

LogConfig SmallSegments() {
  LogConfig config;
  config.segment_bytes = 300;
  return config;
}

TEST_CASE("a reader follows what the writer appends", "[follow]") {
  Pair pair;
  CHECK(pair.Read() == "v0");
  CHECK_FALSE(OrFail(pair.reader->Follow()));
  Append(*pair.writer, {"v1", "v2"});
  Append(*pair.writer, {"v3"});
  CHECK(pair.Read() == "v0");  // not before it looks
  CHECK(OrFail(pair.reader->Follow()));
  CHECK(pair.Read() == "v0 v1 v2 v3");
  CHECK(pair.reader->log_end() == 4);
  CHECK(pair.reader->size_bytes() == pair.writer->size_bytes());
  CHECK_FALSE(OrFail(pair.reader->Follow()));
  CHECK_FALSE(OrFail(pair.writer->Follow()));  // knows it all
}

TEST_CASE("a reader takes no part of a batch", "[follow]") {
  Pair pair;
  Append(*pair.writer, {"v1"});
  const std::string path = pair.writer.PathOf("00000000000000000000.log");
  const auto file = OrFail(pair.files->Open(path, OpenMode::kReadWrite));
  const auto whole = OrFail(ReadWholeFile(*pair.files, path, 1 << 20));
  const auto size_before = OrFail(file->Size()) / 2;
  // The second batch comes byte by byte; then as zeros that are filled in, as a page cache may show
  // it.
  for (uint64_t size = size_before; size < whole.size(); ++size) {
    OrFail(file->Truncate(size));
    REQUIRE_FALSE(OrFail(pair.reader->Follow()));
    OrFail(file->WriteAt(size, std::span(whole).subspan(size, 1)));
  }
  OrFail(file->Truncate(size_before));
  OrFail(file->Truncate(whole.size()));
  for (uint64_t at = whole.size(); at-- > size_before;) {
    // The first bytes of its offset are zeros, filled in or not.
    if (at >= size_before + 8) REQUIRE_FALSE(OrFail(pair.reader->Follow()));
    OrFail(file->WriteAt(at, std::span(whole).subspan(at, 1)));
  }
  CHECK(OrFail(pair.reader->Follow()));
  CHECK(pair.Read() == "v0 v1");
}

TEST_CASE("a reader follows into new segments", "[follow]") {
  Pair pair(SmallSegments());
  std::string expected = "v0";
  for (int i = 1; i < 40; ++i) {
    Append(*pair.writer, {"v" + std::to_string(i)}, kT0 + i);
    expected += " v" + std::to_string(i);
    if (i % 7 == 0) OrFail(pair.reader->Follow());
  }
  OrFail(pair.reader->Follow());
  CHECK(pair.Read() == expected);
  CHECK(pair.reader->segments().size() == pair.writer->segments().size());
  CHECK(OrFail(pair.reader->FindTime(kT0 + 33, 40, TestPool()))->offset == 33);
  CHECK(pair.Read(20) == expected.substr(expected.find("v20")));
}

TEST_CASE("the empty file of a roll that failed leads no reader astray", "[follow]") {
  Pair pair;
  OrFail(pair.files->Open(pair.writer.PathOf("00000000000000000001.log"), OpenMode::kCreate));
  CHECK_FALSE(OrFail(pair.reader->Follow()));
  Append(*pair.writer, {"v1"});
  CHECK(OrFail(pair.reader->Follow()));
  CHECK(pair.Read() == "v0 v1");
}

TEST_CASE("a reader learns of what retention removed", "[follow]") {
  Pair pair(SmallSegments());
  for (int i = 1; i < 20; ++i) Append(*pair.writer, {"v" + std::to_string(i)}, kT0 + i);
  OrFail(pair.reader->Follow());
  OrFail(pair.writer->SyncTo(20));
  OrFail(pair.writer->DeleteRecordsBefore(10, 20));
  const Offset first_left = pair.writer->segments().front().base_offset;
  REQUIRE(first_left > 0);
  SECTION("when it looks") {
    CHECK(OrFail(pair.reader->Follow()));
    CHECK(pair.reader->log_start() == first_left);
    CHECK(pair.reader->size_bytes() == pair.writer->size_bytes());
  }
  SECTION("when it reads, and does not have the file open") {
    pair.reader->ReleaseIdle();
    pair.reader->ReleaseIdle();
    const auto read = pair.reader->Read(0, 20, 100, TestPool());
    CHECK(absl::IsOutOfRange(read.status()));
    CHECK(pair.reader->log_start() == first_left);
  }
  CHECK(pair.Read(first_left).ends_with("v18 v19"));
}

TEST_CASE("a reader that retention overtook goes on with what is left", "[follow]") {
  Pair pair(SmallSegments());
  pair.reader->ReleaseIdle();
  pair.reader->ReleaseIdle();
  for (int i = 1; i < 20; ++i) Append(*pair.writer, {"v" + std::to_string(i)}, kT0 + i);
  OrFail(pair.writer->SyncTo(20));
  OrFail(pair.writer->DeleteRecordsBefore(15, 20));
  const Offset first_left = pair.writer->segments().front().base_offset;
  REQUIRE(first_left > pair.reader->segments().back().end_offset);
  CHECK(OrFail(pair.reader->Follow()));
  CHECK(pair.reader->log_start() == first_left);
  CHECK(pair.reader->log_end() == 20);
  CHECK(pair.reader->size_bytes() == pair.writer->size_bytes());
  CHECK(absl::IsOutOfRange(pair.reader->Read(0, 20, 100, TestPool()).status()));
  CHECK(Values(ReadAll(*pair.reader)).ends_with("v18 v19"));
}

TEST_CASE("a reader whose disk fails it looks again", "[follow]") {
  const bool overtaken = GENERATE(false, true);
  int call = 0, calls = 0;
  do {
    ++call;
    testing::SimulatedDisk disk(1);
    OneLog writer(disk, SmallSegments()), reader(disk, SmallSegments());
    writer.Open();
    Append(*writer, {"v0"});
    OrFail(reader.TryOpen(/*read_only=*/true));
    reader->ReleaseIdle();
    reader->ReleaseIdle();
    for (int i = 1; i < 20; ++i) Append(*writer, {"v" + std::to_string(i)}, kT0 + i);
    OrFail(writer->SyncTo(20));
    OrFail(writer->DeleteRecordsBefore(overtaken ? 15 : 1, 20));
    calls = 0;
    disk.SetFaults([&](const testing::DiskCall&) -> std::optional<testing::Fault> {
      if (++calls != call) return std::nullopt;
      return testing::Fault{};
    });
    const bool followed = reader->Follow().ok();
    CHECK(followed == (calls < call));
    disk.SetFaults(nullptr);
    OrFail(reader->Follow());
    CHECK(reader->log_end() == 20);
    CHECK(reader->log_start() == writer->segments().front().base_offset);
    CHECK(Values(ReadAll(*reader, 16)) == Values(ReadAll(*writer, 16)));
  } while (calls == call);
  CHECK(call > 5);
}

TEST_CASE("a reader looks forward only", "[follow]") {
  testing::SimulatedDisk disk(1);
  OneLog writer(disk, SmallSegments()), reader(disk, SmallSegments());
  writer.Open();
  for (int i = 0; i < 10; ++i) Append(*writer, {"v" + std::to_string(i)});
  OrFail(writer->SyncTo(10));
  OrFail(reader.TryOpen(/*read_only=*/true));
  reader->ReleaseIdle();
  reader->ReleaseIdle();
  const std::string first = writer.PathOf("00000000000000000000.log");
  const std::string old = OrFail(disk.Peek(first));
  for (int i = 10; i < 30; ++i) Append(*writer, {"v" + std::to_string(i)});
  OrFail(writer->SyncTo(30));
  SECTION("past a file that came back") {
    OrFail(writer->DeleteRecordsBefore(25, 30));
    OrFail(disk.Poke(first, old));
    CHECK(OrFail(reader->Follow()));
    CHECK(Values(ReadAll(*reader, reader->log_start())).ends_with("v28 v29"));
  }
  SECTION("and no further than the topic's life") {
    writer.log.reset();
    OrFail(writer.directory->DeletePartition("orders-0", kTopic, 0));
    OrFail(reader->Follow());
    CHECK(reader->log_end() == 10);
  }
}

TEST_CASE("a reader learns that retention emptied the log", "[follow]") {
  Pair pair;
  pair.reader->ReleaseIdle();
  pair.reader->ReleaseIdle();
  OrFail(pair.writer->SyncTo(1));
  OrFail(pair.writer->Roll());
  OrFail(pair.writer->DeleteRecordsBefore(1, 1));
  CHECK(OrFail(pair.reader->Follow()));
  CHECK(pair.reader->log_start() == 1);
  CHECK(absl::IsOutOfRange(pair.reader->Read(0, 1, 100, TestPool()).status()));
  Append(*pair.writer, {"v1"});
  CHECK(OrFail(pair.reader->Follow()));
  CHECK(pair.Read() == "v1");
}

TEST_CASE("a reader follows leader epochs, and none that goes back", "[follow]") {
  Pair pair;
  Append(*pair.writer, {"v1"}, kT0, /*epoch=*/3);
  Append(*pair.writer, {"v2"}, kT0, /*epoch=*/5);
  CHECK(OrFail(pair.reader->Follow()));
  CHECK(pair.reader->latest_epoch() == 5);
  CHECK(pair.reader->EndOfEpoch(3)->end_offset == 2);
  CHECK(pair.Read() == "v0 v1 v2");
  // The epoch lies outside of the CRC: one that was flipped is no batch.
  Append(*pair.writer, {"v3"}, kT0, /*epoch=*/6);
  const auto file = OrFail(
      pair.files->Open(pair.writer.PathOf("00000000000000000000.log"), OpenMode::kReadWrite));
  const uint64_t last = OrFail(file->Size()) / 4 * 3;
  OrFail(file->WriteAt(last + 12, AsBytes(std::string_view("\0\0\0\1", 4))));
  CHECK_FALSE(OrFail(pair.reader->Follow()));
}

TEST_CASE("a partition that is opened late is opened by marks of now", "[follow]") {
  const auto files = NewMemoryFileSystem();
  OneLog writer(*files, SmallSegments()), reader(*files, SmallSegments());
  writer.Open();
  Append(*writer, {"v0"});
  OrFail(writer->SyncTo(1));
  OrFail(writer.directory->WriteMarks());
  OrFail(reader.TryOpen(/*read_only=*/true));
  reader.log.reset();
  for (int i = 1; i < 20; ++i) Append(*writer, {"v" + std::to_string(i)});
  OrFail(writer->SyncTo(20));
  OrFail(writer->DeleteRecordsBefore(10, 20));
  OrFail(writer.directory->WriteMarks());
  reader.clock.Advance(absl::Seconds(1));
  reader.log = OrFail(reader.directory->OpenPartition("orders-0", kTopic, 0, reader.config, false));
  CHECK(reader->recovery().damage.empty());
  CHECK(reader->log_start() == 10);
  CHECK(Values(ReadAll(*reader)).starts_with("v10"));
}

}  // namespace
}  // namespace millrace::log
