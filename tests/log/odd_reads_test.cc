#include <atomic>
#include <cerrno>
#include <thread>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "log/log_fixture.h"
#include "log/sparse_index.h"
#include "log/sync_gate.h"
#include "millrace/testing/simulated_disk.h"

// Readers, appenders and upkeep where indexes lie, records contradict their batch, a disk has no
// room for some files only, or somebody else is at work.
namespace millrace::log {
namespace {

using testing::DiskCall;
using testing::DiskOp;
using testing::Fault;
using testing::SimulatedDisk;

constexpr LogConfig kFives{.segment_bytes = 450, .index_interval_bytes = 100};

std::string Value(int i) { return fmt::format("v{:020}", i); }
std::string Expected(int from, int to) {
  std::string text;
  for (int i = from; i < to; ++i) text += fmt::format("{}{}", i == from ? "" : " ", Value(i));
  return text;
}
std::string Segment(Offset base, std::string_view suffix = ".log") {
  return fmt::format("data/orders-0/{:020}{}", base, suffix);
}
void Fill(PartitionLog& log, int from, int to) {
  for (int i = from; i < to; ++i) Append(log, {Value(i)}, kT0 + i, std::max(0, log.latest_epoch()));
}
// Each call of one kind, of paths that end so.
std::function<std::optional<Fault>(const DiskCall&)> Failing(DiskOp op, std::string_view suffix,
                                                             int error = EIO) {
  return [=](const DiskCall& call) -> std::optional<Fault> {
    if (call.op != op || !call.path.ends_with(suffix)) return std::nullopt;
    return Fault{.error = error};
  };
}
template <typename Entry>
std::string FileOf(const std::vector<Entry>& entries) {
  std::vector<std::byte> bytes(entries.size() * Entry::kBytes);
  for (size_t i = 0; i < entries.size(); ++i) entries[i].Store(bytes.data() + i * Entry::kBytes);
  return std::string(AsText(bytes));
}

// ---- appends

TEST_CASE("a batch says how many records it holds, and a control batch may hold none", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  auto empty = WithHeader(MakeBatch({"a"}), [](auto& header) { header.record_count = 0; });
  CHECK(ErrorIdOf(log->Append(empty, {}, false).status()) == ErrorId::kInvalidRecord);
  auto marker = WithHeader(MakeBatch({"a"}), [](auto& header) {
    header.record_count = 0;
    header.attributes = 32;
  });
  CHECK(OrFail(log->Append(marker, {}, false)).base_offset == 0);
  std::vector<std::byte> none(record::kHeaderBytes);
  CHECK(ErrorIdOf(log->Append(none, {}, false).status()) == ErrorId::kCorruptMessage);
  CHECK(log->log_end() == 1);
}

TEST_CASE("the offsets of a segment lie within 31 bits of its base", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  auto wide =
      WithHeader(MakeBatch({"a"}), [](auto& header) { header.last_offset_delta = INT32_MAX - 1; });
  CHECK(OrFail(log->Append(wide, {}, false)).next_offset == INT32_MAX);
  CHECK_FALSE(Append(*log, {"the last one that fits"}).rolled);
  CHECK(Append(*log, {"b"}).rolled);
  log.CloseAndOpen();
  CHECK(Values(ReadAll(*log, Offset{INT32_MAX} + 1)) == "b");
}

TEST_CASE("a segment rolls when its index is full", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk, {.index_interval_bytes = 80, .index_max_bytes = 16});
  log.Open();
  Fill(*log, 0, 12);
  OrFail(log->SyncTo(12));
  CHECK(log->segments().size() > 2);
  for (const SegmentInfo& segment : log->segments()) {
    if (segment.closed)
      CHECK(OrFail(disk.Peek(Segment(segment.base_offset, ".index"))).size() <= 16);
  }
  CHECK(Values(ReadAll(*log)) == Expected(0, 12));
}

TEST_CASE("a file where the next segment begins is set aside, or taken when it is empty", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFives);
  log.Open();
  Fill(*log, 0, 5);
  const std::string left = GENERATE("", "left over");
  OrFail(disk.Poke(Segment(5), left));
  for (const DiskOp op : {DiskOp::kStat, DiskOp::kRename}) {
    disk.SetFaults(Failing(op, ".log"));
    const auto appended = TryAppend(*log, {Value(5)}, kT0 + 5);
    CHECK(appended.ok() == (op == DiskOp::kRename && left.empty()));
    if (appended.ok()) break;
    CHECK(log->log_end() == 5);
  }
  disk.SetFaults(nullptr);
  Fill(*log, static_cast<int>(log->log_end()), 8);
  CHECK(disk.Peek(Segment(5) + ".cut").ok() == !left.empty());
  OrFail(log->SyncTo(8));
  log.DropAndOpen();
  CHECK(Values(ReadAll(*log)) == Expected(0, 8));
}

