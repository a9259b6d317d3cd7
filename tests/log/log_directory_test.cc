#include "log/log_directory.h"

#include <cerrno>

#include <fmt/format.h>

#include "base/errors.h"
#include "env/file_util.h"
#include "log/log_fixture.h"
#include "millrace/testing/simulated_disk.h"

namespace millrace::log {
namespace {

using testing::SimulatedDisk;

const Uuid kOther = Uuid::FromRandom(0x9999, 0x1111);

TEST_CASE("a directory has one opener", "[directory]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  OneLog second(disk);
  CHECK(ErrorIdOf(second.TryOpen()) == ErrorId::kAlreadyOpen);
  log.Close();
  CHECK(second.TryOpen().ok());
}

TEST_CASE("a directory keeps its id, and a format from the future is left untouched",
          "[directory]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  const Uuid id = log.directory->id();
  CHECK_FALSE(id.is_zero());
  log.CloseAndOpen();
  CHECK(log.directory->id() == id);
  log.Close();
  SECTION("a newer version") {
    OrFail(disk.Poke("data/millrace/format", "version: 2\nsomething: else\n"));
    const Status status = log.TryOpen();
    CHECK(ErrorIdOf(status) == ErrorId::kUnsupportedVersion);
    CHECK_THAT(status.ToString(), Catch::Contains("data/millrace/format"));
    CHECK(OrFail(disk.Peek("data/millrace/format")) == "version: 2\nsomething: else\n");
  }
  SECTION("garbage") {
    OrFail(disk.Poke("data/millrace/format", "garbage"));
    CHECK(ErrorIdOf(log.TryOpen()) == ErrorId::kCorruptLog);
  }
}

TEST_CASE("what must or must not exist is checked", "[directory]") {
  SimulatedDisk disk(1);
  testing::ManualClock clock;
  CHECK(ErrorIdOf(LogDirectory::Open(disk, clock, {.path = "none", .create_if_missing = false})
                      .status()) == ErrorId::kNotFound);
  CHECK(ErrorIdOf(LogDirectory::Open(disk, clock, {.path = "none", .read_only = true}).status()) ==
        ErrorId::kNotFound);
  OrFail(disk.Poke("file", "text"));
  const Status file = LogDirectory::Open(disk, clock, {.path = "file"}).status();
  CHECK(ErrorIdOf(file) == ErrorId::kInvalidArgument);
  CHECK_THAT(file.ToString(), Catch::Contains("file: is a file, not a directory"));
  OneLog(disk).Open();
  CHECK(ErrorIdOf(
            LogDirectory::Open(disk, clock, {.path = "data", .error_if_exists = true}).status()) ==
        ErrorId::kAlreadyExists);
}

TEST_CASE("a folder belongs to one topic id", "[directory]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Append(*log, {"mine"});
  OrFail(log->SyncTo(1));
  CHECK(OrFail(disk.Peek("data/orders-0/partition.metadata")) ==
        fmt::format("version: 0\ntopic_id: {}", kTopic.ToString()));
  SECTION("another one cannot take it") {
    const Status status = log.directory->OpenPartition("orders-0", kOther, 0, {}, true).status();
    CHECK(ErrorIdOf(status) == ErrorId::kOrphanData);
    CHECK_THAT(status.ToString(), Catch::Contains(kTopic.ToString()));
  }
  SECTION("nor delete it") {
    log.log.reset();
    OrFail(log.directory->DeletePartition("orders-0", kOther, 0));
    CHECK(disk.Peek("data/orders-0/00000000000000000000.log").ok());
  }
  SECTION("nor a folder without an id that holds a log") {
    OrFail(disk.Erase("data/orders-0/partition.metadata"));
    CHECK(ErrorIdOf(log.directory->OpenPartition("orders-0", kOther, 0, {}, true).status()) ==
          ErrorId::kOrphanData);
  }
  SECTION("nor one whose metadata are from the future") {
    log.log.reset();
    OrFail(disk.Poke("data/orders-0/partition.metadata", "version: 3\ntopic_id: new"));
    const Status status = log.directory->OpenPartition("orders-0", kTopic, 0, {}, false).status();
    CHECK(ErrorIdOf(status) == ErrorId::kUnsupportedVersion);
    CHECK_THAT(status.ToString(), Catch::Contains("version 3 is from the future"));
  }
  SECTION("its owner deletes it, marks, sums and all") {
    OrFail(log->Roll());
    log.log.reset();
    OrFail(log.directory->DeletePartition("orders-0", kTopic, 0));
    OrFail(log.directory->DeletePartition("orders-0", kTopic, 0));  // again: nothing to do
    for (const std::string& path : disk.AllFiles()) {
      CHECK_THAT(path, !Catch::Contains("orders-0") && !Catch::Contains("sums/"));
    }
    CHECK(OrFail(log.directory->ListFolders()).empty());
    log.directory.reset();
    log.Open();
    CHECK(log->log_end() == 0);
  }
}

TEST_CASE("folders are listed with their topic ids", "[directory]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  OrFail(log.directory->OpenPartition("other-3", kOther, 3, {}, true));
  OrFail(disk.CreateDir("data/strange"));
  const auto folders = OrFail(log.directory->ListFolders());
  REQUIRE(folders.size() == 3);
  CHECK(folders[0].name == "orders-0");
  CHECK(folders[0].topic_id == kTopic);
  CHECK(folders[1].topic_id == kOther);
  CHECK(folders[2].topic_id.is_zero());
}

TEST_CASE("a lost partition is data loss, never an empty log", "[directory]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Append(*log, {"a", "b"});
  OrFail(log->SyncTo(2));
  OrFail(log.directory->WriteMarks());
  log.Drop();
  for (const std::string& path : disk.AllFiles()) {
    if (path.starts_with("data/orders-0/")) OrFail(disk.RemoveFile(path));
  }
  OrFail(disk.RemoveDir("data/orders-0"));
  const Status status = log.TryOpen();
  CHECK(ErrorIdOf(status) == ErrorId::kCorruptLog);
  CHECK_THAT(status.ToString(), Catch::Contains("data/orders-0") && Catch::Contains("offset 2"));
}

TEST_CASE("an unclean session does not make a clean one of partitions that it never opened",
          "[directory]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  auto other = OrFail(log.directory->OpenPartition("other-0", kOther, 0, {}, true));
  Append(*other, {"x"});
  OrFail(log.directory->WriteMarks());
  other.reset();
  log.DropAndOpen();
  log.CloseAndOpen();
  CHECK_FALSE(log.directory->was_clean());
  CHECK(log->recovery().clean);
  other = OrFail(log.directory->OpenPartition("other-0", kOther, 0, {}, false));
  CHECK_FALSE(other->recovery().clean);
  CHECK(Values(ReadAll(*other)) == "x");
  OrFail(log.directory->CloseCleanly({log.log.get(), other.get()}, absl::InfiniteFuture()));
  other.reset();
  log.Drop();
  log.Open();
  CHECK(log.directory->was_clean());
}

TEST_CASE("a manifest that the disk hid for a moment is not believed later", "[directory]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  log.Close();
  log.Drop();
  disk.SetFaults([](const testing::DiskCall& call) -> std::optional<testing::Fault> {
    if (call.op != testing::DiskOp::kOpen || !call.path.ends_with("manifest")) return std::nullopt;
    return testing::Fault{.error = ENOENT};
  });
  log.Open();
  CHECK_FALSE(log.directory->was_clean());
  disk.SetFaults(nullptr);
  Append(*log, {"a"});
  log.DropAndOpen();
  CHECK_FALSE(log.directory->was_clean());
  CHECK(Values(ReadAll(*log)) == "a");
}

TEST_CASE("a clean open of many partitions looks into no log", "[directory]") {
  SimulatedDisk disk(1);
  testing::ManualClock clock;
  const auto open_all = [&](LogDirectory& directory) {
    std::vector<std::unique_ptr<PartitionLog>> logs;
    for (int i = 0; i < 50; ++i)
      logs.push_back(OrFail(directory.OpenPartition(fmt::format("t-{}", i), kTopic, i, {}, true)));
    return logs;
  };
  const auto close_all = [](LogDirectory& directory, auto& logs, int threads) {
    std::vector<PartitionLog*> all;
    for (auto& log : logs) all.push_back(log.get());
    return directory.CloseCleanly(all, absl::InfiniteFuture(), threads);
  };
  {
    const auto directory = OrFail(LogDirectory::Open(disk, clock, {.path = "data"}));
    auto logs = open_all(*directory);
    for (auto& log : logs) Append(*log, {"x"});
    OrFail(close_all(*directory, logs, GENERATE(1, 4, 100)));
  }
  std::map<testing::DiskOp, int> calls;
  disk.SetFaults([&](const testing::DiskCall& call) -> std::optional<testing::Fault> {
    ++calls[call.op];
    if (call.op == testing::DiskOp::kRead) CHECK_FALSE(call.path.ends_with(".log"));
    return std::nullopt;
  });
  const auto directory = OrFail(LogDirectory::Open(disk, clock, {.path = "data"}));
  auto logs = open_all(*directory);
  CHECK(directory->was_clean());
  CHECK(directory->total_bytes() == 50 * logs[0]->size_bytes());
  CHECK(calls[testing::DiskOp::kSync] <= 1);
  calls.clear();
  INFO("and a close without an append writes no partition anew");
  OrFail(close_all(*directory, logs, 1));
  CHECK(calls[testing::DiskOp::kSync] <= 3);
}

TEST_CASE("a failed sync is final for the directory, until it is opened anew", "[directory]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Append(*log, {"kept"});
  OrFail(log->SyncTo(1));
  Append(*log, {"lost"});
  int fails = 1;
  disk.SetFaults([&](const testing::DiskCall& call) -> std::optional<testing::Fault> {
    if (call.op != testing::DiskOp::kSync || fails-- <= 0) return std::nullopt;
    return testing::Fault{.kind = testing::Fault::Kind::kSyncDropsPages};
  });
  CHECK(ErrorIdOf(log->SyncTo(2)) == ErrorId::kDirectoryFailed);
  CHECK(ErrorIdOf(log->SyncTo(2)) == ErrorId::kDirectoryFailed);
  CHECK(ErrorIdOf(log.directory->failed()) == ErrorId::kDirectoryFailed);
  CHECK(ErrorIdOf(TryAppend(*log, {"more"}).status()) == ErrorId::kDirectoryFailed);
  CHECK(log->synced_end() == 1);
  CHECK(Values(OrFail(TryReadAll(*log, 0, 1))) == "kept");
  log.DropAndOpen();
  CHECK(log.directory->failed().ok());
  CHECK(Values(ReadAll(*log)) == "kept");
  Append(*log, {"again"}, kT0, 1);
  OrFail(log->SyncTo(2));
}

}  // namespace
}  // namespace millrace::log
