#include <cerrno>

#include <fmt/format.h>

#include "log/error_sweeps.h"

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

  bool Concerns(DiskOp op) const {
    if (fault.kind == Fault::Kind::kShortThenFail) return op == DiskOp::kWrite;
    if (fault.kind == Fault::Kind::kSyncDropsPages || fault.kind == Fault::Kind::kSyncKeepsPages)
      return op == DiskOp::kSync;
    return true;
  }
};

constexpr int kErrnos[] = {EIO,    ENOSPC, EDQUOT, EMFILE, EINTR,
                           ENOENT, EACCES, EROFS,  ESTALE, EFBIG};
constexpr std::string_view kKinds =
    "EIO ENOSPC EDQUOT EMFILE EINTR ENOENT EACCES EROFS ESTALE EFBIG, short writes with EIO and "
    "ENOSPC, "
    "failed syncs that drop or keep their pages, each once and from then on";

const std::vector<Injection>& Injections() {
  static const std::vector<Injection> all = [] {
    std::vector<Injection> made;
    for (const bool sticky : {false, true}) {
      const std::string_view how = sticky ? "from then on" : "once";
      for (const int error : kErrnos)
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
void Inject(SimulatedDisk& disk, const Injection& injection, uint64_t call, DiskOp op) {
  disk.SetFaults([=](const DiskCall& c) -> std::optional<Fault> {
    if (c.number < call || c.op != op) return std::nullopt;
    if (c.number > call && !injection.sticky) return std::nullopt;
    return injection.fault;
  });
}

// Once the fault is gone and the directory has not failed, everything goes on by itself.
Finding CheckGoesOn(LogDriver& driver) {
  if (!driver.wrong().ok()) return driver.wrong();
  if (driver.log().log == nullptr || !driver.log().directory->failed().ok()) return {};
  if (std::string what = driver.CheckLive(); !what.empty())
    return {.what = fmt::format("while it runs: {}", what)};
  if (driver.Append() && driver.Sync()) return {};
  return {.what = fmt::format("appending after the fault: {}", driver.last_error().ToString())};
}

// A place where a workload can fail, and how.
struct Failure {
  const Workload* workload;
  uint64_t call;
  DiskOp op;
  const Injection* injection;
};

void Fail(const Failure& failure, uint64_t seed, Totals& totals) {
  const auto& [workload, call, op, injection] = failure;
  SimulatedDisk disk(seed);
  Inject(disk, *injection, call, op);
  LogDriver driver(disk, workload->config, seed);
  workload->run(driver);
  disk.SetFaults(nullptr);
  const std::string where =
      fmt::format("{} seed {} call {} ({})", workload->name, seed, call, injection->name);
  totals.Count(CheckGoesOn(driver), where);
  driver.log().Drop();
  // Only a failed sync may leave holes in what was written.
  const CheckOptions options{.damage_allowed = op == DiskOp::kSync,
                             .seed = SplitMix64(seed << 32 | call).Next()};
  totals.Count(CheckDisk(disk.PowerCut(seed + call, testing::CutMode::kAdversarial),
                         workload->config, driver.journal(), options),
               fmt::format("{}, then a power cut", where));
  totals.Count(CheckDisk(disk.ProcessKill(), workload->config, driver.journal(), options),
               fmt::format("{}, then a kill", where));
}

// All that can fail in the workloads, as they run with this seed.
std::vector<Failure> AllFailures(uint64_t seed) {
  std::vector<Failure> all;
  for (const Workload& workload : AllWorkloads()) {
    std::vector<DiskOp> calls;
    SimulatedDisk rehearsal(seed);
    rehearsal.SetFaults([&](const DiskCall& c) -> std::optional<Fault> {
      calls.push_back(c.op);
      return std::nullopt;
    });
    LogDriver driver(rehearsal, workload.config, seed);
    workload.run(driver);
    driver.log().Drop();
    for (uint64_t call = 1; call <= calls.size(); ++call) {
      for (const Injection& injection : Injections()) {
        if (injection.Concerns(calls[call - 1]))
          all.push_back({&workload, call, calls[call - 1], &injection});
      }
    }
  }
  return all;
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
  for (uint64_t seed = first_seed, done = 0; done < runs; ++seed) {
    const std::vector<Failure> all = AllFailures(seed);
    const uint64_t left = runs - done;
    const uint64_t stride = StrideOver(all.size(), left);
    uint64_t met = 0;
    for (uint64_t i = stride == 1 ? 0 : seed % stride; i < all.size(); i += stride, ++met)
      Fail(all[i], seed, totals);
    fmt::print("  seed {}: {} of {} pairs of a disk operation and a way to fail ({})\n", seed, met,
               all.size(), kKinds);
    done += met;
    if (stride > 1) break;
  }
  // What the file system must not let through, and what it cannot help.
  SweepSystemCalls(std::max<uint64_t>(runs / 20, 1), first_seed, totals);
  SweepCutFiles(std::max<uint64_t>(runs / 10, 1), first_seed, totals);
  totals.Print("error-sweep");
  CAPTURE(totals.first);
  CHECK(totals.checked > 0);
  CHECK(totals.lost == 0);
  CHECK(totals.wrong == 0);
}

}  // namespace

// A prime, so that no kind of failure is left out.
uint64_t StrideOver(uint64_t all, uint64_t runs) {
  if (all <= runs) return 1;
  for (uint64_t n = std::max<uint64_t>(all / runs, 2);; ++n) {
    bool prime = true;
    for (uint64_t d = 2; d * d <= n && prime; ++d) prime = n % d != 0;
    if (prime) return n;
  }
}

}  // namespace millrace::log