// Without room for the files beside a log the logs are synced all the same; a sync that fails then
// is as final as any.
TEST_CASE("closed segments that wait for room are synced, or the sync fails", "[log]") {
  const std::string_view failing =
      GENERATE("none", "orders-0", "00000000000000000005.log", "00000000000000000010.log");
  SimulatedDisk disk(1);
  OneLog log(disk, kFives);
  log.Open();
  Fill(*log, 0, 12);
  disk.SetFaults([&](const DiskCall& call) -> std::optional<Fault> {
    if (call.op == DiskOp::kWrite && call.path.ends_with(".index")) return Fault{.error = ENOSPC};
    if ((call.op == DiskOp::kSync || call.op == DiskOp::kSyncDir) && call.path.ends_with(failing))
      return Fault{};
    return std::nullopt;
  });
  const Status synced = log->SyncTo(12);
  disk.SetFaults(nullptr);
  CHECK(synced.ok() == (failing == "none"));
  CHECK((synced.ok() || ErrorIdOf(synced) == ErrorId::kDirectoryFailed));
  CHECK(log->synced_end() == (failing == "none" ? 12
                              : failing == "orders-0" || failing == "00000000000000000005.log"
                                  ? 5
                                  : 10));
  const auto next = disk.PowerCut(1, testing::CutMode::kAdversarial);
  const Offset end = log->synced_end();
  log.Drop();
  OneLog after(*next, kFives);
  after.Open();
  CHECK(after->log_end() >= end);
  CHECK(Values(OrFail(TryReadAll(*after, 0, end))) == Expected(0, static_cast<int>(end)));
}

TEST_CASE("a closed segment that waits for room is acknowledged with its name, or not at all",
          "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFives);
  log.Open();
  Fill(*log, 0, 7);
  disk.SetFaults([&](const DiskCall& call) -> std::optional<Fault> {
    if (call.op == DiskOp::kWrite && call.path.ends_with(".index")) return Fault{.error = ENOSPC};
    if (call.op == DiskOp::kSyncDir) return Fault{};
    return std::nullopt;
  });
  CHECK(ErrorIdOf(log->SyncTo(7)) == ErrorId::kDirectoryFailed);
  CHECK(log->synced_end() == 5);
}

// What is asked for may be there before the turn of the one who brings it is over.
TEST_CASE("nobody waits for more than he has asked for", "[log][concurrency]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFives);
  log.Open();
  Fill(*log, 0, 7);
  std::thread later;
  disk.SetFaults([&](const DiskCall& call) -> std::optional<Fault> {
    if (call.op != DiskOp::kSync || call.path != Segment(5)) return std::nullopt;
    disk.SetFaults(nullptr);
    // The first segment is finished, the second one is being synced.
    std::thread([&] { OrFail(log->SyncTo(5)); }).join();
    std::atomic<bool> started = false;
    later = std::thread([&] {
      started = true;
      log->ReleaseIdle();  // has to wait
    });
    while (!started) std::this_thread::yield();
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();
    return std::nullopt;
  });
  OrFail(log->SyncTo(7));
  later.join();
  CHECK(log->synced_end() == 7);
}

