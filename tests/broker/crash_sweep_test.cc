// The power is cut, or the process killed, at every call that a broker makes of its disk, and again
// while the next one opens. MILLRACE_BROKER_CRASH_IMAGES says how many images are checked,
// MILLRACE_SEED where the random choices start.
#include <algorithm>
#include <cstdlib>

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include "crash_model.h"

namespace millrace::broker {
namespace {

using testing::CutMode;
using testing::SimulatedDisk;

enum class Kill { kJournalled, kAdversarial, kProcess };
constexpr Kill kKills[] = {Kill::kJournalled, Kill::kAdversarial, Kill::kProcess};

struct Totals {
  uint64_t checked = 0, lost = 0, wrong = 0;
  std::string first;

  void Count(const Finding& finding, const std::string& where) {
    ++checked;
    if (finding.ok()) return;
    ++(finding.lost ? lost : wrong);
    if (first.empty()) first = fmt::format("{}: {}", where, finding.what);
  }
};

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// Runs the workload, on a disk that takes `cut` calls of its main part; how many it made of them.
uint64_t Run(const Workload& workload, uint64_t seed, uint64_t cut, BrokerDriver& driver) {
  const auto disk = driver.machine().disk;
  if (workload.prepare) workload.prepare(driver);
  const uint64_t before = disk->calls();
  if (cut > 0) disk->FreezeAt(before + cut);
  workload.run(driver);
  const uint64_t made = disk->calls() - before;
  driver.Drop();
  static_cast<void>(seed);
  return made;
}

std::shared_ptr<SimulatedDisk> Image(const SimulatedDisk& disk, Kill kill, uint64_t seed) {
  if (kill == Kill::kJournalled) return disk.PowerCut(seed, CutMode::kJournalled);
  if (kill == Kill::kAdversarial) return disk.PowerCut(seed, CutMode::kAdversarial);
  return disk.ProcessKill();
}

// The image after its next broker was cut off while it opened.
std::shared_ptr<SimulatedDisk> CutOpening(const SimulatedDisk& image, FlushPolicy flush,
                                          uint64_t seed) {
  uint64_t calls = 0;
  {
    BrokerDriver rehearsal(image.Clone(), flush, seed);
    rehearsal.Open();
    calls = rehearsal.machine().disk->calls();
  }
  BrokerDriver driver(image.Clone(), flush, seed);
  driver.machine().disk->FreezeAt(1 + seed % std::max<uint64_t>(calls, 1));
  driver.Open();
  driver.Drop();
  return driver.machine().disk->PowerCut(seed, CutMode::kAdversarial);
}

void CutAt(const Workload& workload, uint64_t call, uint64_t seed, Totals& totals) {
  const auto disk = std::make_shared<SimulatedDisk>(seed);
  BrokerDriver driver(disk, workload.flush, seed);
  Run(workload, seed, call, driver);
  for (const Kill kill : kKills) {
    const std::string where =
        fmt::format("{} seed {} cut at call {} ({})", workload.name, seed, call,
                    kill == Kill::kJournalled    ? "power, journalled"
                    : kill == Kill::kAdversarial ? "power, adversarial"
                                                 : "process");
    const bool power = kill != Kill::kProcess;
    const auto image = Image(*disk, kill, seed + call);
    totals.Count(CheckDisk(image->Clone(), driver.journal(), workload.flush, power), where);
    if (!power) continue;
    const auto again = CutOpening(*image, workload.flush, seed * 31 + call);
    totals.Count(CheckDisk(again, driver.journal(), workload.flush, power),
                 fmt::format("{}, and while it opens", where));
  }
}

}  // namespace

TEST_CASE("a broker loses nothing that it answered when the power is cut at any call",
          "[broker][crash-sweep]") {
  const uint64_t images = FromEnvironment("MILLRACE_BROKER_CRASH_IMAGES", 3000);
  const uint64_t first_seed = FromEnvironment("MILLRACE_SEED", 1);
  INFO("MILLRACE_SEED=" << first_seed);
  const char* only = std::getenv("MILLRACE_WORKLOAD");
  std::vector<Workload> workloads;
  std::vector<uint64_t> calls;
  uint64_t all_calls = 0;
  for (const Workload& workload : AllWorkloads()) {
    if (only != nullptr && workload.name != only) continue;
    BrokerDriver driver(std::make_shared<SimulatedDisk>(first_seed), workload.flush, first_seed);
    workloads.push_back(workload);
    calls.push_back(Run(workload, first_seed, 0, driver));
    all_calls += calls.back();
  }
  constexpr uint64_t kImagesACut = 5;
  const uint64_t cuts = std::max<uint64_t>(images / kImagesACut, 1);
  const uint64_t stride = std::max<uint64_t>(1, (all_calls + cuts - 1) / cuts);
  Totals totals;
  for (uint64_t seed = first_seed; totals.checked < images; ++seed) {
    for (size_t i = 0; i < workloads.size() && totals.checked < images; ++i) {
      for (uint64_t call = 1 + seed % stride; call <= calls[i]; call += stride) {
        CutAt(workloads[i], call, seed, totals);
      }
    }
  }
  fmt::print("harness=crash-sweep checked={} lost={} wrong={}\n", totals.checked, totals.lost,
             totals.wrong);
  INFO(totals.first);
  CHECK(totals.checked > 0);
  CHECK(totals.lost == 0);
  CHECK(totals.wrong == 0);
}

}  // namespace millrace::broker
