// What the simulated disk leaves after a power cut: nothing that was synced is ever lost, and all
// that real disks do to the rest happens.
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/byte_writer.h"
#include "env/file_util.h"
#include "millrace/testing/simulated_disk.h"
#include "support/or_fail.h"

namespace millrace {
namespace {

using testing::CutMode;
using testing::SimulatedDisk;

constexpr uint64_t kCuts = 2000;

// What `path` holds after many power cuts, with how often; "absent" when it is not there.
std::map<std::string, int> Outcomes(const SimulatedDisk& disk, const std::string& path,
                                    CutMode mode) {
  std::map<std::string, int> outcomes;
  for (uint64_t seed = 0; seed < kCuts; ++seed) {
    const auto image = disk.PowerCut(seed, mode);
    const auto contents = image->Peek(path);
    if (!contents.ok()) REQUIRE(absl::IsNotFound(contents.status()));
    ++outcomes[contents.ok() ? *contents : "absent"];
  }
  return outcomes;
}
std::set<std::string> Possible(const SimulatedDisk& disk, const std::string& path, CutMode mode) {
  std::set<std::string> possible;
  for (const auto& [contents, count] : Outcomes(disk, path, mode)) possible.insert(contents);
  return possible;
}
using Set = std::set<std::string>;

void Put(SimulatedDisk& disk, const std::string& path, std::string_view text, bool sync) {
  const auto file = OrFail(disk.Open(path, OpenMode::kCreate));
  OrFail(file->Truncate(0));
  OrFail(file->WriteAt(0, AsBytes(text)));
  if (sync) OrFail(file->Sync());
}

TEST_CASE("what was synced with its directory survives every power cut", "[env][cut]") {
  const CutMode mode = GENERATE(CutMode::kJournalled, CutMode::kAdversarial);
  SimulatedDisk disk;
  OrFail(disk.CreateDir("d"));
  OrFail(disk.SyncDir("/"));
  Put(disk, "d/a", "safe", true);
  OrFail(disk.SyncDir("d"));
  CHECK(Possible(disk, "d/a", mode) == Set{"safe"});
  SECTION("whatever is done to other files") {
    Put(disk, "d/b", "unsafe", false);
    OrFail(disk.CreateDir("e"));
    OrFail(disk.Rename("d/b", "e/b"));
    CHECK(Possible(disk, "d/a", mode) == Set{"safe"});
  }
  SECTION("and a second cut") {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const auto image = disk.PowerCut(seed, mode);
      CHECK(Possible(*image, "d/a", mode) == Set{"safe"});
    }
  }
}

// Measured on ext4 and XFS, which agree.
TEST_CASE("a journalled cut leaves what ext4 and XFS leave", "[env][cut]") {
  constexpr CutMode mode = CutMode::kJournalled;
  SimulatedDisk disk;
  SECTION("create, write, fdatasync, without a sync of the directory: the file is there") {
    Put(disk, "a", "new", true);
    CHECK(Possible(disk, "a", mode) == Set{"new"});
  }
  SECTION("no sync at all: the file may be absent") {
    Put(disk, "a", "new", false);
    const Set possible = Possible(disk, "a", mode);
    CHECK(possible.contains("absent"));
    CHECK(possible.contains(""));
    CHECK(possible.contains(std::string(3, '\0')));
    CHECK(possible.contains("new"));
  }
  SECTION("a rename without a sync of the directory: the old file may be there, or the new one") {
    Put(disk, "a", "old", true);
    OrFail(disk.SyncDir("/"));
    Put(disk, "a.tmp", "new", true);
    OrFail(disk.Rename("a.tmp", "a"));
    CHECK(Possible(disk, "a", mode) == Set{"new", "old"});
    CHECK(Possible(disk, "a.tmp", mode) == Set{"absent", "new"});
    for (uint64_t seed = 0; seed < kCuts; ++seed) {
      const auto image = disk.PowerCut(seed, mode);
      CHECK((OrFail(image->Peek("a")) == "old") == image->Peek("a.tmp").ok());
    }
  }
  SECTION("a rename of a file that was not synced: the new name may stand over nothing") {
    Put(disk, "a", "old", true);
    OrFail(disk.SyncDir("/"));
    Put(disk, "a.tmp", "new", false);
    OrFail(disk.Rename("a.tmp", "a"));
    CHECK(Possible(disk, "a", mode).contains(""));
  }
  SECTION("fdatasync, rename, sync of the directory: the new file") {
    Put(disk, "a", "old", true);
    OrFail(disk.SyncDir("/"));
    OrFail(WriteFileDurably(disk, "a", AsBytes("new")));
    CHECK(Possible(disk, "a", mode) == Set{"new"});
    CHECK(Possible(disk, "a.tmp", mode) == Set{"absent"});
  }
  SECTION("a removal without a sync of the directory may be undone") {
    Put(disk, "a", "old", true);
    OrFail(disk.SyncDir("/"));
    OrFail(disk.RemoveFile("a"));
    CHECK(Possible(disk, "a", mode) == Set{"absent", "old"});
    OrFail(disk.SyncDir("/"));
    CHECK(Possible(disk, "a", mode) == Set{"absent"});
  }
  SECTION("operations survive as a prefix of their order") {
    for (const char* name : {"a", "b", "c", "d"}) Put(disk, name, "", false);
    std::set<std::vector<std::string>> seen;
    for (uint64_t seed = 0; seed < kCuts; ++seed)
      seen.insert(disk.PowerCut(seed, mode)->AllFiles());
    CHECK(seen == std::set<std::vector<std::string>>{
                      {}, {"a"}, {"a", "b"}, {"a", "b", "c"}, {"a", "b", "c", "d"}});
  }
  SECTION("the sync of a file commits what came before its creation, and nothing after") {
    OrFail(disk.CreateDir("d"));
    Put(disk, "d/a", "1", true);
    OrFail(disk.CreateDir("e"));
    CHECK(Possible(disk, "d/a", mode) == Set{"1"});
    int without = 0;
    for (uint64_t seed = 0; seed < kCuts; ++seed) {
      if (!disk.PowerCut(seed, mode)->Stat("e").ok()) ++without;
    }
    CHECK(without > 0);
  }
}

TEST_CASE("an adversarial cut keeps any subset of what no directory sync covers", "[env][cut]") {
  constexpr CutMode mode = CutMode::kAdversarial;
  SimulatedDisk disk;
  SECTION("a synced file without a sync of its directory may be absent") {
    Put(disk, "a", "new", true);
    CHECK(Possible(disk, "a", mode) == Set{"absent", "new"});
    OrFail(disk.SyncDir("/"));
    CHECK(Possible(disk, "a", mode) == Set{"new"});
  }
  SECTION("operations survive out of order") {
    for (const char* name : {"a", "b", "c"}) Put(disk, name, "", false);
    std::set<std::vector<std::string>> seen;
    for (uint64_t seed = 0; seed < kCuts; ++seed)
      seen.insert(disk.PowerCut(seed, mode)->AllFiles());
    CHECK(seen.size() == 8);
  }
  SECTION("the sync of a directory covers that directory alone") {
    OrFail(disk.CreateDir("d"));
    Put(disk, "d/a", "1", true);
    OrFail(disk.SyncDir("d"));
    CHECK(Possible(disk, "d/a", mode) == Set{"1", "absent"});
    OrFail(disk.SyncDir("/"));
    CHECK(Possible(disk, "d/a", mode) == Set{"1"});
  }
  SECTION("a rename in one directory is atomic") {
    Put(disk, "a", "1", true);
    OrFail(disk.SyncDir("/"));
    OrFail(disk.Rename("a", "b"));
    for (uint64_t seed = 0; seed < kCuts; ++seed) {
      CHECK(disk.PowerCut(seed, mode)->AllFiles().size() == 1);
    }
  }
  SECTION("a rename across directories is not") {
    OrFail(disk.CreateDir("d"));
    Put(disk, "a", "1", true);
    OrFail(disk.SyncDir("/"));
    OrFail(disk.Rename("a", "d/a"));
    std::set<std::vector<std::string>> seen;
    for (uint64_t seed = 0; seed < kCuts; ++seed)
      seen.insert(disk.PowerCut(seed, mode)->AllFiles());
    CHECK(seen == std::set<std::vector<std::string>>{{}, {"a"}, {"d/a"}, {"a", "d/a"}});
    OrFail(disk.SyncDir("d"));
    OrFail(disk.SyncDir("/"));
    CHECK(disk.PowerCut(7, mode)->AllFiles() == std::vector<std::string>{"d/a"});
  }
  SECTION("directories that were moved into each other's place form no loop") {
    OrFail(disk.CreateDir("a"));
    OrFail(disk.CreateDir("b"));
    OrFail(disk.SyncDir("/"));
    OrFail(disk.Rename("a", "b/a"));
    OrFail(disk.Rename("b/a", "a"));
    OrFail(disk.Rename("b", "a/b"));
    Put(disk, "a/b/x", "1", false);
    for (uint64_t seed = 0; seed < kCuts; ++seed) {
      CHECK(disk.PowerCut(seed, mode)->AllFiles().size() <= 1);
    }
  }
}

TEST_CASE("each unsynced write is kept, dropped or torn at a sector", "[env][cut]") {
  const CutMode mode = GENERATE(CutMode::kJournalled, CutMode::kAdversarial);
  SimulatedDisk disk;
  Put(disk, "a", std::string(2000, '-'), true);
  OrFail(disk.SyncDir("/"));
  const auto file = OrFail(disk.Open("a", OpenMode::kReadWrite));
  OrFail(file->WriteAt(100, AsBytes(std::string(1500, 'x'))));
  std::set<std::string> seen;
  for (const std::string& contents : Possible(disk, "a", mode)) {
    REQUIRE(contents.size() == 2000);
    std::string sectors;
    for (const auto& [begin, end] : std::vector<std::pair<size_t, size_t>>{
             {100, 512}, {512, 1024}, {1024, 1536}, {1536, 1600}}) {
      const std::string part = contents.substr(begin, end - begin);
      REQUIRE(part.find_first_not_of(part[0]) == std::string::npos);
      sectors += part[0];
    }
    seen.insert(sectors);
    CHECK(contents.substr(0, 100) == std::string(100, '-'));
    CHECK(contents.substr(1600) == std::string(400, '-'));
  }
  CHECK(seen.size() == 16);
}

TEST_CASE("unsynced writes and truncations survive independently", "[env][cut]") {
  const CutMode mode = GENERATE(CutMode::kJournalled, CutMode::kAdversarial);
  SimulatedDisk disk;
  Put(disk, "a", "----", true);
  OrFail(disk.SyncDir("/"));
  const auto file = OrFail(disk.Open("a", OpenMode::kReadWrite));
  SECTION("writes") {
    OrFail(file->WriteAt(0, AsBytes("1")));
    OrFail(file->WriteAt(1, AsBytes("2")));
    OrFail(file->WriteAt(2, AsBytes("3")));
    CHECK(Possible(disk, "a", mode) ==
          Set{"----", "1---", "-2--", "--3-", "12--", "1-3-", "-23-", "123-"});
    OrFail(file->Sync());
    CHECK(Possible(disk, "a", mode) == Set{"123-"});
  }
  SECTION("truncations") {
    OrFail(file->Truncate(1));
    OrFail(file->WriteAt(1, AsBytes("2")));
    CHECK(Possible(disk, "a", mode) == Set{"----", "-", "-2--", "-2", std::string("-\0", 2)});
  }
}

TEST_CASE("a file's size may run ahead of its data, over zeros or garbage", "[env][cut]") {
  const CutMode mode = GENERATE(CutMode::kJournalled, CutMode::kAdversarial);
  SimulatedDisk disk;
  Put(disk, "a", "1234", true);
  OrFail(disk.SyncDir("/"));
  const auto file = OrFail(disk.Open("a", OpenMode::kReadWrite));
  OrFail(file->WriteAt(4, AsBytes("5678")));
  bool zeros = false;
  bool garbage = false;
  bool short_of_the_end = false;
  for (const std::string& contents : Possible(disk, "a", mode)) {
    REQUIRE(contents.substr(0, 4) == "1234");
    REQUIRE(contents.size() <= 8);
    const std::string tail = contents.substr(4);
    zeros = zeros || tail == std::string(4, '\0');
    short_of_the_end = short_of_the_end || (!tail.empty() && tail.size() < 4);
    garbage =
        garbage || (tail.size() == 4 && tail != "5678" && tail.find('\0') == std::string::npos);
  }
  CHECK(zeros);
  CHECK(garbage);
  CHECK(short_of_the_end);
}

TEST_CASE("the same seed leaves the same image", "[env][cut]") {
  const auto make = [] {
    auto disk = std::make_shared<SimulatedDisk>(42);
    OrFail(disk->CreateDir("d"));
    for (int i = 0; i < 10; ++i)
      Put(*disk, "d/" + std::to_string(i), std::string(3000, 'x'), i % 3 == 0);
    return disk;
  };
  const auto dump = [](const SimulatedDisk& disk) {
    std::string all;
    for (const std::string& path : disk.AllFiles()) all += path + OrFail(disk.Peek(path));
    return all;
  };
  const auto first = make();
  const auto second = make();
  std::set<std::string> different;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const auto image = first->PowerCut(seed, CutMode::kAdversarial);
    CHECK(dump(*image) == dump(*second->PowerCut(seed, CutMode::kAdversarial)));
    CHECK(dump(*image) == dump(*first->PowerCut(seed, CutMode::kAdversarial)));
    different.insert(dump(*image));
  }
  CHECK(different.size() > 25);
}

