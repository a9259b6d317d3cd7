#include <cerrno>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/crc32c.h"
#include "base/errors.h"
#include "env/file_util.h"
#include "log/durable_marks.h"
#include "log/log_fixture.h"
#include "log/segment_sums.h"
#include "log/sync_gate.h"
#include "millrace/testing/simulated_disk.h"

// Files that an administrator, a restored backup or an interrupted writer may leave in a data
// directory.
namespace millrace::log {
namespace {

using testing::CutMode;
using testing::DiskCall;
using testing::DiskOp;
using testing::Fault;
using testing::SimulatedDisk;

constexpr LogConfig kFives{.segment_bytes = 450, .retention = std::nullopt};  // batches a segment

std::string Value(int i) { return fmt::format("v{:020}", i); }
std::string Expected(int from, int to) {
  std::string text;
  for (int i = from; i < to; ++i) text += fmt::format("{}{}", i == from ? "" : " ", Value(i));
  return text;
}
std::string Segment(Offset base) { return fmt::format("data/orders-0/{:020}.log", base); }
std::string BatchAt(Offset offset, const std::string& value) {
  auto batch = MakeBatch({value}, kT0 + offset);
  record::AssignOffset(batch.data(), offset, 0);
  return std::string(AsText(batch));
}

void Fill(PartitionLog& log, int from, int to) {
  for (int i = from; i < to; ++i) Append(log, {Value(i)}, kT0 + i);
}
std::string Sums(const SimulatedDisk& disk) {
  for (const std::string& path : disk.AllFiles())
    if (path.starts_with("data/millrace/sums/")) return path;
  FAIL("there are no sums");
  return "";
}
std::shared_ptr<SimulatedDisk> NextBoot(const SimulatedDisk& disk) {
  return disk.PowerCut(1, CutMode::kJournalled);
}

// Of [0, 14), [0, marked) lies below the mark; no segment is recorded as closed.
std::shared_ptr<SimulatedDisk> Unrecorded(int marked) {
  SimulatedDisk disk(1);
  OneLog log(disk, kFives);
  log.Open();
  Fill(*log, 0, marked);
  OrFail(log->SyncTo(marked));
  OrFail(log.directory->WriteMarks());
  Fill(*log, marked, 14);
  log.Drop();
  return disk.Clone();
}

TEST_CASE("a segment file within another segment is left alone", "[recovery]") {
  const std::string intruder = BatchAt(3, "intruder");
  SECTION("one that is closed") {
    SimulatedDisk disk(1);
    OneLog log(disk, kFives);
    log.Open();
    Fill(*log, 0, 12);
    OrFail(log->SyncTo(12));
    log.Drop();
    OrFail(disk.Poke(Segment(3), intruder));
    log.Open();
    CHECK(Values(ReadAll(*log)) == Expected(0, 12));
    CHECK(OrFail(disk.Peek(Segment(3))) == intruder);
  }
  SECTION("one that is read anew") {
    const auto disk = NextBoot(*Unrecorded(1));
    OrFail(disk->Poke(Segment(3), intruder));
    OneLog log(*disk, kFives);
    log.Open();
    CHECK(Values(ReadAll(*log)) == Expected(0, 14));
    CHECK(OrFail(disk->Peek(Segment(3))) == intruder);
  }
}

TEST_CASE("the first file that is not known to be synced may be missing", "[recovery]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFives);
  log.Open();
  Fill(*log, 0, 5);
  OrFail(log->Roll());
  Fill(*log, 5, 7);
  const bool synced = GENERATE(false, true);
  if (synced) OrFail(log->SyncTo(7));
  OrFail(log.directory->WriteMarks());
  Fill(*log, 7, 14);
  log.Drop();
  const bool same_boot = GENERATE(false, true);
  const auto whole = disk.Clone();  // all of it has come to the disk
  OrFail(whole->Erase(Segment(5)));
  const auto next = same_boot ? whole : NextBoot(*whole);
  OneLog after(*next, kFives);
  after.Open();
  CHECK(Values(OrFail(TryReadAll(*after, 0, 5))) == Expected(0, 5));
  if (!synced && !same_boot) {
    INFO("it was never there, and what follows it does not count");
    CHECK(after->recovery().damage.empty());
    CHECK(after->log_end() == 5);
    CHECK(next->Peek("data/orders-0/00000000000000000010.0.cut").ok());
  } else {
    INFO("it is lost, and the others are served");
    REQUIRE(after->recovery().damage.size() == 1);
    CHECK(after->recovery().damage[0].first_offset == 5);
    CHECK(after->recovery().damage[0].end_offset == 10);
    CHECK(Values(ReadAll(*after, 10)) == Expected(10, 14));
  }
}

TEST_CASE("where the machine has lived on, a file that is too short has lost records",
          "[recovery]") {
  const auto disk = Unrecorded(1);
  OrFail(disk->Poke(Segment(5), OrFail(disk->Peek(Segment(5))).substr(0, 270)));
  OneLog log(*disk, kFives);
  log.Open();
  REQUIRE(log->recovery().damage.size() == 1);
  CHECK(log->recovery().damage[0].first_offset == 8);
  CHECK(log->recovery().damage[0].end_offset == 10);
  CHECK(Values(OrFail(TryReadAll(*log, 5, 8))) == Expected(5, 8));
  CHECK(Values(ReadAll(*log, 10)) == Expected(10, 14));
}

TEST_CASE("a batch out of its producer's order is a torn tail", "[recovery]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  for (int i = 0; i < 3; ++i) OrFail(TryAppendFrom(*log, {Value(i)}, 7, 0, i).status());
  OrFail(log->SyncTo(3));
  OrFail(log.directory->WriteMarks());
  log.Drop();
  auto stray = MakeProducerBatch({Value(3)}, 7, 0, 9);
  record::AssignOffset(stray.data(), 3, 0);
  OrFail(disk.Poke(Segment(0), OrFail(disk.Peek(Segment(0))) + std::string(AsText(stray))));
  const auto next = NextBoot(disk);
  OneLog after(*next);
  after.Open();
  CHECK(after->log_end() == 3);
  CHECK(after->recovery().cut_bytes == stray.size());
}

TEST_CASE("a file that was to be deleted goes only where the log has moved past it", "[recovery]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFives);
  log.Open();
  Fill(*log, 0, 14);
  OrFail(log->DeleteRecordsBefore(7, 14));
  log.Drop();
  const std::string below = Segment(0) + ".deleted";
  const std::string above = Segment(10) + ".deleted";
  OrFail(disk.Poke(below, "x"));
  OrFail(disk.Poke(above, "x"));
  bool fails = false;
  SECTION("with the mark") {}
  SECTION("with the mark, on a disk that does not let it go") {
    fails = true;
    disk.SetFaults([&](const DiskCall& call) -> std::optional<Fault> {
      if (call.op == DiskOp::kRemoveFile && call.path == below) return Fault{.error = EACCES};
      return std::nullopt;
    });
  }
  SECTION("without it nothing is known") {
    fails = true;
    OrFail(disk.Erase("data/millrace/marks"));
  }
  log.Open();
  CHECK(disk.Peek(below).ok() == fails);
  CHECK(disk.Peek(above).ok());
  CHECK(Values(ReadAll(*log, 7)) == Expected(7, 14));
}

TEST_CASE("a deletion that was under way is finished at the opening, or the opening fails",
          "[recovery]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFives);
  log.Open();
  Fill(*log, 0, 14);
  const std::string bytes = OrFail(disk.Peek(Segment(0)));
  OrFail(log->DeleteRecordsBefore(7, 14));
  log.Drop();
  OrFail(disk.Poke(Segment(0), bytes));
  disk.SetFaults([&](const DiskCall& call) -> std::optional<Fault> {
    if (call.op == DiskOp::kRemoveFile && call.path == Segment(0)) return Fault{};
    return std::nullopt;
  });
  CHECK(ErrorIdOf(log.TryOpen()) == ErrorId::kIoError);
  disk.SetFaults(nullptr);
  log.Open();
  CHECK_FALSE(disk.Peek(Segment(0)).ok());
  CHECK(log->log_start() == 7);
}

TEST_CASE("a closed segment whose follower is missing ends where the sums say", "[recovery]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFives);
  log.Open();
  Fill(*log, 0, 17);
  OrFail(log->SyncTo(17));
  log.Drop();
  // [15, 17) is gone, and somebody has put a later segment there.
  OrFail(disk.Erase(Segment(15)));
  OrFail(disk.Poke(Segment(20), BatchAt(20, Value(20))));
  log.Open();
  CHECK(Values(OrFail(TryReadAll(*log, 0, 15))) == Expected(0, 15));
  CHECK(absl::IsDataLoss(TryReadAll(*log, 16, 17).status()));
  CHECK(Values(ReadAll(*log, 20)) == Expected(20, 21));
}

TEST_CASE("an epoch that only a doubtful file knows is not given out again, within reason",
          "[recovery]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Append(*log, {"a"});
  Append(*log, {"b"}, kT0, 2);
  OrFail(log->SyncTo(2));
  OrFail(log.directory->WriteMarks());
  log.Drop();
  const std::string path = "data/orders-0/leader-epoch-checkpoint";
  int32_t latest = 2;
  SECTION("seven is near") {
    OrFail(disk.Poke(path, "0\n2\n1 0\n7 1\n"));
    latest = 7;
  }
  SECTION("a million may be a flipped bit") { OrFail(disk.Poke(path, "0\n2\n1 0\n1000000 1\n")); }
  SECTION("a file without an entry says nothing") { OrFail(disk.Poke(path, "0\n0\n")); }
  log.Open();
  CHECK(log->latest_epoch() == latest);
  CHECK(ReadAll(*log).size() == 2);
}

TEST_CASE("an epoch of which only the mark is left goes on", "[recovery]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Append(*log, {"a"}, kT0, 3);
  OrFail(log->SyncTo(1));
  OrFail(log.directory->WriteMarks());
  log.Drop();
  OrFail(disk.Poke(Segment(0), "not a batch"));
  OrFail(disk.Poke("data/orders-0/leader-epoch-checkpoint", ""));
  log.Open();
  CHECK(log->latest_epoch() == 3);
  const Offset next = log->log_end();
  Append(*log, {"b"}, kT0, 3);
  OrFail(log->SyncTo(next + 1));
  CHECK(Values(ReadAll(*log, next)) == "b");
  log.DropAndOpen();
  CHECK(Values(ReadAll(*log, next)) == "b");
}

TEST_CASE("sums that contradict themselves are not believed", "[side-files]") {
  SimulatedDisk disk(1);
  SyncGate gate(disk, "");
  SegmentSums sums(disk, "sums");
  const SegmentRecord good{.base = 10, .end_offset = 20, .size_bytes = 900};
  OrFail(sums.Append(gate, {.base = -1, .end_offset = 20, .size_bytes = 900}));
  OrFail(sums.Append(gate, {.base = 30, .end_offset = 20, .size_bytes = 900}));
  OrFail(sums.Append(gate, good));
  CHECK(OrFail(SegmentSums(disk, "sums").Load()) == std::vector<SegmentRecord>{good});
}

TEST_CASE("the sums are rewritten with those of the segments that are left", "[retention]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFives);
  log.Open();
  Fill(*log, 0, 1340);
  OrFail(log->SyncTo(1340));
  const size_t bytes = OrFail(disk.Peek(Sums(disk))).size();
  SECTION("or stay, where that fails") {
    disk.SetFaults([](const DiskCall& call) -> std::optional<Fault> {
      if (call.op == DiskOp::kRename) return Fault{};
      return std::nullopt;
    });
    CHECK_FALSE(log->DeleteRecordsBefore(1322, 1340).ok());
    disk.SetFaults(nullptr);
    CHECK(OrFail(disk.Peek(Sums(disk))).size() == bytes);
    CHECK(log->log_start() == 1322);
  }
  SECTION("but for those that wait for room for their indexes") {
    disk.SetFaults([](const DiskCall& call) -> std::optional<Fault> {
      if (call.op == DiskOp::kWrite && call.path.ends_with(".index")) return Fault{.error = ENOSPC};
      return std::nullopt;
    });
    Fill(*log, 1340, 1348);
    OrFail(log->DeleteRecordsBefore(1322, 1348));
    CHECK(OrFail(disk.Peek(Sums(disk))).size() == 3 * SegmentSums::kEntryBytes);
    disk.SetFaults(nullptr);
  }
  SECTION("as a rule") {
    OrFail(log->DeleteRecordsBefore(1322, 1340));
    CHECK(OrFail(disk.Peek(Sums(disk))).size() == 3 * SegmentSums::kEntryBytes);
  }
  Fill(*log, static_cast<int>(log->log_end()), 1350);
  OrFail(log->SyncTo(1350));
  log.DropAndOpen();
  CHECK(log->recovery().damage.empty());
  CHECK_THAT(fmt::format("{}", fmt::join(log->recovery().notes, "\n")),
             !Catch::Contains("read as a whole"));
  CHECK(Values(ReadAll(*log, 1322)) == Expected(1322, 1350));
}

TEST_CASE("a mark can change while it is written", "[side-files]") {
  SimulatedDisk disk(1);
  OrFail(disk.CreateDir("d"));
  SyncGate gate(disk, "");
  const DurableMarks::Key key{kTopic, 3};
  auto marks = OrFail(DurableMarks::Open(disk, gate, "d/marks", false));
  marks->Update(key, {.log_start = 1});
  OrFail(marks->Write());
  bool fail = false;
  std::function<void()> meanwhile = [] {};
  disk.SetFaults([&](const DiskCall& call) -> std::optional<Fault> {
    if (call.op != DiskOp::kWrite) return std::nullopt;
    meanwhile();
    if (fail) return Fault{};
    return std::nullopt;
  });
  const auto start_on_disk = [&]() -> Offset {
    const auto mark = OrFail(DurableMarks::Open(disk, gate, "d/marks", true))->Find(key);
    return mark.has_value() ? mark->log_start : -1;
  };
  SECTION("and the write fail: the newer one is written next") {
    fail = true;
    meanwhile = [&] { marks->Update(key, {.log_start = 3}); };
    marks->Update(key, {.log_start = 2});
    CHECK_FALSE(marks->Write().ok());
    CHECK(start_on_disk() == 1);
    fail = false;
    meanwhile = [] {};
    OrFail(marks->Write());
    CHECK(start_on_disk() == 3);
  }
  SECTION("and be there again as its removal is written") {
    meanwhile = [&] { marks->Update(key, {.log_start = 4}); };
    marks->Remove(key);
    marks->Remove(key);
    CHECK_FALSE(marks->Find(key).has_value());
    CHECK(marks->Keys().empty());
    OrFail(marks->Write());
    CHECK(start_on_disk() == -1);
    meanwhile = [] {};
    OrFail(marks->Write());
    CHECK(start_on_disk() == 4);
  }
  SECTION("a removal that fails is made again") {
    fail = true;
    marks->Remove(key);
    CHECK_FALSE(marks->Write().ok());
    CHECK(start_on_disk() == 1);
    fail = false;
    OrFail(marks->Write());
    CHECK(start_on_disk() == -1);
  }
}

TEST_CASE("the first failure is the one that counts", "[side-files]") {
  SimulatedDisk disk(1);
  OrFail(disk.CreateDir("d"));
  SyncGate gate(disk, GENERATE("", "d/failed", "none/failed"));
  const Status no_space = MakeError(ErrorId::kNoSpace, "full");
  CHECK(gate.IsLackOfRoom(no_space));
  const bool full = GENERATE(false, true);
  if (full) {
    disk.SetFaults([](const DiskCall& call) -> std::optional<Fault> {
      if (call.op == DiskOp::kWrite) return Fault{.error = ENOSPC};
      return std::nullopt;
    });
  }
  gate.Fail(MakeError(ErrorId::kIoError, "first"));
  gate.Fail(MakeError(ErrorId::kIoError, "second"));
  disk.SetFaults(nullptr);
  CHECK_FALSE(gate.IsLackOfRoom(no_space));
  for (const Status& status : {gate.failed(), gate.SyncDir("d"),
                               gate.ReplaceFile("d/x", AsBytes(std::string_view("x")))}) {
    CHECK(ErrorIdOf(status) == ErrorId::kDirectoryFailed);
    CHECK_THAT(status.ToString(), Catch::Contains("first"));
  }
  CHECK_FALSE(disk.Peek("d/x").ok());
}

TEST_CASE("an older copy of the marks does not make less of a clean close", "[directory]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Fill(*log, 0, 3);
  log.Close();
  const std::string marks = OrFail(disk.Peek("data/millrace/marks"));
  log.Open();
  Fill(*log, 3, 6);
  log.Close();
  OrFail(disk.Poke("data/millrace/marks", marks));
  log.Open();
  CHECK(log.directory->was_clean());
  log.Drop();
  // The manifest is gone now, and the marks know as much.
  const auto next = NextBoot(disk);
  OneLog after(*next);
  after.Open();
  CHECK(after->recovery().durable_mark == 6);
  CHECK(Values(ReadAll(*after)) == Expected(0, 6));
}

TEST_CASE("a folder under another name is recovered, not believed", "[directory]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Fill(*log, 0, 3);
  log.Close();
  OrFail(disk.Rename("data/orders-0", "data/renamed-0"));
  log.directory = OrFail(LogDirectory::Open(disk, log.clock, {.path = "data"}));
  log.log = OrFail(log.directory->OpenPartition("renamed-0", kTopic, 0, {}, true));
  CHECK_FALSE(log->recovery().clean);
  CHECK(Values(ReadAll(*log)) == Expected(0, 3));
}

TEST_CASE("a folder is made although somebody else has just made it", "[directory]") {
  SimulatedDisk disk(1);
  disk.SetFaults([&](const DiskCall& call) -> std::optional<Fault> {
    if (call.op != DiskOp::kCreateDir || call.path != "data/orders-0") return std::nullopt;
    disk.SetFaults(nullptr);
    OrFail(disk.CreateDir(call.path));
    return std::nullopt;
  });
  OneLog log(disk);
  log.Open();
  Append(*log, {"a"});
  CHECK(log->log_end() == 1);
}

TEST_CASE("a partition that never held a record may be missing", "[directory]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  OrFail(log.directory->WriteMarks());
  log.Drop();
  OrFail(RemoveTree(disk, "data/orders-0"));
  log.Open();
  CHECK(log->log_end() == 0);
}

TEST_CASE("only a whole format file names a directory", "[directory]") {
  SimulatedDisk disk(1);
  testing::ManualClock clock;
  SECTION("a directory without one is no directory of ours") {
    OrFail(disk.CreateDir("data"));
    CHECK(ErrorIdOf(LogDirectory::Open(disk, clock, {.path = "data", .create_if_missing = false})
                        .status()) == ErrorId::kNotFound);
  }
  SECTION("its last line vouches for the others") {
    OneLog(disk).Open();
    const std::string text = OrFail(disk.Peek("data/millrace/format"));
    const size_t crc = text.find("crc: ");
    REQUIRE(crc != std::string::npos);
    for (const std::string& bad : {text.substr(0, crc), text.substr(0, crc) + "crc: 00000000\n",
                                   "version= 1\n" + text.substr(text.find('\n') + 1)}) {
      OrFail(disk.Poke("data/millrace/format", bad));
      CHECK(ErrorIdOf(LogDirectory::Open(disk, clock, {.path = "data"}).status()) ==
            ErrorId::kCorruptLog);
      CHECK(OrFail(disk.Peek("data/millrace/format")) == bad);
    }
  }
}

// Ids that begin with a dash look like an option to a program: the next one is taken.
TEST_CASE("a directory's id does not begin with a dash", "[directory]") {
  class Scripted : public Random {
   public:
    uint64_t Next() override { return calls++ < 2 ? 0xf800000000000000 : 0x1234; }
    int calls = 0;
  };
  SimulatedDisk disk(1);
  testing::ManualClock clock;
  Scripted random;
  REQUIRE(Uuid::FromRandom(0xf800000000000000, 0xf800000000000000).IsReserved());
  const auto directory = OrFail(LogDirectory::Open(disk, clock, {.path = "d", .random = &random}));
  CHECK_FALSE(directory->id().IsReserved());
}

TEST_CASE("what is no partition's folder is not listed", "[directory]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  OrFail(disk.CreateDir("data/orders-1.id-delete"));
  OrFail(disk.Poke("data/notes.txt", "x"));
  OrFail(disk.CreateDir("data/vanished"));
  disk.SetFaults([](const DiskCall& call) -> std::optional<Fault> {
    if (call.op == DiskOp::kStat && call.path == "data/vanished") return Fault{.error = ENOENT};
    return std::nullopt;
  });
  const auto folders = OrFail(log.directory->ListFolders());
  REQUIRE(folders.size() == 1);
  CHECK(folders[0].name == "orders-0");
  disk.SetFaults([](const DiskCall&) { return Fault{}; });
  CHECK(ErrorIdOf(log.directory->ListFolders().status()) == ErrorId::kIoError);
}

TEST_CASE("Kafka's end of line after the topic id is read", "[directory]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Append(*log, {"a"});
  log.Close();
  const std::string path = "data/orders-0/partition.metadata";
  OrFail(disk.Poke(path, OrFail(disk.Peek(path)) + "\n"));
  log.Open();
  CHECK(log->log_end() == 1);
}

TEST_CASE("a deletion may fail at any call, and is repeated", "[directory]") {
  for (uint64_t call = 1;; ++call) {
    SimulatedDisk disk(1);
    OneLog log(disk, kFives);
    log.Open();
    Fill(*log, 0, 12);
    OrFail(log->SyncTo(12));
    log.log.reset();
    const uint64_t before = disk.calls();
    disk.SetFaults([&](const DiskCall& c) -> std::optional<Fault> {
      if (c.number == before + call) return Fault{.error = EACCES};
      return std::nullopt;
    });
    const Status first = log.directory->DeletePartition("orders-0", kTopic, 0);
    disk.SetFaults(nullptr);
    const bool all_done = disk.calls() < before + call;
    log.Drop();
    CAPTURE(call, first.ToString());
    log.directory = OrFail(LogDirectory::Open(disk, log.clock, {.path = "data"}));
    OrFail(log.directory->DeletePartition("orders-0", kTopic, 0));
    for (const std::string& path : disk.AllFiles())
      CHECK_THAT(path, !Catch::Contains("orders-0") && !Catch::Contains("sums/"));
    log.log = OrFail(log.directory->OpenPartition("orders-0", kTopic, 0, {}, true));
    CHECK(log->log_end() == 0);
    if (all_done) {
      CHECK(first.ok());
      CHECK(call > 10);
      break;
    }
  }
}

TEST_CASE("a directory that is opened for reading writes no marks, and has nothing to sync",
          "[directory]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Append(*log, {"a"});
  OneLog reader(disk);
  OrFail(reader.TryOpen(/*read_only=*/true));
  CHECK(ErrorIdOf(reader.directory->WriteMarks()) == ErrorId::kReadOnly);
  OrFail(reader->SyncTo(1));
}

}  // namespace
}  // namespace millrace::log
