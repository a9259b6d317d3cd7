#include <atomic>
#include <thread>

#include <fmt/format.h>

#include "base/errors.h"
#include "log/log_fixture.h"
#include "millrace/testing/simulated_disk.h"

// Many threads on one log: run under ThreadSanitizer too.
namespace millrace::log {
namespace {

using testing::SimulatedDisk;

TEST_CASE("threads append, sync, read, roll and delete at once", "[concurrency]") {
  SimulatedDisk disk(1);
  OneLog log(disk, {.segment_bytes = 4000, .index_interval_bytes = 300, .retention = std::nullopt});
  log.Open();
  constexpr int kThreads = 4;
  constexpr int kEach = 200;
  std::atomic<int> failures{0};
  std::atomic<int> writing{kThreads};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        auto batch = MakeProducerBatch({fmt::format("{}:{}", t, i)}, t, 0, i, kT0 + i);
        const auto appended = log->Append(batch, {}, true);
        if (!appended.ok() || !log->SyncTo(appended->next_offset).ok() ||
            log->synced_end() < appended->next_offset)
          ++failures;
      }
      --writing;
    });
  }
  threads.emplace_back([&] {  // a reader never sees a gap, nor anything that does not check
    Offset from = 0;
    while (writing > 0 || from < log->log_end()) {
      const auto read = log->Read(from, log->synced_end(), 2000, TestPool());
      if (read.ok()) {
        from = read->next_offset;
      } else if (ErrorIdOf(read.status()) == ErrorId::kOffsetOutOfRange) {
        from = std::max(from, log->log_start());
      } else {
        ++failures;
        break;
      }
    }
  });
  threads.emplace_back([&] {
    while (writing > 0) {
      const Offset end = log->synced_end();
      if (!log->Roll().ok() || !log->DeleteRecordsBefore(std::max<Offset>(0, end - 60), end).ok() ||
          !log->Scrub(4000, TestPool()).ok() || !log.directory->WriteMarks().ok() ||
          !log->FindTime(kT0, log->log_end(), TestPool()).status().ok())
        ++failures;
      log->ReleaseIdle();
      std::this_thread::yield();
    }
  });
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == 0);
  CHECK(log->log_end() == kThreads * kEach);
  CHECK(log->damage().empty());
  log.CloseAndOpen();
  CHECK(log->log_end() == kThreads * kEach);
  CHECK_FALSE(ReadAll(*log).empty());
}

TEST_CASE("concurrent appends share a sync", "[concurrency]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  Append(*log, {"first"});
  std::atomic<int> syncs{0};
  std::atomic<bool> others_have_appended{false};
  disk.SetFaults([&](const testing::DiskCall& call) -> std::optional<testing::Fault> {
    // The first sync takes as long as the others need to append.
    if (call.op == testing::DiskOp::kSync && syncs++ == 0)
      while (!others_have_appended) std::this_thread::yield();
    return std::nullopt;
  });
  std::atomic<int> appended{0};
  std::thread first([&] {
    if (!log->SyncTo(1).ok()) appended = -100;
  });
  while (syncs == 0) std::this_thread::yield();
  std::vector<std::thread> others;
  for (int i = 0; i < 8; ++i) {
    others.emplace_back([&] {
      auto batch = MakeBatch({"other"});
      const auto result = log->Append(batch, {}, true);
      ++appended;
      if (!result.ok() || !log->SyncTo(result->next_offset).ok()) appended = -100;
    });
  }
  while (appended >= 0 && appended < 8) std::this_thread::yield();
  others_have_appended = true;
  first.join();
  for (std::thread& thread : others) thread.join();
  disk.SetFaults(nullptr);
  CHECK(appended == 8);
  CHECK(log->synced_end() == 9);
  CHECK(syncs == 2);
}

}  // namespace
}  // namespace millrace::log