TEST_CASE("a log whose file does not open is not synced, and may be later", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Fill(*log, 0, 3);
  log.CloseAndOpen();
  disk.SetFaults(Failing(DiskOp::kOpen, "0.log", EMFILE));
  CHECK(ErrorIdOf(log->Roll()) == ErrorId::kTooManyFiles);
  disk.SetFaults(nullptr);
  OrFail(log->SyncTo(3));
  Append(*log, {Value(3)}, kT0 + 3);
  OrFail(log->SyncTo(4));
  log.DropAndOpen();
  CHECK(Values(ReadAll(*log)) == Expected(0, 4));
}

// ---- indexes

TEST_CASE("an index whose file cannot be written gets sparser, and all is found", "[side-files]") {
  SimulatedDisk disk(1);
  OneLog log(disk, {.index_interval_bytes = 1});
  log.Open();
  disk.SetFaults(Failing(DiskOp::kWrite, "index", ENOSPC));
  constexpr int kMany = 8400;
  for (int i = 0; i < kMany; ++i) Append(*log, {"v"}, kT0 + i);
  disk.SetFaults(nullptr);
  for (const int i : {0, 1, 8190, 8192, 8195, kMany - 1}) {
    CHECK(OrFail(log->Read(i, kMany, 1, TestPool())).next_offset == i + 1);
    CHECK(OrFail(log->FindTime(kT0 + i, kMany, TestPool()))->offset == i);
  }
}

TEST_CASE("opened for reading, a long index stays in memory", "[side-files]") {
  SimulatedDisk disk(1);
  OneLog log(disk, {.index_interval_bytes = 1});
  log.Open();
  for (int i = 0; i < 700; ++i) Append(*log, {"v"}, kT0 + i);
  OneLog reader(disk, {.index_interval_bytes = 1});
  OrFail(reader.TryOpen(/*read_only=*/true));
  CHECK(OrFail(reader->FindTime(kT0 + 650, 700, TestPool()))->offset == 650);
  reader->ReleaseIdle();
  reader->ReleaseIdle();
  CHECK(OrFail(reader->Read(650, 700, 1, TestPool())).next_offset == 651);
}

TEST_CASE("a search in an index says what the disk says", "[side-files]") {
  SimulatedDisk disk(1);
  std::vector<OffsetIndexEntry> entries;
  for (int32_t i = 0; i < 1000; ++i) entries.push_back({i * 2, i * 100});
  OrFail(disk.Poke("index", FileOf(entries)));
  OffsetIndex index(disk, "index", /*read_only=*/true);
  index.Adopt({1000, 0});
  SyncGate gate(disk, "");
  disk.SetFaults(Failing(DiskOp::kOpen, "index"));
  CHECK_FALSE(index.Floor(900).ok());
  CHECK_FALSE(index.Above(900).ok());
  CHECK_FALSE(index.Sync(gate).ok());
  disk.SetFaults(Failing(DiskOp::kRead, "index"));
  CHECK_FALSE(index.Floor(900).ok());
  CHECK_FALSE(index.Above(900).ok());
  disk.SetFaults(nullptr);
  CHECK(OrFail(index.Floor(901))->position == 45000);
  CHECK(OrFail(index.Above(901))->position == 45100);
}