TEST_CASE("a machine that had its power cut has booted anew", "[env][cut]") {
  SimulatedDisk disk;
  const auto image = disk.PowerCut(1, CutMode::kJournalled);
  CHECK(image->BootId() != disk.BootId());
  CHECK(image->PowerCut(1, CutMode::kJournalled)->BootId() != image->BootId());
  CHECK(disk.ProcessKill()->BootId() == disk.BootId());
}

TEST_CASE("an image shares nothing with the disk it came from", "[env][cut]") {
  SimulatedDisk disk;
  Put(disk, "a", std::string(10'000, 'a'), true);
  OrFail(disk.SyncDir("/"));
  const auto file = OrFail(disk.Open("a", OpenMode::kReadWrite));
  const auto image = disk.PowerCut(1, CutMode::kJournalled);
  const auto image_file = OrFail(image->Open("a", OpenMode::kReadWrite));
  OrFail(file->WriteAt(5'000, AsBytes("old")));
  OrFail(image_file->WriteAt(5'000, AsBytes("new")));
  OrFail(image_file->Sync());
  OrFail(file->Sync());
  CHECK(OrFail(disk.Peek("a")).substr(4'999, 5) == "aolda");
  CHECK(OrFail(image->Peek("a")).substr(4'999, 5) == "anewa");
  OrFail(disk.RemoveFile("a"));
  CHECK(image->Peek("a").ok());
}

TEST_CASE("a killed process loses nothing until the power is cut too", "[env][cut]") {
  SimulatedDisk disk;
  Put(disk, "a", "1", false);
  const auto lock = OrFail(disk.Lock("lock"));
  const auto killed = disk.ProcessKill();
  CHECK(OrFail(killed->Peek("a")) == "1");
  CHECK(killed->Lock("lock").ok());
  CHECK(Possible(*killed, "a", CutMode::kAdversarial).contains("absent"));
  CHECK(disk.PowerCut(3, CutMode::kJournalled)->Lock("lock").ok());
  CHECK_FALSE(disk.Lock("lock").ok());
}

TEST_CASE("a removed file comes back after many others were removed", "[env][cut]") {
  SimulatedDisk disk;
  OrFail(disk.CreateDir("keep"));
  OrFail(disk.SyncDir("/"));
  Put(disk, "keep/a", "precious", true);
  OrFail(disk.SyncDir("keep"));
  OrFail(disk.RemoveFile("keep/a"));
  for (int i = 0; i < 500; ++i) {
    const std::string directory = "d" + std::to_string(i);
    OrFail(disk.CreateDir(directory));
    Put(disk, directory + "/x", "1", true);
    OrFail(disk.RemoveFile(directory + "/x"));
    OrFail(disk.RemoveDir(directory));
    OrFail(disk.SyncDir("/"));
  }
  CHECK(Possible(disk, "keep/a", CutMode::kAdversarial) == Set{"absent", "precious"});
}

}  // namespace
}  // namespace millrace
