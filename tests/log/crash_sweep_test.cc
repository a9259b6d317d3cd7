#include <fmt/format.h>

#include "log/log_model.h"

// The power is cut, or the process killed, at every call that a workload makes of its disk, and
// again in the midst of the recovery. MILLRACE_CRASH_IMAGES says how many images are checked,
// MILLRACE_SEED where the random choices start.
namespace millrace::log {
namespace {

using testing::CutMode;
using testing::SimulatedDisk;

enum class Kill { kJournalled, kAdversarial, kProcess, kTornWrite };
constexpr Kill kKills[] = {Kill::kJournalled, Kill::kAdversarial, Kill::kProcess, Kill::kTornWrite};

std::shared_ptr<SimulatedDisk> Image(const SimulatedDisk& disk, Kill kill, uint64_t seed) {
  if (kill == Kill::kJournalled) return disk.PowerCut(seed, CutMode::kJournalled);
  if (kill == Kill::kAdversarial) return disk.PowerCut(seed, CutMode::kAdversarial);
  return disk.ProcessKill();
}

uint64_t CountCalls(const Workload& workload, uint64_t seed) {
  SimulatedDisk disk(seed);
  LogDriver driver(disk, workload.config, seed);
  workload.run(driver);
  driver.log().Drop();
  return disk.calls();
}

// The recovery of `image` is cut at a call of its own first.
std::shared_ptr<SimulatedDisk> CutRecovery(const SimulatedDisk& image, const Workload& workload,
                                           uint64_t seed) {
  uint64_t calls = 0;
  {
    const auto rehearsal = image.Clone();
    OneLog log(*rehearsal, workload.config);
    log.TryOpen().IgnoreError();
    calls = rehearsal->calls();
  }
  const auto disk = image.Clone();
  disk->FreezeAt(1 + seed % std::max<uint64_t>(calls, 1));
  OneLog log(*disk, workload.config);
  log.TryOpen().IgnoreError();
  return disk->PowerCut(seed, CutMode::kAdversarial);
}

void CutAt(const Workload& workload, uint64_t call, uint64_t seed, Totals& totals) {
  for (const Kill kill : kKills) {
    SimulatedDisk disk(seed);
    disk.FreezeAt(kill == Kill::kTornWrite ? call + 1 : call);
    if (kill == Kill::kTornWrite) {
      disk.SetFaults([call](const testing::DiskCall& c) -> std::optional<testing::Fault> {
        if (c.number != call || c.op != testing::DiskOp::kWrite) return std::nullopt;
        return testing::Fault{.kind = testing::Fault::Kind::kShortThenFail};
      });
    }
    LogDriver driver(disk, workload.config, seed);
    workload.run(driver);
    driver.log().Drop();
    const std::string where = fmt::format("{} seed {} cut at call {} ({})", workload.name, seed,
                                          call, static_cast<int>(kill));
    if (!driver.wrong().ok()) totals.Count(driver.wrong(), where);
    const CheckOptions options{.seed = SplitMix64(seed << 32 | call).Next()};
    const auto image = Image(disk, kill, seed + call);
    totals.Count(CheckDisk(image->Clone(), workload.config, driver.journal(), options), where);
    const auto again = CutRecovery(*image, workload, seed * 31 + call);
    totals.Count(CheckDisk(again, workload.config, driver.journal(), options),
                 fmt::format("{}, and in its recovery", where));
  }
}

TEST_CASE("nothing acknowledged is lost when the power is cut at any call", "[crash-sweep]") {
  const uint64_t images = FromEnvironment("MILLRACE_CRASH_IMAGES", 8000);
  const uint64_t first_seed = FromEnvironment("MILLRACE_SEED", 1);
  const size_t images_per_cut = std::size(kKills) * 2;
  Totals totals;
  std::vector<uint64_t> calls;
  uint64_t all_calls = 0;
  for (const Workload& workload : AllWorkloads()) {
    calls.push_back(CountCalls(workload, first_seed));
    all_calls += calls.back();
  }
  // Every call once where the budget allows it, and further seeds with what is left.
  const uint64_t cuts = std::max<uint64_t>(images / images_per_cut, 1);
  const uint64_t stride = std::max<uint64_t>(1, (all_calls + cuts - 1) / cuts);
  for (uint64_t seed = first_seed; totals.checked < images; ++seed) {
    for (size_t i = 0; i < calls.size() && totals.checked < images; ++i) {
      const Workload& workload = AllWorkloads()[i];
      for (uint64_t call = 1 + seed % stride; call <= calls[i]; call += stride)
        CutAt(workload, call, seed, totals);
    }
  }
  totals.Print("crash-sweep");
  CAPTURE(totals.first);
  CHECK(totals.checked > 0);
  CHECK(totals.lost == 0);
  CHECK(totals.wrong == 0);
}

}  // namespace
}  // namespace millrace::log