TEST_CASE("an index that lies leads nobody astray", "[side-files]") {
  SimulatedDisk disk(1);
  OneLog log(disk, {.segment_bytes = 450, .index_interval_bytes = 1});
  log.Open();
  Fill(*log, 0, 12);
  OrFail(log->SyncTo(12));
  const std::string path = Segment(5, ".index");
  const int32_t lie = GENERATE(-1, 0, 17, 90, 400'000);
  for (const int first : {9, 7}) {
    log->ReleaseIdle();
    log->ReleaseIdle();
    REQUIRE(OrFail(disk.Peek(path)).size() == 4 * OffsetIndexEntry::kBytes);
    OrFail(disk.Poke(path, FileOf<OffsetIndexEntry>({{1, lie}, {2, lie}, {3, lie}, {4, lie}})));
    INFO("the second time it is not built anew; and no reader knows its place from the one before");
    for (int i = first; i > first - 2; --i)
      CHECK(Values(OrFail(TryReadAll(*log, i, i + 1))) == Value(i));
  }
  CHECK(log->damage().empty());
}

TEST_CASE("a batch that says it begins in the segment before is damage", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk, {.segment_bytes = 450, .index_interval_bytes = 1});
  log.Open();
  Fill(*log, 0, 12);
  OrFail(log->SyncTo(12));
  // One record more, one offset earlier: it ends where the index says.
  auto wide = WithHeader(MakeBatch({"x", "y"}), [](auto& header) { header.last_offset_delta = 2; });
  record::AssignOffset(wide.data(), 4, 0);
  OrFail(disk.Poke(Segment(5), std::string(AsText(wide))));
  OrFail(disk.Poke(Segment(5, ".index"),
                   FileOf<OffsetIndexEntry>({{1, 0}, {2, 180}, {3, 270}, {4, 360}})));
  CHECK(ErrorIdOf(log->Read(6, 12, 1, TestPool()).status()) == ErrorId::kCorruptLog);
  CHECK(Values(ReadAll(*log, 10)) == Expected(10, 12));
}

TEST_CASE("a reader that was led far from its batch has the index built anew", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk, {.index_interval_bytes = INT32_MAX, .max_message_bytes = 8 << 20});
  log.Open();
  for (int i = 0; i < 6; ++i) Append(*log, {std::string(1 << 20, 'x')}, kT0 + i);
  log->SetConfig({.index_interval_bytes = 4096, .max_message_bytes = 8 << 20});
  const auto entries = [&] { return OrFail(disk.Peek(Segment(0, ".index"))).size() / 8; };
  SECTION("not where it is still written") {
    CHECK(OrFail(log->Read(5, 6, 1, TestPool())).next_offset == 6);
  }
  SECTION("once it is closed") {
    OrFail(log->Roll());
    CHECK(entries() == 0);
    OrFail(log->Read(5, 6, 1, TestPool()).status());
    OrFail(log->Read(4, 5, 1, TestPool()).status());
    log->ReleaseIdle();
    log->ReleaseIdle();
    CHECK(entries() == 5);
  }
  SECTION("once it is closed, if the disk allows") {
    OrFail(log->Roll());
    disk.SetFaults([reads = 0](const DiskCall& call) mutable -> std::optional<Fault> {
      if (call.op != DiskOp::kRead || ++reads < 8) return std::nullopt;
      return Fault{};
    });
    CHECK(ErrorIdOf(log->Read(5, 6, 1, TestPool()).status()) == ErrorId::kIoError);
    disk.SetFaults(nullptr);
    CHECK(OrFail(log->Read(5, 6, 1, TestPool())).next_offset == 6);
  }
}

TEST_CASE("damage between the index and a reader does not stop him behind it", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk, {.index_interval_bytes = 1 << 20});
  log.Open();
  Fill(*log, 0, 10);
  std::string bytes = OrFail(disk.Peek(Segment(0)));
  for (const size_t at : {90 * 2, 90 * 5}) bytes[at + 3] ^= 1;  // base offsets
  OrFail(disk.Poke(Segment(0), bytes));
  CHECK(Values(OrFail(TryReadAll(*log, 7, 10))) == Expected(7, 10));
  REQUIRE(log->damage().size() == 2);
  CHECK(log->damage()[0].first_offset == 2);
  CHECK(log->damage()[1].first_offset == 5);
  CHECK(Values(OrFail(TryReadAll(*log, 3, 5))) == Expected(3, 5));
}

