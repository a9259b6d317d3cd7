// The simulated disk fails calls as it is told, and counts them.
#include <cerrno>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "env/file_util.h"
#include "millrace/testing/simulated_disk.h"
#include "support/or_fail.h"

namespace millrace {
namespace {

using testing::CutMode;
using testing::DiskCall;
using testing::DiskOp;
using testing::Fault;
using testing::SimulatedDisk;

std::string Read(File& file) {
  std::string out(1000, '?');
  out.resize(OrFail(file.ReadAt(0, std::as_writable_bytes(std::span(out)))));
  return out;
}

// Fails the calls of one kind.
auto Fail(DiskOp op, Fault fault) {
  return [op, fault](const DiskCall& call) {
    return call.op == op ? std::optional(fault) : std::nullopt;
  };
}

// Uses every operation once, and says which failed.
std::map<DiskOp, Status> UseEverything(FileSystem& disk, File& file) {
  std::map<DiskOp, Status> results;
  std::byte buffer[4];
  results[DiskOp::kRead] = file.ReadAt(0, buffer).status();
  results[DiskOp::kWrite] = file.WriteAt(0, AsBytes("x"));
  results[DiskOp::kSync] = file.Sync();
  results[DiskOp::kTruncate] = file.Truncate(10);
  results[DiskOp::kSize] = file.Size().status();
  results[DiskOp::kDropCache] = file.DropCache();
  results[DiskOp::kOpen] = disk.Open("b", OpenMode::kCreate).status();
  results[DiskOp::kStat] = disk.Stat("/").status();
  results[DiskOp::kList] = disk.List("/").status();
  results[DiskOp::kCreateDir] = disk.CreateDir("new");
  results[DiskOp::kRename] = disk.Rename("from", "to");
  results[DiskOp::kLink] = disk.Link("linked", "link");
  results[DiskOp::kRemoveFile] = disk.RemoveFile("file");
  results[DiskOp::kRemoveDir] = disk.RemoveDir("dir");
  results[DiskOp::kSyncDir] = disk.SyncDir("/");
  results[DiskOp::kLock] = disk.Lock("lock").status();
  return results;
}

std::unique_ptr<SimulatedDisk> DiskToUse() {
  auto disk = std::make_unique<SimulatedDisk>();
  for (const char* path : {"a", "from", "linked", "file"}) OrFail(disk->Poke(path, "1"));
  OrFail(disk->CreateDir("dir"));
  return disk;
}

TEST_CASE("a fault fails the calls that it names, and no others", "[env][fault]") {
  const auto healthy = DiskToUse();
  for (const auto& [op, status] :
       UseEverything(*healthy, **healthy->Open("a", OpenMode::kReadWrite))) {
    INFO(Name(op));
    CHECK(status.ok());
  }
  for (int i = 0; i < static_cast<int>(DiskOp::kClose); ++i) {
    const auto failing = static_cast<DiskOp>(i);
    const auto disk = DiskToUse();
    const auto file = OrFail(disk->Open("a", OpenMode::kReadWrite));
    disk->SetFaults(Fail(failing, {.error = EACCES}));
    for (const auto& [op, status] : UseEverything(*disk, *file)) {
      INFO(Name(op) << " while " << Name(failing) << " fails");
      CHECK(status.ok() == (op != failing));
      if (op == failing) CHECK(ErrorIdOf(status) == ErrorId::kPermissionDenied);
    }
    disk->SetFaults(nullptr);
  }
}

TEST_CASE("a failed call changes nothing", "[env][fault]") {
  SimulatedDisk disk;
  OrFail(disk.Poke("a", "old"));
  const auto file = OrFail(disk.Open("a", OpenMode::kReadWrite));
  disk.SetFaults([](const DiskCall&) { return Fault{.error = ENOSPC}; });
  CHECK(ErrorIdOf(file->WriteAt(0, AsBytes("new"))) == ErrorId::kNoSpace);
  CHECK(ErrorIdOf(file->Truncate(0)) == ErrorId::kNoSpace);
  CHECK_FALSE(disk.Rename("a", "b").ok());
  CHECK_FALSE(disk.RemoveFile("a").ok());
  CHECK_FALSE(disk.Open("c", OpenMode::kCreate).ok());
  CHECK_FALSE(disk.Lock("l").ok());
  CHECK(disk.AllFiles() == std::vector<std::string>{"a"});
  CHECK(OrFail(disk.Peek("a")) == "old");
}

TEST_CASE("a short write leaves the first half", "[env][fault]") {
  SimulatedDisk disk;
  const auto file = OrFail(disk.Open("a", OpenMode::kCreate));
  disk.SetFaults(Fail(DiskOp::kWrite, {.error = ENOSPC, .kind = Fault::Kind::kShortThenFail}));
  const Status status = file->WriteAt(2, AsBytes("abcdef"));
  CHECK(ErrorIdOf(status) == ErrorId::kNoSpace);
  CHECK_THAT(status.ToString(), Catch::Contains("write of 6 bytes at position 2 of a"));
  CHECK(Read(*file) == std::string("\0\0abc", 5));
}

TEST_CASE("a sync that loses its pages shows them until the cache is dropped", "[env][fault]") {
  SimulatedDisk disk;
  OrFail(disk.Poke("a", "old bytes"));
  const auto file = OrFail(disk.Open("a", OpenMode::kReadWrite));
  OrFail(file->WriteAt(0, AsBytes("new")));
  OrFail(file->WriteAt(9, AsBytes(" and more")));
  disk.SetFaults(Fail(DiskOp::kSync, {.kind = Fault::Kind::kSyncDropsPages}));
  CHECK(ErrorIdOf(file->Sync()) == ErrorId::kIoError);
  disk.SetFaults(nullptr);
  CHECK(Read(*file) == "new bytes and more");

  SECTION("a retry succeeds, and makes nothing durable but the size") {
    OrFail(file->Sync());
    CHECK(Read(*file) == "new bytes and more");
    const auto image = disk.PowerCut(1, CutMode::kJournalled);
    CHECK(OrFail(image->Peek("a")) == "old bytes" + std::string(9, '\0'));
  }
  SECTION("dropping the cache brings the durable bytes back") {
    OrFail(file->DropCache());
    CHECK(Read(*file) == "old bytes" + std::string(9, '\0'));
    CHECK(OrFail(file->Size()) == 18);
  }
  SECTION("what is written afterwards is a new write") {
    OrFail(file->WriteAt(4, AsBytes("BYTES")));
    OrFail(file->DropCache());
    CHECK(Read(*file) == "old BYTES" + std::string(9, '\0'));
    OrFail(file->Sync());
    const auto image = disk.PowerCut(1, CutMode::kAdversarial);
    CHECK(OrFail(image->Peek("a")) == "old BYTES" + std::string(9, '\0'));
  }
  SECTION("the page cache outlives the process") {
    const auto image = disk.ProcessKill();
    const auto survivor = OrFail(image->Open("a", OpenMode::kReadWrite));
    CHECK(Read(*survivor) == "new bytes and more");
    OrFail(survivor->DropCache());
    CHECK(Read(*survivor) == "old bytes" + std::string(9, '\0'));
  }
}

TEST_CASE("a sync that keeps its pages can be repeated", "[env][fault]") {
  SimulatedDisk disk;
  OrFail(disk.Poke("a", "old"));
  const auto file = OrFail(disk.Open("a", OpenMode::kReadWrite));
  OrFail(file->WriteAt(0, AsBytes("new")));
  disk.SetFaults(Fail(DiskOp::kSync, {.error = ENOSPC, .kind = Fault::Kind::kSyncKeepsPages}));
  CHECK(ErrorIdOf(file->Sync()) == ErrorId::kNoSpace);
  disk.SetFaults(nullptr);
  OrFail(file->DropCache());
  CHECK(Read(*file) == "new");
  OrFail(file->Sync());
  CHECK(OrFail(disk.PowerCut(1, CutMode::kAdversarial)->Peek("a")) == "new");
}

TEST_CASE("every call is counted, from one", "[env][fault]") {
  SimulatedDisk disk;
  std::vector<std::pair<uint64_t, std::string>> seen;
  disk.SetFaults([&](const DiskCall& call) -> std::optional<Fault> {
    seen.emplace_back(call.number, std::string(Name(call.op)) + " " + call.path);
    return std::nullopt;
  });
  {
    const auto file = OrFail(disk.Open("a", OpenMode::kCreate));
    Read(*file);
    OrFail(file->Sync());
  }
  OrFail(disk.Rename("a", "b"));
  OrFail(disk.Peek("b"));
  CHECK(disk.calls() == 5);
  CHECK(seen == std::vector<std::pair<uint64_t, std::string>>{
                    {1, "open a"}, {2, "read a"}, {3, "sync a"}, {4, "close a"}, {5, "rename a"}});
}

TEST_CASE("a frozen disk answers with errors and stays as it was", "[env][fault]") {
  SimulatedDisk disk;
  OrFail(disk.Poke("a", "old"));
  const auto file = OrFail(disk.Open("a", OpenMode::kReadWrite));
  OrFail(file->WriteAt(0, AsBytes("new")));
  disk.FreezeAt(4);
  CHECK_FALSE(disk.frozen());
  CHECK(Read(*file) == "new");
  CHECK_FALSE(disk.frozen());
  CHECK(ErrorIdOf(file->Sync()) == ErrorId::kIoError);
  CHECK(disk.frozen());
  CHECK_FALSE(file->WriteAt(0, AsBytes("NEW")).ok());
  CHECK_FALSE(file->Size().ok());
  CHECK_FALSE(disk.CreateDir("d").ok());
  CHECK_FALSE(disk.List("/").ok());
  CHECK(OrFail(disk.Peek("a")) == "new");
  bool lost = false;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    lost = lost || OrFail(disk.PowerCut(seed, CutMode::kJournalled)->Peek("a")) == "old";
  }
  CHECK(lost);
  CHECK_FALSE(disk.PowerCut(1, CutMode::kJournalled)->frozen());
}

TEST_CASE("a full disk takes what fits", "[env][fault]") {
  SimulatedDisk disk;
  disk.SetCapacity(10);
  const auto file = OrFail(disk.Open("a", OpenMode::kCreate));
  OrFail(file->WriteAt(0, AsBytes("12345678")));
  CHECK(ErrorIdOf(file->WriteAt(8, AsBytes("9abc"))) == ErrorId::kNoSpace);
  CHECK(Read(*file) == "123456789a");
  OrFail(file->WriteAt(0, AsBytes("ABC")));  // takes no more room
  const auto other = OrFail(disk.Open("b", OpenMode::kCreate));
  CHECK(ErrorIdOf(other->WriteAt(0, AsBytes("1"))) == ErrorId::kNoSpace);
  CHECK(ErrorIdOf(disk.PowerCut(1, CutMode::kJournalled)
                      ->Open("c", OpenMode::kCreate)
                      .value()
                      ->WriteAt(0, AsBytes(std::string(11, 'x')))) == ErrorId::kNoSpace);
  SECTION("a truncation frees") {
    OrFail(file->Truncate(4));
    OrFail(other->WriteAt(0, AsBytes("123456")));
    CHECK_FALSE(other->WriteAt(6, AsBytes("7")).ok());
  }
  SECTION("a removed file frees its bytes once nobody has it open") {
    auto third = OrFail(disk.Open("a", OpenMode::kRead));
    OrFail(disk.RemoveFile("a"));
    CHECK_FALSE(other->WriteAt(0, AsBytes("1")).ok());
    const_cast<std::unique_ptr<File>&>(file).reset();
    CHECK_FALSE(other->WriteAt(0, AsBytes("1")).ok());
    third.reset();
    OrFail(other->WriteAt(0, AsBytes("1234567890")));
  }
  SECTION("more capacity helps at once") {
    disk.SetCapacity(100);
    OrFail(other->WriteAt(0, AsBytes("1")));
  }
}

TEST_CASE("tests reach into the disk past faults and counts", "[env][fault]") {
  SimulatedDisk disk;
  OrFail(disk.CreateDir("d"));
  OrFail(disk.Open("d/b", OpenMode::kCreate).status());
  disk.FreezeAt(0);
  OrFail(disk.Poke("a", "1"));
  OrFail(disk.Poke("a", "23"));
  OrFail(disk.Poke("d/b", "4"));
  CHECK(OrFail(disk.Peek("/a")) == "23");
  CHECK(disk.AllFiles() == std::vector<std::string>{"a", "d/b"});
  CHECK(absl::IsNotFound(disk.Poke("no/a", "")));
  CHECK(absl::IsNotFound(disk.Peek("no").status()));
  CHECK(absl::IsNotFound(disk.Erase("no")));
  const auto clone = disk.Clone();
  CHECK(OrFail(clone->Peek("d/b")) == "4");
  for (uint64_t seed = 0; seed < 50; ++seed) {
    CHECK(OrFail(disk.PowerCut(seed, CutMode::kAdversarial)->Peek("a")) == "23");
    CHECK(clone->PowerCut(seed, CutMode::kAdversarial)->AllFiles() == disk.AllFiles());
  }
  OrFail(disk.Erase("a"));
  for (uint64_t seed = 0; seed < 50; ++seed) {
    CHECK_FALSE(disk.PowerCut(seed, CutMode::kAdversarial)->Peek("a").ok());
  }
  CHECK(OrFail(clone->Peek("a")) == "23");
}

TEST_CASE("open files keep to the disk they were opened on", "[env][fault]") {
  auto disk = std::make_unique<SimulatedDisk>();
  const auto file = OrFail(disk->Open("a", OpenMode::kCreate));
  const auto lock = OrFail(disk->Lock("lock"));
  const auto image = disk->ProcessKill();
  OrFail(file->WriteAt(0, AsBytes("late")));
  CHECK(OrFail(image->Peek("a")).empty());
  disk.reset();
  CHECK(Read(*file) == "late");
}

TEST_CASE("threads share a simulated disk while images are made of it", "[env][fault][threads]") {
  SimulatedDisk disk;
  disk.SetFaults([](const DiskCall&) -> std::optional<Fault> { return std::nullopt; });
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&disk, t] {
      const std::string path = "f" + std::to_string(t);
      const auto file = disk.Open(path, OpenMode::kCreate).value();
      for (uint64_t i = 0; i < 300; ++i) {
        file->WriteAt(i * 10, AsBytes("0123456789")).IgnoreError();
        if (i % 7 == 0) file->Sync().IgnoreError();
        if (i % 50 == 0) disk.SyncDir("/").IgnoreError();
      }
    });
  }
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const auto image = disk.PowerCut(seed, CutMode::kAdversarial);
    const auto again = image->PowerCut(seed, CutMode::kJournalled);
    for (const std::string& path : again->AllFiles()) OrFail(again->Poke(path, "x"));
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(OrFail(disk.Peek("f2")).size() == 3000);
}

}  // namespace
}  // namespace millrace
