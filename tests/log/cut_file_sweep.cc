#include <algorithm>

#include <fmt/format.h>

#include "env/file_util.h"
#include "log/error_sweeps.h"
#include "log/layout.h"

namespace millrace::log {
namespace {

using testing::DiskCall;
using testing::DiskOp;
using testing::Fault;
using testing::SimulatedDisk;

constexpr double kLeft[] = {0, 0.5, 0.99};  // of the file

// Those that are read while they are in use; what lies beside them is read at the opening alone,
// and cut by the byte-flip sweep.
bool IsInUse(const std::string& path) {
  return path.ends_with(kLogSuffix) || path.ends_with(kIndexSuffix) ||
         path.ends_with(kTimeIndexSuffix);
}

void RunAndRead(const Workload& workload, LogDriver& driver) {
  workload.run(driver);
  if (driver.log().log == nullptr) return;
  CheckTimes(*driver.log(), driver.journal());
  driver.Scrub();
}

struct Cut {
  uint64_t call = 0;
  std::string path;  // of the file that is cut, once it was
};

void MakeCut(SimulatedDisk& disk, uint64_t call, double left, Cut* cut) {
  disk.SetFaults([&disk, call, left, cut](const DiskCall& c) -> std::optional<Fault> {
    if (c.number != call) return std::nullopt;
    const std::string bytes = OrFail(disk.Peek(c.path));
    const auto size = static_cast<size_t>(left * static_cast<double>(bytes.size()));
    OrFail(disk.Poke(c.path, bytes.substr(0, size)));
    *cut = {.call = call, .path = c.path};
    return std::nullopt;
  });
}

// What lies below the file that was cut must be there, and of the rest nothing may be wrong. A
// derived file holds nothing that is lost with it.
Finding CheckCut(const Workload& workload, uint64_t seed, uint64_t call, double left) {
  SimulatedDisk disk(seed);
  Cut cut;
  MakeCut(disk, call, left, &cut);
  LogDriver driver(disk, workload.config, seed);
  RunAndRead(workload, driver);
  disk.SetFaults(nullptr);
  if (cut.path.empty()) return {.what = "nothing was cut"};
  Journal journal = driver.journal();
  const auto base =
      ParseOffsetFileName(std::string_view(cut.path).substr(cut.path.rfind('/') + 1), kLogSuffix);
  const CheckOptions options{.damage_allowed = base.has_value(), .seed = seed + call};
  if (base.has_value()) journal.acknowledged = std::min(journal.acknowledged, *base);
  if (driver.log().log != nullptr) {
    if (Finding f = CheckContents(*driver.log(), journal, options.damage_allowed); !f.ok())
      return f;
    for (const DamagedRange& d : driver.log()->damage()) {
      if (!base.has_value() || d.end_offset <= *base)
        return {.lost = true, .what = fmt::format("damage of {}: {}", d.file, d.what)};
    }
  }
  driver.log().Drop();
  return CheckDisk(disk.ProcessKill(), workload.config, journal, options);
}

}  // namespace

void SweepCutFiles(uint64_t runs, uint64_t seed, Totals& totals) {
  struct Place {
    const Workload* workload;
    uint64_t call;
    std::string path;
  };
  std::vector<Place> all;
  for (const Workload& workload : AllWorkloads()) {
    SimulatedDisk rehearsal(seed);
    rehearsal.SetFaults([&](const DiskCall& c) -> std::optional<Fault> {
      if (c.op == DiskOp::kRead && IsInUse(c.path)) all.push_back({&workload, c.number, c.path});
      return std::nullopt;
    });
    LogDriver driver(rehearsal, workload.config, seed);
    RunAndRead(workload, driver);
  }
  const uint64_t pairs = all.size() * std::size(kLeft);
  const uint64_t stride = StrideOver(pairs, runs);
  uint64_t met = 0;
  for (uint64_t i = seed % stride; i < pairs; i += stride, ++met) {
    const Place& place = all[i / std::size(kLeft)];
    const double left = kLeft[i % std::size(kLeft)];
    totals.Count(CheckCut(*place.workload, seed, place.call, left),
                 fmt::format("{} seed {} call {}: {} is cut to {} % as it is read",
                             place.workload->name, seed, place.call, place.path, 100 * left));
  }
  fmt::print("  seed {}: {} of {} pairs of a read and a size to which its file is cut\n", seed, met,
             pairs);
}

}  // namespace millrace::log