// Its CRC is right: somebody has made it so. Whoever reads on would wait for it for ever.
TEST_CASE("a batch that goes on beyond its segment is damage", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFives);
  log.Open();
  Fill(*log, 0, 12);
  OrFail(log->SyncTo(12));
  const Offset last = GENERATE(4, 11);
  auto wide = WithHeader(MakeBatch({Value(static_cast<int>(last))}), [](auto& header) {
    header.last_offset_delta = 3;
    header.record_count = 4;
  });
  record::AssignOffset(wide.data(), last, 0);
  const std::string path = Segment(last == 4 ? 0 : 10);
  std::string bytes = OrFail(disk.Peek(path));
  OrFail(disk.Poke(path, bytes.substr(0, bytes.size() - 90) + std::string(AsText(wide))));
  CHECK(ErrorIdOf(log->Read(last, last + 1, 1, TestPool()).status()) == ErrorId::kCorruptLog);
  REQUIRE(log->damage().size() == 1);
  CHECK(log->damage()[0].first_offset == last);
  CHECK(log->damage()[0].end_offset == last + 1);
}

TEST_CASE("what is appended after damage was noticed is found again", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Fill(*log, 0, 10);
  OrFail(log->SyncTo(10));
  std::string bytes = OrFail(disk.Peek(Segment(0)));
  bytes[90 * 2 + 8] = 1;  // a length beyond the file: nothing says where the next batch begins
  OrFail(disk.Poke(Segment(0), bytes));
  CHECK(ErrorIdOf(log->Read(2, 10, 1, TestPool()).status()) == ErrorId::kCorruptLog);
  if (GENERATE(false, true)) log.CloseAndOpen();
  const bool rolled = Append(*log, {"after"}, kT0 + 10, std::max(0, log->latest_epoch())).rolled;
  CHECK(rolled);
  OrFail(log->SyncTo(11));
  if (GENERATE(false, true)) {
    log.CloseAndOpen();
  } else {
    log.DropAndOpen();
  }
  CHECK(Values(OrFail(TryReadAll(*log, 10, 11))) == "after");
  CHECK(Values(OrFail(TryReadAll(*log, 0, 2))) == Expected(0, 2));
  CHECK(ErrorIdOf(log->Read(2, 11, 1, TestPool()).status()) == ErrorId::kCorruptLog);
}

// ---- readers

TEST_CASE("nothing of a large batch is shown before all of it may be", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Append(*log, {std::string(20'000, 'a'), std::string(20'000, 'b')});
  for (int call = 1; call < 20; ++call) {
    for (const Offset below : {1, 2}) {
      int reads = 0;
      disk.SetFaults([&](const DiskCall& c) -> std::optional<Fault> {
        if (c.op != DiskOp::kRead || ++reads != call) return std::nullopt;
        return Fault{};
      });
      const auto read = log->Read(0, below, 1, TestPool());
      CHECK(read.ok() == (reads < call));
      if (read.ok()) CHECK(read->next_offset == (below == 1 ? 0 : 2));
    }
  }
  CHECK(log->damage().empty());
}

TEST_CASE("a reader whose segment goes meanwhile is told where the log starts", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFives);
  log.Open();
  Fill(*log, 0, 12);
  OrFail(log->SyncTo(12));
  log->ReleaseIdle();
  log->ReleaseIdle();
  disk.SetFaults([&](const DiskCall& call) -> std::optional<Fault> {
    if (call.op != DiskOp::kOpen || call.path != Segment(0)) return std::nullopt;
    disk.SetFaults(nullptr);
    std::thread([&] { OrFail(log->DeleteRecordsBefore(7, 12)); }).join();
    return std::nullopt;
  });
  const Status status = log->Read(2, 12, 1, TestPool()).status();
  CHECK(ErrorIdOf(status) == ErrorId::kOffsetOutOfRange);
  CHECK_THAT(status.ToString(), Catch::Contains("[7, 12)"));
}

