#include <cerrno>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "log/log_fixture.h"
#include "millrace/testing/simulated_disk.h"

// What is rare meets a failing disk: each call of it fails once, and from then on. Then the disk is
// well again, and a new opener finds what it would have found without the failure.
namespace millrace::log {
namespace {

using testing::CutMode;
using testing::DiskCall;
using testing::Fault;
using testing::SimulatedDisk;

struct Scenario {
  std::string name;
  LogConfig config;
  std::function<void(SimulatedDisk& disk, OneLog& log)> prepare;
  // From the opening on.
  std::function<Status(OneLog& log)> act;
  uint64_t step = 1;  // over the calls
};

std::string Segment(Offset base, std::string_view suffix = ".log") {
  return fmt::format("data/orders-0/{:020}{}", base, suffix);
}

void Change(SimulatedDisk& disk, const std::string& path, size_t at) {
  std::string bytes = OrFail(disk.Peek(path));
  REQUIRE(at < bytes.size());
  bytes[at] = static_cast<char>(bytes[at] ^ 0x40);
  OrFail(disk.Poke(path, bytes));
}

constexpr size_t kBatchBytes = 90;

void AppendMany(PartitionLog& log, int from, int to) {
  for (int i = from; i < to; ++i) {
    OrFail(TryAppendFrom(log, {fmt::format("v{:020}", i)}, 5, 0, i).status());
  }
}

// 22 batches in segments of five, all of them synced; then a power cut.
void Segments(SimulatedDisk&, OneLog& log) {
  log.Open();
  AppendMany(*log, 0, 22);
  OrFail(log->SyncTo(22));
  OrFail(log.directory->WriteMarks());
  log.Drop();
}

// And of these only so many are below the mark.
void Unmarked(SimulatedDisk& disk, OneLog& log) {
  log.Open();
  AppendMany(*log, 0, 2);
  OrFail(log->SyncTo(2));
  OrFail(log.directory->WriteMarks());
  const std::string marks = OrFail(disk.Peek("data/millrace/marks"));
  AppendMany(*log, 2, 14);
  OrFail(log->SyncTo(14));
  log.Drop();
  for (const std::string& path : disk.AllFiles()) {
    if (path.starts_with("data/millrace/sums/")) OrFail(disk.Erase(path));
    if (path.ends_with(".snapshot")) OrFail(disk.Erase(path));
  }
  OrFail(disk.Poke("data/millrace/marks", marks));
}

// The reads of a consumer, an administrator and the scrub.
Status ReadAllWays(OneLog& log) {
  Status first;
  const auto keep = [&](const Status& status) {
    if (first.ok() && !status.ok() && ErrorIdOf(status) != ErrorId::kCorruptLog) first = status;
  };
  for (Offset from = log->log_end() - 1; from >= log->log_start(); from -= 2)
    keep(log->Read(from, log->log_end(), 100, TestPool()).status());
  keep(log->FindTime(kT0, log->log_end(), TestPool()).status());
  keep(log->FindMaxTimestamp(log->log_end() - 1, TestPool()).status());
  for (int i = 0; i < 100; ++i) {
    const auto done = log->Scrub(1 << 20, TestPool());
    keep(done.status());
    if (!done.ok() || *done) break;
  }
  return first;
}

Status JustOpen(OneLog& log) { return log.TryOpen(); }
Status OpenAndRead(OneLog& log) {
  MILLRACE_RETURN_IF_ERROR(log.TryOpen());
  return ReadAllWays(log);
}
Status OpenForReading(OneLog& log) {
  MILLRACE_RETURN_IF_ERROR(log.TryOpen(/*read_only=*/true));
  return ReadAllWays(log);
}

constexpr LogConfig Fives() {
  return {.segment_bytes = 5 * kBatchBytes, .index_interval_bytes = 100, .retention = std::nullopt};
}

const std::vector<Scenario>& Scenarios() {
  static const std::vector<Scenario> all = {
      {"the sums are lost", Fives(),
       [](SimulatedDisk& disk, OneLog& log) {
         Segments(disk, log);
         for (const std::string& path : disk.AllFiles())
           if (path.starts_with("data/millrace/sums/")) OrFail(disk.Erase(path));
       },
       OpenAndRead},
      {"a closed segment is damaged, and its sum lost", Fives(),
       [](SimulatedDisk& disk, OneLog& log) {
         Segments(disk, log);
         for (const std::string& path : disk.AllFiles())
           if (path.starts_with("data/millrace/sums/")) OrFail(disk.Erase(path));
         Change(disk, Segment(5), 2 * kBatchBytes + 70);
         Change(disk, Segment(10), 3 * kBatchBytes);
       },
       OpenAndRead},
      {"closed segments are damaged", Fives(),
       [](SimulatedDisk& disk, OneLog& log) {
         Segments(disk, log);
         Change(disk, Segment(0), kBatchBytes + 70);
         Change(disk, Segment(5), 2 * kBatchBytes + 3);
         Change(disk, Segment(10), 3 * kBatchBytes + 10);
         Change(disk, Segment(15), 4 * kBatchBytes + 10);
       },
       OpenAndRead},
      {"the active segment is damaged", Fives(),
       [](SimulatedDisk& disk, OneLog& log) {
         Segments(disk, log);
         Change(disk, Segment(20), 10);
       },
       OpenAndRead},
      {"a batch below the mark has no length", Fives(),
       [](SimulatedDisk& disk, OneLog& log) {
         log.Open();
         AppendMany(*log, 0, 3);
         OrFail(log->SyncTo(3));
         OrFail(log.directory->WriteMarks());
         const std::string marks = OrFail(disk.Peek("data/millrace/marks"));
         AppendMany(*log, 3, 5);
         OrFail(log->SyncTo(5));
         log.Drop();
         OrFail(disk.Poke("data/millrace/marks", marks));
         OrFail(disk.Poke(Segment(0, ".index"), ""));
         Change(disk, Segment(0), kBatchBytes + 10);
       },
       OpenAndRead},
      {"indexes are lost", Fives(),
       [](SimulatedDisk& disk, OneLog& log) {
         Segments(disk, log);
         for (Offset base = 0; base <= 20; base += 5) {
           OrFail(disk.Poke(Segment(base, ".index"), "x"));
           OrFail(disk.Poke(Segment(base, ".timeindex"), "x"));
         }
       },
       OpenAndRead},
      {"the tail is torn, and whole segments behind it", Fives(),
       [](SimulatedDisk& disk, OneLog& log) {
         Unmarked(disk, log);
         Change(disk, Segment(0), 3 * kBatchBytes + 70);
         OrFail(disk.Poke(Segment(10), ""));
       },
       JustOpen},
      {"a segment ends before the next one begins", Fives(),
       [](SimulatedDisk& disk, OneLog& log) {
         Unmarked(disk, log);
         OrFail(disk.Poke(Segment(5), OrFail(disk.Peek(Segment(5))).substr(0, 3 * kBatchBytes)));
       },
       JustOpen},
      {"an old batch stands in the tail", Fives(),
       [](SimulatedDisk& disk, OneLog& log) {
         Unmarked(disk, log);
         std::string bytes = OrFail(disk.Peek(Segment(10)));
         bytes.replace(kBatchBytes + 8, kBatchBytes - 8, bytes.substr(8, kBatchBytes - 8));
         OrFail(disk.Poke(Segment(10), bytes));
       },
       JustOpen},
      {"zeros follow the last batch", Fives(),
       [](SimulatedDisk& disk, OneLog& log) {
         Unmarked(disk, log);
         OrFail(disk.Poke(Segment(10), OrFail(disk.Peek(Segment(10))) + std::string(3000, '\0')));
       },
       JustOpen},
      {"the epochs and the snapshots are lost", Fives(),
       [](SimulatedDisk& disk, OneLog& log) {
         Segments(disk, log);
         for (const std::string& path : disk.AllFiles()) {
           if (path.ends_with(".snapshot") || path.ends_with("leader-epoch-checkpoint"))
             OrFail(disk.Erase(path));
         }
       },
       JustOpen},
      {"the marks are lost after a clean close", Fives(),
       [](SimulatedDisk& disk, OneLog& log) {
         Segments(disk, log);
         log.Open();
         log.Close();
         OrFail(disk.Erase("data/millrace/marks"));
       },
       OpenAndRead},
      {"damage is opened for reading", Fives(),
       [](SimulatedDisk& disk, OneLog& log) {
         Unmarked(disk, log);
         Change(disk, Segment(0), kBatchBytes + 70);
         Change(disk, Segment(10), 2 * kBatchBytes + 70);
       },
       OpenForReading},
      {"a large batch is read",
       {.index_interval_bytes = 100, .max_message_bytes = 64 << 20},
       [](SimulatedDisk& disk, OneLog& log) {
         log.Open();
         Append(*log, {"small"});
         Append(*log, {std::string(9 << 20, 'l')});
         Append(*log, {std::string(9 << 20, 'm')});
         Append(*log, {"last"});
         log.Close();
         Change(disk, Segment(0), size_t{15} << 20);
       },
       OpenAndRead,
       61},
      {"a segment rolls after an opening, over one that is there", Fives(),
       [](SimulatedDisk& disk, OneLog& log) {
         log.Open();
         AppendMany(*log, 0, 3);
         log.Close();
         OrFail(disk.Poke(Segment(3), ""));
       },
       [](OneLog& log) {
         MILLRACE_RETURN_IF_ERROR(log.TryOpen());
         return log->Roll();
       }},
      {"epochs go with the records that they were of", Fives(),
       [](SimulatedDisk&, OneLog& log) {
         log.Open();
         for (int i = 0; i < 12; ++i) Append(*log, {fmt::format("v{:020}", i)}, kT0, i / 2);
         OrFail(log->DeleteRecordsBefore(10, 12));
         log.Drop();
       },
       [](OneLog& log) {
         MILLRACE_RETURN_IF_ERROR(log.TryOpen());
         return log.TryClose();
       }},
  };
  return all;
}

// All that a reader is told.
std::string Describe(OneLog& log) {
  std::string text = fmt::format("[{}, {})", log->log_start(), log->log_end());
  for (Offset from = log->log_start(); from < log->log_end(); ++from) {
    const auto read = TryReadAll(*log, from, from + 1);
    text += fmt::format("\n{} {}", from, read.ok() ? Values(*read).substr(0, 30) : "damaged");
  }
  return text;
}

std::string NextOpener(const SimulatedDisk& disk, const LogConfig& config) {
  const auto next = disk.PowerCut(1, CutMode::kAdversarial);
  OneLog log(*next, config);
  if (const Status status = log.TryOpen(); !status.ok()) return status.ToString();
  return Describe(log);
}

TEST_CASE("an opening after a crash may fail at any call, and the next one is as good",
          "[failing-calls]") {
  const Scenario& scenario = GENERATE(from_range(Scenarios()));
  std::shared_ptr<SimulatedDisk> disk;
  {
    SimulatedDisk first(1);
    OneLog log(first, scenario.config);
    scenario.prepare(first, log);
    disk = first.PowerCut(1, CutMode::kJournalled);
  }
  const std::string expected = NextOpener(*disk, scenario.config);
  uint64_t calls = 0;
  {
    const auto rehearsal = disk->Clone();
    OneLog log(*rehearsal, scenario.config);
    const Status status = scenario.act(log);
    CAPTURE(scenario.name, status.ToString());
    CHECK(status.ok());
    log.Drop();
    calls = rehearsal->calls();
  }
  for (uint64_t call = 1; call <= calls; call += scenario.step) {
    for (const int error : {EIO, ENOSPC}) {
      for (const bool sticky : {false, true}) {
        const auto failing = disk->Clone();
        failing->SetFaults([&](const DiskCall& c) -> std::optional<Fault> {
          if (c.number < call || (c.number > call && !sticky)) return std::nullopt;
          return Fault{.error = error};
        });
        OneLog log(*failing, scenario.config);
        const Status status = scenario.act(log);
        log.Drop();
        failing->SetFaults(nullptr);
        CAPTURE(scenario.name, call, error, sticky, status.ToString());
        REQUIRE(NextOpener(*failing, scenario.config) == expected);
      }
    }
  }
}

}  // namespace
}  // namespace millrace::log
