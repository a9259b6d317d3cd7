// The helpers over any file system, and what they leave when a call fails or the power goes.
#include "env/file_util.h"

#include <optional>
#include <string>

#include <catch2/catch.hpp>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "millrace/testing/simulated_disk.h"
#include "support/or_fail.h"

namespace millrace {
namespace {

using testing::CutMode;
using testing::DiskCall;
using testing::Fault;
using testing::SimulatedDisk;

TEST_CASE("paths are joined and split at one slash", "[env][util]") {
  CHECK(JoinPath("a", "b") == "a/b");
  CHECK(JoinPath("a/", "b") == "a/b");
  CHECK(JoinPath("/", "b") == "/b");
  CHECK(JoinPath("", "b") == "b");
  CHECK(JoinPath("a", "") == "a");
  CHECK(ParentDir("a/b") == "a");
  CHECK(ParentDir("a//b/") == "a");
  CHECK(ParentDir("/a") == "/");
  CHECK(ParentDir("/") == "/");
  CHECK(ParentDir("a") == ".");
  CHECK(ParentDir("") == ".");
}

TEST_CASE("a file is read whole, or not at all when it is too long", "[env][util]") {
  const auto files = NewMemoryFileSystem();
  OrFail(WriteFileDurably(*files, "a", AsBytes("12345")));
  CHECK(AsText(OrFail(ReadWholeFile(*files, "a", 5))) == "12345");
  const Status status = ReadWholeFile(*files, "a", 4).status();
  CHECK(ErrorIdOf(status) == ErrorId::kCorruptLog);
  CHECK_THAT(status.ToString(), Catch::Contains("a: holds 5 bytes, at most 4"));
  CHECK(ErrorIdOf(ReadWholeFile(*files, "b", 4).status()) == ErrorId::kNotFound);
}

TEST_CASE("missing parents are created, and all of them are durable", "[env][util]") {
  const CutMode mode = GENERATE(CutMode::kJournalled, CutMode::kAdversarial);
  for (const std::string path : {"a/b/c", "/a/b/c", "./a//b/c/"}) {
    SimulatedDisk disk;
    OrFail(CreateDirs(disk, path));
    OrFail(CreateDirs(disk, path));
    for (uint64_t seed = 0; seed < 50; ++seed) {
      CHECK(OrFail(disk.PowerCut(seed, mode)->Stat("a/b/c")).is_directory);
    }
    OrFail(disk.Poke("a/f", ""));
    CHECK(ErrorIdOf(CreateDirs(disk, "a/f")) == ErrorId::kAlreadyExists);
    CHECK_FALSE(CreateDirs(disk, "a/f/g").ok());
  }
}

TEST_CASE("a tree is removed with all that is in it", "[env][util]") {
  SimulatedDisk disk;
  OrFail(CreateDirs(disk, "t/a/b"));
  for (const char* path : {"t/1", "t/a/2", "t/a/b/3", "other"}) OrFail(disk.Poke(path, ""));
  OrFail(RemoveTree(disk, "t"));
  OrFail(RemoveTree(disk, "t"));
  CHECK(disk.AllFiles() == std::vector<std::string>{"other"});
  CHECK(absl::IsNotFound(disk.Stat("t").status()));
  OrFail(CreateDirs(disk, "t/a"));
  disk.SetFaults([](const DiskCall& call) {
    return call.op == testing::DiskOp::kRemoveDir ? std::optional(Fault{}) : std::nullopt;
  });
  CHECK(ErrorIdOf(RemoveTree(disk, "t")) == ErrorId::kIoError);
}

TEST_CASE("a durable write leaves the old contents or the new, whenever the power goes",
          "[env][util][cut]") {
  const CutMode mode = GENERATE(CutMode::kJournalled, CutMode::kAdversarial);
  const std::string old_contents(1500, 'o');
  const std::string new_contents(2500, 'n');
  bool done = false;
  for (uint64_t n = 1; !done; ++n) {
    SimulatedDisk disk(n);
    OrFail(disk.Poke("a", old_contents));
    OrFail(disk.Poke("a.tmp", "left behind by a crash"));
    disk.FreezeAt(n);
    const Status status = WriteFileDurably(disk, "a", AsBytes(new_contents));
    done = !disk.frozen();
    for (uint64_t seed = 0; seed < 100; ++seed) {
      INFO("cut at call " << n << ", seed " << seed);
      const auto image = disk.PowerCut(seed, mode);
      const std::string contents = OrFail(image->Peek("a"));
      if (status.ok()) CHECK((contents == new_contents));
      CHECK((contents == new_contents || contents == old_contents));
      OrFail(WriteFileDurably(*image, "a", AsBytes("x")));
      CHECK(OrFail(image->Peek("a")) == "x");
    }
  }
}

TEST_CASE("a durable write that fails leaves the old contents and no temporary file",
          "[env][util][fault]") {
  for (const auto kind : {Fault::Kind::kFail, Fault::Kind::kShortThenFail,
                          Fault::Kind::kSyncDropsPages, Fault::Kind::kSyncKeepsPages}) {
    bool done = false;
    for (uint64_t n = 1; !done; ++n) {
      SimulatedDisk disk;
      OrFail(disk.Poke("a", "old"));
      bool failed = false;
      disk.SetFaults([&](const DiskCall& call) -> std::optional<Fault> {
        if (call.number != n || call.op == testing::DiskOp::kClose) return std::nullopt;
        failed = true;
        return Fault{.error = 28, .kind = kind};
      });
      const Status status = WriteFileDurably(disk, "a", AsBytes("new"));
      INFO("failed call " << n << ": " << status.ToString());
      done = disk.calls() < n;
      CHECK(status.ok() == !failed);
      CHECK_FALSE(disk.Peek("a.tmp").ok());
      CHECK((OrFail(disk.Peek("a")) == "old" || OrFail(disk.Peek("a")) == "new"));
    }
  }
}

}  // namespace
}  // namespace millrace