TEST_CASE("a time is found by records, whatever their batch says", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  auto boasting =
      WithHeader(MakeBatch({"a", "b"}), [](auto& header) { header.max_timestamp_ms = kT0 + 90; });
  OrFail(log->Append(boasting, {}, false));
  Append(*log, {"c", "d"}, kT0 + 50);
  CHECK(OrFail(log->FindTime(kT0 + 40, 4, TestPool()))->offset == 2);
  CHECK(OrFail(log->FindTime(kT0 + 80, 4, TestPool())) == std::nullopt);
  INFO("not by those that are deleted, or not to be seen");
  OrFail(log->DeleteRecordsBefore(3, 4));
  CHECK(OrFail(log->FindTime(kT0 + 50, 4, TestPool()))->offset == 3);
  Append(*log, {"e", "f"}, kT0 + 100);
  CHECK(OrFail(log->FindTime(kT0 + 100, 5, TestPool())) == std::nullopt);
  CHECK(OrFail(log->FindMaxTimestamp(5, TestPool()))->timestamp_ms == kT0 + 51);
  OrFail(log->Roll());
  Append(*log, {"g"}, kT0 + 200);
  CHECK(OrFail(log->FindTime(kT0 + 150, 6, TestPool())) == std::nullopt);
}

TEST_CASE("a time cannot be found in records that do not decode", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  auto garbage = MakeBatch({"a"});
  garbage[record::kHeaderBytes] = std::byte{0x7e};  // longer than the batch
  const bool compressed = GENERATE(false, true);
  garbage = WithHeader(garbage, [&](auto& header) { header.attributes = compressed ? 4 : 0; });
  OrFail(log->Append(garbage, {}, /*verified=*/true));
  CHECK_FALSE(log->FindTime(kT0, 1, TestPool()).ok());
}

TEST_CASE("only what is corrupt makes a batch unreadable for good", "[log]") {
  const record::BatchHeader header{.last_offset_delta = 1, .record_count = 2};
  const Status corrupt =
      UnreadableBatch(MakeError(ErrorId::kCorruptMessage, "odd"), header, "orders-0");
  CHECK(ErrorIdOf(corrupt) == ErrorId::kCorruptLog);
  CHECK_THAT(corrupt.ToString(), Catch::Contains("orders-0: offsets [0, 2): odd; cannot be read"));
  const Status large =
      UnreadableBatch(MakeError(ErrorId::kRecordTooLarge, "wide"), header, "orders-0");
  CHECK(ErrorIdOf(large) == ErrorId::kRecordTooLarge);
  CHECK_THAT(large.ToString(), Catch::Contains("orders-0: wide"));
}

TEST_CASE("a time index that lies is built anew, and never believed beyond its segment", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFives);
  log.Open();
  Fill(*log, 0, 12);
  OrFail(log->SyncTo(12));
  CHECK(OrFail(log->FindTime(kT0 + 8, 12, TestPool()))->offset == 8);
  log->ReleaseIdle();
  log->ReleaseIdle();
  const std::string lies = FileOf<TimeIndexEntry>(
      GENERATE(std::vector<TimeIndexEntry>{{kT0, -3}, {kT0 + 9, 4}, {kT0 + 10, 4}},
               std::vector<TimeIndexEntry>{{kT0, 77}, {kT0 + 9, 4}, {kT0 + 10, 4}}));
  OrFail(disk.Poke(Segment(5, ".timeindex"), lies));
  CHECK(OrFail(log->FindTime(kT0 + 8, 12, TestPool()))->offset == 8);
}

TEST_CASE("what nothing is known of has no epoch end", "[log]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  CHECK_FALSE(log->EndOfEpoch(0).has_value());
}

// ---- upkeep

