#include <cerrno>

#include <fmt/format.h>

#include "log/log_model.h"

// Every call that a workload makes of its disk fails once, and from then on, with each errno that
// matters and in each way that a sync can fail; the workload goes on; then the power is cut on top
// of it, or the process killed. MILLRACE_ERROR_RUNS bounds the runs.
namespace millrace::log {
namespace {

using testing::DiskCall;
using testing::DiskOp;
using testing::Fault;
using testing::SimulatedDisk;

struct Injection {
  Fault fault;
  bool sticky = false;
  std::string name;
};

const std::vector<Injection>& Injections() {
  static const std::vector<Injection> all = [] {
    std::vector<Injection> made;
    for (const bool sticky : {false, true}) {
      const std::string_view how = sticky ? "from then on" : "once";
      for (const int error : {EIO, ENOSPC, EDQUOT, EMFILE, ENOENT, EACCES, EROFS, ESTALE, EFBIG})
        made.push_back({{.error = error}, sticky, fmt::format("errno {} {}", error, how)});
      for (const int error : {EIO, ENOSPC})
        made.push_back({{.error = error, .kind = Fault::Kind::kShortThenFail},
                        sticky,
                        fmt::format("short write, errno {} {}", error, how)});
      made.push_back({{.kind = Fault::Kind::kSyncDropsPages},
                      sticky,
                      fmt::format("sync drops pages {}", how)});
      made.push_back({{.kind = Fault::Kind::kSyncKeepsPages},
                      sticky,
                      fmt::format("sync keeps pages {}", how)});
    }
    return made;
  }();
  return all;
}

// A sticky fault is one of a resource: it hits the calls of the kind that it hit first.
std::shared_ptr<std::optional<DiskOp>> Inject(SimulatedDisk& disk, const Injection& injection,
                                              uint64_t call) {
  auto op = std::make_shared<std::optional<DiskOp>>();
  disk.SetFaults([=](const DiskCall& c) -> std::optional<Fault> {
    if (c.number < call) return std::nullopt;
    if (c.number == call) *op = c.op;
    if (c.number > call && (!injection.sticky || c.op != *op)) return std::nullopt;
    const bool of_write = injection.fault.kind == Fault::Kind::kShortThenFail;
    const bool of_sync = injection.fault.kind == Fault::Kind::kSyncDropsPages ||
                         injection.fault.kind == Fault::Kind::kSyncKeepsPages;
    if ((of_write && c.op != DiskOp::kWrite) || (of_sync && c.op != DiskOp::kSync))
      return std::nullopt;
    return injection.fault;
  });
  return op;
}

// Once the fault is gone and the directory has not failed, everything goes on by itself.
Finding CheckGoesOn(LogDriver& driver) {
  if (driver.log().log == nullptr || !driver.log().directory->failed().ok()) return {};
  if (std::string what = driver.CheckLive(); !what.empty())
    return {.what = fmt::format("while it runs: {}", what)};
  if (driver.Append() && driver.Sync()) return {};
  return {.what = fmt::format("appending after the fault: {}", driver.last_error().ToString())};
}

void FailAt(const Workload& workload, const Injection& injection, uint64_t call, uint64_t seed,
            Totals& totals) {
  SimulatedDisk disk(seed);
  const auto op = Inject(disk, injection, call);
  LogDriver driver(disk, workload.config, seed);
  workload.run(driver);
  disk.SetFaults(nullptr);
  const std::string where =
      fmt::format("{} seed {} call {} ({})", workload.name, seed, call, injection.name);
  totals.Count(CheckGoesOn(driver), where);
  driver.log().Drop();
  // Only a failed sync may leave holes in what was written.
  const CheckOptions options{.damage_allowed = *op == DiskOp::kSync, .seed = seed + call};
  totals.Count(CheckDisk(disk.PowerCut(seed + call, testing::CutMode::kAdversarial),
                         workload.config, driver.journal(), options),
               fmt::format("{}, then a power cut", where));
  totals.Count(CheckDisk(disk.ProcessKill(), workload.config, driver.journal(), options),
               fmt::format("{}, then a kill", where));
}

// After a crash, on a disk that takes not one byte more: what is there is read, and with room it
// goes on.
Finding CheckFullDisk(SimulatedDisk& disk, const Workload& workload, const Journal& journal) {
  disk.SetFaults([](const DiskCall& c) -> std::optional<Fault> {
    if (c.op != DiskOp::kWrite) return std::nullopt;
    return Fault{.error = ENOSPC};
  });
  LogDriver driver(disk, workload.config, 1);
  driver.journal() = journal;
  driver.NumberFrom(2'000'000);
  if (!driver.Open()) {
    if (journal.acknowledged == 0) return {};  // it was only being made
    return {.lost = true, .what = driver.last_error().ToString()};
  }
  if (Finding f = CheckContents(*driver.log(), journal, false); !f.ok()) return f;
  if (driver.Append()) return {.what = "an append where there is no room"};
  disk.SetFaults(nullptr);
  if (driver.Append() && driver.Sync() && driver.Close()) return {};
  return {.what = fmt::format("with room again: {}", driver.last_error().ToString())};
}

TEST_CASE("a full disk can be opened and read", "[error-sweep]") {
  Totals totals;
  for (const Workload& workload : AllWorkloads()) {
    for (uint64_t call = 1; call < 800; call += 7) {
      SimulatedDisk disk(call);
      disk.FreezeAt(call);
      LogDriver driver(disk, workload.config, call);
      workload.run(driver);
      driver.log().Drop();
      const auto image =
          call % 2 == 0 ? disk.ProcessKill() : disk.PowerCut(call, testing::CutMode::kAdversarial);
      totals.Count(CheckFullDisk(*image, workload, driver.journal()),
                   fmt::format("{} cut at call {}, then full", workload.name, call));
      if (!disk.frozen()) break;
    }
  }
  totals.Print("full-disk");
  CAPTURE(totals.first);
  CHECK(totals.checked > 0);
  CHECK(totals.lost == 0);
  CHECK(totals.wrong == 0);
}

TEST_CASE("a failing disk loses nothing that was acknowledged", "[error-sweep]") {
  const uint64_t runs = FromEnvironment("MILLRACE_ERROR_RUNS", 4000);
  const uint64_t first_seed = FromEnvironment("MILLRACE_SEED", 1);
  Totals totals;
  uint64_t done = 0;
  const uint64_t stride = 13;  // over the calls; each seed begins one further
  for (uint64_t seed = first_seed; done < runs; ++seed) {
    for (const Workload& workload : AllWorkloads()) {
      SimulatedDisk rehearsal(seed);
      LogDriver driver(rehearsal, workload.config, seed);
      workload.run(driver);
      driver.log().Drop();
      uint64_t turn = seed;
      for (uint64_t call = 1 + seed % stride; call <= rehearsal.calls() && done < runs;
           call += stride) {
        for (int i = 0; i < 3; ++i, ++done)
          FailAt(workload, Injections()[turn++ % Injections().size()], call, seed, totals);
      }
    }
  }
  totals.Print("error-sweep");
  CAPTURE(totals.first);
  CHECK(totals.checked > 0);
  CHECK(totals.lost == 0);
  CHECK(totals.wrong == 0);
}

}  // namespace
}  // namespace millrace::log
