#include <map>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "log/layout.h"
#include "log/log_fixture.h"
#include "millrace/testing/simulated_disk.h"

// What opening does with what it finds after a crash.
namespace millrace::log {
namespace {

using testing::CutMode;
using testing::SimulatedDisk;

constexpr size_t kBatchBytes = 90;  // of every batch that these tests write

// One record in a batch of kBatchBytes.
std::string Value(int i) { return fmt::format("v{:020}", i); }

std::string Expected(int from, int to) {
  std::string text;
  for (int i = from; i < to; ++i) text += fmt::format("{}{}", i == from ? "" : " ", Value(i));
  return text;
}

void AppendMany(PartitionLog& log, int from, int to) {
  for (int i = from; i < to; ++i) Append(log, {Value(i)}, kT0 + i, std::max(0, log.latest_epoch()));
}

// [0, `marked`) below the durable mark, [marked, written) on the disk above it.
std::shared_ptr<SimulatedDisk> Disk(int marked, int written, const LogConfig& config = {}) {
  SimulatedDisk disk(1);
  OneLog log(disk, config);
  log.Open();
  REQUIRE(MakeBatch({Value(0)}).size() == kBatchBytes);
  AppendMany(*log, 0, marked);
  OrFail(log->SyncTo(marked));
  OrFail(log.directory->WriteMarks());
  AppendMany(*log, marked, written);
  OrFail(log->SyncTo(written));
  log.Drop();
  return disk.Clone();
}

void Damage(SimulatedDisk& disk, const std::string& path, size_t at) {
  std::string bytes = OrFail(disk.Peek(path));
  REQUIRE(at < bytes.size());
  bytes[at] = static_cast<char>(bytes[at] ^ 0x40);
  OrFail(disk.Poke(path, bytes));
}

// As Damage, on the disk of a machine that has been switched off since.
std::shared_ptr<SimulatedDisk> NextBoot(const SimulatedDisk& disk) {
  return disk.PowerCut(1, CutMode::kJournalled);
}

const std::string kFirst = "data/orders-0/00000000000000000000.log";

TEST_CASE("after a power cut, damage above the durable mark is a torn tail", "[recovery]") {
  const auto disk = NextBoot(*Disk(5, 10));
  SECTION("a damaged batch, with good ones behind it") {
    Damage(*disk, kFirst, 7 * kBatchBytes + 70);
    OneLog log(*disk);
    log.Open();
    const RecoveryReport& report = log->recovery();
    CHECK(report.durable_mark == 5);
    CHECK(report.cut_offset == 7);
    CHECK(report.cut_bytes == 3 * kBatchBytes);
    CHECK(report.damage.empty());
    CHECK(Values(ReadAll(*log)) == Expected(0, 7));
    INFO("what was cut is kept");
    CHECK(OrFail(disk->Peek(report.cut_file)).size() == 3 * kBatchBytes);
    CHECK(report.cut_file ==
          log.PathOf(fmt::format("00000000000000000000.{}.cut", 7 * kBatchBytes)));
    CHECK(Append(*log, {Value(7)}, kT0, 1).base_offset == 7);
    INFO("the next open finds nothing more to do");
    log.DropAndOpen();
    CHECK(log->recovery().cut_bytes == 0);
    CHECK(Values(ReadAll(*log)) == Expected(0, 8));
  }
  SECTION("half a batch") {
    const std::string bytes = OrFail(disk->Peek(kFirst));
    OrFail(disk->Poke(kFirst, bytes.substr(0, 8 * kBatchBytes + 30)));
    OneLog log(*disk);
    log.Open();
    CHECK(log->recovery().cut_bytes == 30);
    CHECK(Values(ReadAll(*log)) == Expected(0, 8));
  }
  SECTION("zeros, as a file that grew before its data came") {
    OrFail(disk->Poke(kFirst, OrFail(disk->Peek(kFirst)) + std::string(70'000, '\0')));
    OneLog log(*disk);
    log.Open();
    CHECK(log->recovery().cut_bytes == 70'000);
    CHECK(log->recovery().cut_file.empty());
    CHECK(Values(ReadAll(*log)) == Expected(0, 10));
  }
}

// Its offset lies outside of its CRC: a torn write can leave a new batch's first bytes in front of
// what an earlier life of the block held.
TEST_CASE("an old batch behind the first bytes of a new one is a torn tail", "[recovery]") {
  SimulatedDisk disk(1);
  {
    OneLog log(disk);
    log.Open();
    for (int i = 0; i < 3; ++i) {
      OrFail(TryAppendFrom(*log, {Value(i)}, 7, 0, i).status());
      OrFail(log->SyncTo(i + 1));
      if (i == 0) OrFail(log.directory->WriteMarks());
    }
    log.Drop();
  }
  const auto after = NextBoot(*disk.Clone());
  std::string bytes = OrFail(after->Peek(kFirst));
  const size_t size = bytes.size() / 3;
  const int old = GENERATE(0, 1);  // 1: the batch itself, which is sound
  if (old == 0) bytes.replace(size + 8, size - 8, bytes.substr(8, size - 8));
  OrFail(after->Poke(kFirst, bytes));
  OneLog log(*after);
  log.Open();
  CHECK(log->recovery().durable_mark == 1);
  CHECK(log->recovery().damage.empty());
  CHECK(Values(ReadAll(*log)) == Expected(0, old == 0 ? 1 : 3));
  CHECK(log->recovery().cut_bytes == (old == 0 ? 2 * size : 0));
}

TEST_CASE("a sound batch where another one was synced is damage, not data", "[recovery]") {
  const auto disk = NextBoot(*Disk(5, 7));
  std::string bytes = OrFail(disk->Peek(kFirst));
  // The device wrote batch 2 to the place of batch 3 as well; only their offsets differ.
  bytes.replace(3 * kBatchBytes + 8, kBatchBytes - 8,
                bytes.substr(2 * kBatchBytes + 8, kBatchBytes - 8));
  OrFail(disk->Poke(kFirst, bytes));
  OneLog log(*disk);
  log.Open();
  REQUIRE(log->recovery().damage.size() == 1);
  const DamagedRange& damage = log->recovery().damage[0];
  CHECK(damage.first_offset == 0);
  CHECK(damage.end_offset == 5);
  CHECK_THAT(damage.what, Catch::Contains("synced were those up to byte 450"));
  CHECK(absl::IsDataLoss(TryReadAll(*log, 3, 4).status()));
  CHECK(Values(ReadAll(*log, 5)) == Expected(5, 7));
}

TEST_CASE("other batches than those that were synced are damage, whatever their size",
          "[recovery]") {
  const auto disk = NextBoot(*Disk(5, 5));
  // The same offsets, as another log would have them.
  std::string bytes;
  for (int i = 0; i < 5; ++i) {
    auto batch = MakeBatch({"other"});
    record::AssignOffset(batch.data(), i, 0);
    bytes += AsText(batch);
  }
  OrFail(disk->Poke(kFirst, bytes));
  OneLog log(*disk);
  log.Open();
  REQUIRE(log->recovery().damage.size() == 1);
  CHECK(log->recovery().damage[0].first_offset == 0);
  CHECK(log->recovery().damage[0].end_offset == 5);
  CHECK(absl::IsDataLoss(TryReadAll(*log, 3, 4).status()));
}

TEST_CASE("damage below the durable mark is corruption: kept, named, and the rest is served",
          "[recovery]") {
  const auto disk = NextBoot(*Disk(10, 10));
  Damage(*disk, kFirst, 4 * kBatchBytes + 70);
  OneLog log(*disk);
  log.Open();
  const RecoveryReport& report = log->recovery();
  CHECK(report.cut_bytes == 0);
  REQUIRE(report.damage.size() == 1);
  CHECK(report.damage[0].first_offset == 4);
  CHECK(report.damage[0].end_offset == 5);
  CHECK(report.damage[0].position == 4 * kBatchBytes);
  CHECK(report.damage[0].size_bytes == kBatchBytes);
  const Status status = log->Read(4, 10, 1 << 20, TestPool()).status();
  CHECK(ErrorIdOf(status) == ErrorId::kCorruptLog);
  CHECK_THAT(status.ToString(), Catch::Contains(kFirst) && Catch::Contains("bytes [360, 450)") &&
                                    Catch::Contains("offsets [4, 5)"));
  CHECK(Values(OrFail(TryReadAll(*log, 0, 4))) == Expected(0, 4));
  CHECK(Values(OrFail(TryReadAll(*log, 5, 10))) == Expected(5, 10));
  CHECK(OrFail(disk->Peek(kFirst)).size() == 10 * kBatchBytes);
  INFO("appends go on in a new segment");
  CHECK(log->segments().size() == 2);
  CHECK(Append(*log, {Value(10)}, kT0, 1).base_offset == 10);
  CHECK(Values(OrFail(TryReadAll(*log, 5, 11))) == Expected(5, 11));
}

// Neither the batch nor an index says where the next one begins; the mark says where one may.
TEST_CASE("behind a batch of unknown length the log goes on at the mark", "[recovery]") {
  const auto disk = NextBoot(*Disk(5, 8));
  constexpr size_t kLengthAt = 2 * kBatchBytes + 10;
  Damage(*disk, kFirst, kLengthAt);
  SECTION("where a batch begins") {
    OneLog log(*disk);
    log.Open();
    REQUIRE(log->recovery().damage.size() == 1);
    CHECK(log->recovery().damage[0].end_offset == 5);
    CHECK(Values(ReadAll(*log, 5)) == Expected(5, 8));
    INFO("and the next opening, for which the mark has moved on, finds it again");
    log.DropAndOpen();
    CHECK(Values(ReadAll(*log, 5)) == Expected(5, 8));
  }
  SECTION("where another batch than that begins, nothing tells it apart") {
    Damage(*disk, kFirst, 5 * kBatchBytes + 7);  // its offset
    OneLog log(*disk);
    log.Open();
    REQUIRE(log->recovery().damage.size() == 1);
    CHECK(log->recovery().damage[0].first_offset == 2);
    CHECK(log->recovery().damage[0].end_offset == 5);
    CHECK(log->recovery().damage[0].size_bytes == 6 * kBatchBytes);
    CHECK(log->log_end() == 5);
  }
  SECTION("of a file that the mark does not speak of, its end") {
    const LogConfig config{.segment_bytes = 5 * kBatchBytes};
    const auto rolled = NextBoot(*Disk(12, 12, config));
    OrFail(rolled->Poke("data/millrace/marks", "garbage"));
    Damage(*rolled, kFirst, kLengthAt);
    OneLog log(*rolled, config);
    log.Open();
    CHECK(ErrorIdOf(log->Read(2, 12, 1, TestPool()).status()) == ErrorId::kCorruptLog);
    CHECK(Values(OrFail(TryReadAll(*log, 5, 12))) == Expected(5, 12));
  }
}

TEST_CASE("a file that ends below the durable mark leaves a gap, and offsets are not used again",
          "[recovery]") {
  const auto disk = NextBoot(*Disk(10, 10));
  OrFail(disk->Poke(kFirst, OrFail(disk->Peek(kFirst)).substr(0, 6 * kBatchBytes)));
  OneLog log(*disk);
  log.Open();
  REQUIRE(log->recovery().damage.size() == 1);
  CHECK(log->recovery().damage[0].first_offset == 6);
  CHECK(log->recovery().damage[0].end_offset == 10);
  CHECK(Values(OrFail(TryReadAll(*log, 0, 6))) == Expected(0, 6));
  CHECK(ErrorIdOf(log->Read(8, 10, 1, TestPool()).status()) == ErrorId::kCorruptLog);
  CHECK(Append(*log, {"next"}, kT0, 1).base_offset == 10);
  CHECK(Values(OrFail(TryReadAll(*log, 10, 11))) == "next");
}

TEST_CASE("when only the process died, no more than an incomplete last batch is torn",
          "[recovery]") {
  // Written and not marked: with the mark of this boot, the page cache is a witness.
  SimulatedDisk running(1);
  OneLog first(running);
  first.Open();
  OrFail(first.directory->WriteMarks());
  AppendMany(*first, 0, 10);
  first.Drop();
  const auto disk = running.ProcessKill();
  std::string bytes = OrFail(disk->Peek(kFirst));
  SECTION("half a batch at the end") {
    OrFail(disk->Poke(kFirst, bytes.substr(0, 9 * kBatchBytes + 40)));
    OneLog log(*disk);
    log.Open();
    CHECK(log->recovery().cut_bytes == 40);
    CHECK(log->recovery().damage.empty());
    CHECK(Values(ReadAll(*log)) == Expected(0, 9));
  }
  SECTION("a damaged batch is corruption, wherever it is") {
    Damage(*disk, kFirst, 8 * kBatchBytes + 70);
    OneLog log(*disk);
    log.Open();
    CHECK(log->recovery().cut_bytes == 0);
    REQUIRE(log->recovery().damage.size() == 1);
    CHECK(log->recovery().damage[0].first_offset == 8);
    CHECK(log->recovery().damage[0].end_offset == 9);
    CHECK(Values(OrFail(TryReadAll(*log, 9, 10))) == Expected(9, 10));
  }
  SECTION("unless a sync had failed: then the page cache proves nothing") {
    OrFail(disk->Poke("data/millrace/failed", "no luck"));
    Damage(*disk, kFirst, 8 * kBatchBytes + 70);
    OneLog log(*disk);
    log.Open();
    CHECK(log->recovery().damage.empty());
    CHECK(log->recovery().cut_offset == 8);
  }
}

TEST_CASE("where the marks are lost, the last closed segment stands in for them", "[recovery]") {
  const LogConfig config{.segment_bytes = 5 * kBatchBytes};
  const auto disk = NextBoot(*Disk(12, 12, config));
  OrFail(disk->Poke("data/millrace/marks", "garbage"));
  SECTION("above its end damage is a torn tail") {
    Damage(*disk, "data/orders-0/00000000000000000010.log", 70);
    OneLog log(*disk, config);
    log.Open();
    CHECK(log->recovery().durable_mark == -1);
    CHECK(log->recovery().cut_offset == 10);
    CHECK(log->log_end() == 10);
  }
  SECTION("below it nothing is cut") {
    Damage(*disk, "data/orders-0/00000000000000000005.log", 70);
    OneLog log(*disk, config);
    log.Open();
    CHECK(log->recovery().cut_bytes == 0);
    CHECK(log->log_end() == 12);
    CHECK(ErrorIdOf(log->Read(5, 12, 1, TestPool()).status()) == ErrorId::kCorruptLog);
    CHECK(Values(OrFail(TryReadAll(*log, 6, 12))) == Expected(6, 12));
  }
  SECTION("and without any sum all of the log is read") {
    for (const std::string& path : disk->AllFiles()) {
      if (path.starts_with("data/millrace/sums/")) OrFail(disk->Erase(path));
    }
    OneLog log(*disk, config);
    log.Open();
    CHECK(Values(ReadAll(*log)) == Expected(0, 12));
  }
}

TEST_CASE("a clean close vouches for its log although the marks are lost", "[recovery]") {
  const auto disk = std::make_shared<SimulatedDisk>(1);
  OneLog first(*disk);
  first.Open();
  AppendMany(*first, 0, 12);
  first.Close();
  first.Drop();
  OrFail(disk->Poke("data/millrace/marks", "garbage"));
  Damage(*disk, kFirst, 5 * kBatchBytes + 70);

  OneLog second(*disk);
  second.Open();
  AppendMany(*second, 12, 13);
  OrFail(second->SyncTo(13));
  second.Drop();

  const auto next_boot = NextBoot(*disk);
  OneLog third(*next_boot);
  third.Open();
  CHECK(third->recovery().cut_bytes == 0);
  CHECK(third->log_end() == 13);
  CHECK(Values(OrFail(TryReadAll(*third, 6, 13))) == Expected(6, 13));
}

TEST_CASE("opened for reading, a log is recovered in memory alone", "[recovery]") {
  const auto check = [](SimulatedDisk& disk, const LogConfig& config, Offset end) {
    std::map<std::string, std::string> before;
    for (const std::string& path : disk.AllFiles()) before[path] = OrFail(disk.Peek(path));
    OneLog log(disk, config);
    OrFail(log.TryOpen(/*read_only=*/true));
    CHECK(log->log_end() == end);
    CHECK(Values(OrFail(TryReadAll(*log, 0, end))) == Expected(0, static_cast<int>(end)));
    log.Drop();
    for (const auto& [path, bytes] : before) CHECK(OrFail(disk.Peek(path)) == bytes);
    CHECK(disk.AllFiles().size() == before.size());
  };
  const LogConfig config{.segment_bytes = 5 * kBatchBytes};
  const auto disk = NextBoot(*Disk(12, 22, config));
  SECTION("whole") { check(*disk, config, 22); }
  SECTION("without its epochs and its sums") {
    OrFail(disk->Erase("data/orders-0/leader-epoch-checkpoint"));
    for (const std::string& path : disk->AllFiles()) {
      if (path.starts_with("data/millrace/sums/")) OrFail(disk->Erase(path));
    }
    check(*disk, config, 22);
  }
  SECTION("with a torn tail") {
    const auto torn = NextBoot(*Disk(12, 14));
    Damage(*torn, kFirst, 13 * kBatchBytes + 70);
    check(*torn, {}, 13);
  }
}

TEST_CASE("a missing segment is a gap, and the others are served", "[recovery]") {
  const LogConfig config{.segment_bytes = 5 * kBatchBytes};
  const auto disk = NextBoot(*Disk(22, 22, config));
  SECTION("in the middle") {
    OrFail(disk->Erase("data/orders-0/00000000000000000005.log"));
    OneLog log(*disk, config);
    log.Open();
    REQUIRE(log->recovery().damage.size() == 1);
    CHECK(log->recovery().damage[0].first_offset == 5);
    CHECK(log->recovery().damage[0].end_offset == 10);
    CHECK(Values(OrFail(TryReadAll(*log, 0, 5))) == Expected(0, 5));
    CHECK(Values(OrFail(TryReadAll(*log, 10, 22))) == Expected(10, 22));
    CHECK(ErrorIdOf(log->Read(7, 22, 1, TestPool()).status()) == ErrorId::kCorruptLog);
  }
  SECTION("at the front") {
    OrFail(disk->Erase("data/orders-0/00000000000000000000.log"));
    OneLog log(*disk, config);
    log.Open();
    const bool closed = GENERATE(false, true);
    if (closed) log.CloseAndOpen();  // cleanly, which looks into no log
    CHECK(log->log_start() == 0);
    const Status status = log->Read(2, 22, 1, TestPool()).status();
    CHECK(ErrorIdOf(status) == ErrorId::kCorruptLog);
    CHECK_THAT(status.ToString(),
               Catch::Contains(closed ? "no file holds offset 2" : "offsets [0, 5)"));
    CHECK(Values(OrFail(TryReadAll(*log, 5, 22))) == Expected(5, 22));
  }
  SECTION("the active one") {
    OrFail(disk->Erase("data/orders-0/00000000000000000020.log"));
    OneLog log(*disk, config);
    log.Open();
    REQUIRE(log->recovery().damage.size() == 1);
    CHECK(log->recovery().damage[0].first_offset == 20);
    CHECK(log->recovery().damage[0].end_offset == 22);
    CHECK(Append(*log, {"next"}, kT0, 1).base_offset == 22);
  }
}

TEST_CASE("a closed segment with the contents of another is damage, not data", "[recovery]") {
  const LogConfig config{.segment_bytes = 5 * kBatchBytes};
  const auto disk = NextBoot(*Disk(12, 12, config));
  OrFail(disk->Poke("data/orders-0/00000000000000000005.log", OrFail(disk->Peek(kFirst))));
  OneLog log(*disk, config);
  log.Open();
  for (Offset offset = 5; offset < 10; ++offset)
    CHECK(ErrorIdOf(log->Read(offset, 12, 1, TestPool()).status()) == ErrorId::kCorruptLog);
  CHECK(Values(OrFail(TryReadAll(*log, 10, 12))) == Expected(10, 12));
}

TEST_CASE("left-over files go, unknown ones stay", "[recovery]") {
  const LogConfig config{.segment_bytes = 5 * kBatchBytes};
  const auto disk = NextBoot(*Disk(12, 12, config));
  const std::string folder = "data/orders-0/";
  const std::vector<std::string> removed = {"leader-epoch-checkpoint.tmp",
                                            "partition.metadata.tmp",
                                            "00000000000000000005.timeindex.cleaned",
                                            "00000000000000000005.snapshot.tmp",
                                            "00000000000000000005.log.cleaned",
                                            "00000000000000000005.index.cleaned",
                                            "00000000000000000000.index.deleted",
                                            "next.tmp",
                                            "00000000000000000000.270.cut.tmp"};
  const std::vector<std::string> kept = {"notes.txt", "00000000000000000005.log.swap",
                                         "00000000000000000007.log.deleted", "5.log",
                                         "00000000000000000000.270.cut"};
  for (const auto& names : {removed, kept}) {
    for (const std::string& name : names) OrFail(disk->Poke(folder + name, "x"));
  }
  OneLog log(*disk, config);
  log.Open();
  for (const std::string& name : removed) CHECK_FALSE(disk->Peek(folder + name).ok());
  for (const std::string& name : kept) CHECK(disk->Peek(folder + name).ok());
  CHECK(Values(ReadAll(*log)) == Expected(0, 12));
}

TEST_CASE("a tail that was cut does not come back behind a new batch", "[recovery]") {
  const auto crashed = NextBoot(*Disk(5, 10));
  Damage(*crashed, kFirst, 6 * kBatchBytes + 70);
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const auto disk = crashed->Clone();
    OneLog log(*disk);
    log.Open();
    REQUIRE(log->log_end() == 6);
    // Of the size of what was cut, and in the same epoch: nothing else would tell them apart.
    Append(*log, {Value(60)}, kT0, 0);
    log.Drop();
    const auto again = disk->PowerCut(seed, CutMode::kAdversarial);
    OneLog after(*again);
    after.Open();
    INFO("seed " << seed);
    CHECK(after->log_end() <= 7);
  }
}

TEST_CASE("recovery reads what lies above the checkpoint, whatever the size of the log",
          "[recovery]") {
  const LogConfig config{.segment_bytes = 100 * kBatchBytes};
  const auto disk = NextBoot(*Disk(1010, 1020, config));
  uint64_t reads = 0;
  disk->SetFaults([&](const testing::DiskCall& call) -> std::optional<testing::Fault> {
    reads += call.op == testing::DiskOp::kRead && call.path.ends_with(".log") ? 1 : 0;
    return std::nullopt;
  });
  OneLog log(*disk, config);
  log.Open();
  CHECK(reads == 1);
  disk->SetFaults(nullptr);
  CHECK(Values(ReadAll(*log)) == Expected(0, 1020));
}

TEST_CASE("the epochs of a log survive a damaged file, and are not given out twice", "[recovery]") {
  SimulatedDisk running(1);
  OneLog first(running);
  first.Open();
  for (int epoch = 0; epoch < 3; ++epoch) {
    for (int i = 0; i < 4; ++i) Append(*first, {Value(i)}, kT0, epoch);
  }
  OrFail(first->SyncTo(12));
  OrFail(first.directory->WriteMarks());
  Append(*first, {Value(12)}, kT0, 5);  // not synced, but its epoch is
  first.Drop();
  const auto disk = NextBoot(running);
  const std::string path = "data/orders-0/leader-epoch-checkpoint";
  SECTION("as it is") {}
  SECTION("damaged") { OrFail(disk->Poke(path, "0\n2\n0 0\n1 9\n")); }
  SECTION("lost") { OrFail(disk->Erase(path)); }
  const bool whole =
      disk->Peek(path).ok() && OrFail(disk->Peek(path)).find("5 12") != std::string::npos;
  OneLog log(*disk);
  log.Open();
  CHECK(log->recovery().damage.empty());
  CHECK(log->EndOfEpoch(0)->end_offset == 4);
  CHECK(log->EndOfEpoch(1)->end_offset == 8);
  CHECK(log->EndOfEpoch(2)->end_offset == 12);
  CHECK(log->latest_epoch() == (whole ? 5 : 2));
  CHECK(ReadAll(*log).size() >= 12);
  SECTION("and those of deleted segments go with a close") {
    OrFail(log->Roll());
    OrFail(log->DeleteRecordsBefore(12, 12));
    log.CloseAndOpen();
    CHECK(log->recovery().clean);
    CHECK(log->EndOfEpoch(1)->end_offset == 12);  // nothing is left of it
    log.DropAndOpen();
    CHECK(log->recovery().damage.empty());
  }
}

TEST_CASE("the epochs behind a damaged batch are known without their file", "[recovery]") {
  SimulatedDisk running(1);
  OneLog first(running);
  first.Open();
  for (int i = 0; i < 12; ++i) Append(*first, {Value(i)}, kT0, i / 4);
  OrFail(first->SyncTo(12));
  OrFail(first.directory->WriteMarks());
  first.Drop();
  const auto disk = NextBoot(running);
  Damage(*disk, kFirst, kBatchBytes + 80);
  OrFail(disk->Erase("data/orders-0/leader-epoch-checkpoint"));
  OneLog log(*disk);
  log.Open();
  CHECK(log->EndOfEpoch(1)->end_offset == 8);
  CHECK_FALSE(TryReadAll(*log, 1, 2).ok());
  CHECK(Values(ReadAll(*log, 2)) == Expected(2, 12));
}

TEST_CASE("a reader beside the writer sees whole batches, and changes nothing", "[recovery]") {
  const auto files = NewMemoryFileSystem();
  OneLog writer(*files);
  writer.Open();
  AppendMany(*writer, 0, 5);
  OrFail(writer->SyncTo(5));
  OrFail(writer.directory->WriteMarks());
  AppendMany(*writer, 5, 8);
  const auto file = OrFail(files->Open(kFirst, OpenMode::kReadWrite));
  OrFail(file->WriteAt(8 * kBatchBytes, AsBytes("half a batch")));
  OneLog reader(*files);
  OrFail(reader.TryOpen(/*read_only=*/true));
  CHECK(Values(ReadAll(*reader)) == Expected(0, 8));
  auto batch = MakeBatch({"x"});
  CHECK(ErrorIdOf(reader->Append(batch, {}, false).status()) == ErrorId::kReadOnly);
  CHECK(OrFail(file->Size()) == 8 * kBatchBytes + 12);
  OrFail(file->Truncate(8 * kBatchBytes));
  AppendMany(*writer, 8, 9);
  CHECK(Values(ReadAll(*reader)) == Expected(0, 8));
}

}  // namespace
}  // namespace millrace::log