TEST_CASE("a scrub tells of a segment that holds fewer records than it was closed with",
          "[scrub]") {
  for (int call = 1; call < 12; ++call) {
    SimulatedDisk disk(1);
    OneLog log(disk, kFives);
    log.Open();
    Fill(*log, 0, 12);
    OrFail(log->SyncTo(12));
    // The last two batches have become one, of one record.
    auto one = MakeBatch({std::string(109, 'x')});
    record::AssignOffset(one.data(), 8, 0);
    REQUIRE(one.size() == 180);
    const std::string bytes = OrFail(disk.Peek(Segment(5)));
    OrFail(disk.Poke(Segment(5), bytes.substr(0, 270) + std::string(AsText(one))));
    const auto round = [&]() -> Status {
      for (;;) {
        const auto done = log->Scrub(1 << 20, TestPool());
        if (!done.ok()) return done.status();
        if (*done) return absl::OkStatus();
      }
    };
    disk.SetFaults([reads = 0, call](const DiskCall& c) mutable -> std::optional<Fault> {
      if (c.op != DiskOp::kRead || ++reads != call) return std::nullopt;
      return Fault{};
    });
    round().IgnoreError();
    disk.SetFaults(nullptr);
    INFO("after a read that failed, the " << call << ".");
    OrFail(round());
    OrFail(round());
    REQUIRE(log->damage().size() == 1);
    CHECK(log->damage()[0].first_offset >= 5);
    CHECK(log->damage()[0].end_offset == 10);
  }
}

TEST_CASE("files that wait to be deleted wait for their time, and for the disk", "[retention]") {
  SimulatedDisk disk(1);
  LogConfig config = kFives;
  config.file_delete_delay = absl::Minutes(1);
  OneLog log(disk, config);
  log.Open();
  Fill(*log, 0, 12);
  disk.SetFaults(Failing(DiskOp::kRename, ".log"));
  CHECK(ErrorIdOf(log->DeleteRecordsBefore(7, 12)) == ErrorId::kIoError);
  disk.SetFaults(nullptr);
  CHECK(log->log_start() == 7);
  Fill(*log, 12, 17);
  OrFail(log->DeleteRecordsBefore(11, 17));
  const std::string renamed = Segment(5) + ".deleted";
  OrFail(log->ApplyRetention(log.clock.Now(), 17));
  CHECK(disk.Peek(renamed).ok());
  log.clock.Advance(absl::Minutes(2));
  disk.SetFaults(Failing(DiskOp::kRemoveFile, ".deleted"));
  OrFail(log->ApplyRetention(log.clock.Now(), 17));
  CHECK(disk.Peek(renamed).ok());
  disk.SetFaults(nullptr);
  OrFail(disk.Erase(Segment(5, ".index.deleted")));  // somebody was faster
  OrFail(log->ApplyRetention(log.clock.Now(), 17));
  CHECK_FALSE(disk.Peek(renamed).ok());
}

TEST_CASE("retention leaves records without a time, and knows no negative size", "[retention]") {
  SimulatedDisk disk(1);
  OneLog log(disk, {.segment_bytes = 450, .retention = absl::Hours(1), .retention_bytes = -1});
  log.Open();
  for (int i = 0; i < 12; ++i) Append(*log, {Value(i)}, -100 + i);
  OrFail(log->SyncTo(12));
  CHECK(OrFail(log->ApplyRetention(absl::FromUnixMillis(kT0), 12)) == 0);
  OrFail(log->RollIfDue(absl::FromUnixMillis(kT0)));
  CHECK(log->segments().size() == 3);
}

TEST_CASE("a segment is not rolled by its age where that cannot be told", "[retention]") {
  SimulatedDisk disk(1);
  OneLog log(disk, {.segment_age = absl::Hours(1)});
  log.Open();
  Fill(*log, 0, 3);
  log.CloseAndOpen();
  const absl::Time later = absl::FromUnixMillis(kT0) + absl::Hours(2);
  disk.SetFaults(Failing(DiskOp::kRead, ".log"));
  CHECK(ErrorIdOf(log->RollIfDue(later)) == ErrorId::kIoError);
  disk.SetFaults(nullptr);
  OrFail(log->RollIfDue(later));
  CHECK(log->segments().size() == 2);
  OrFail(log.directory->CloseCleanly({log.log.get()}, absl::InfiniteFuture()));
  CHECK(ErrorIdOf(log->RollIfDue(later)) == ErrorId::kClosed);
}

}  // namespace
}  // namespace millrace::log
