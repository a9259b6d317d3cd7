// Cuts the power of a file system under a process that works on it, starts the file system again as
// after a power cut, and checks that what was acknowledged before the cut is there. Only what had
// been read from the process when the cut began counts: an acknowledgement may well be given after
// the cut for what was synced before it, and the other way round the test would see ghosts.
//   power_cut --child PROGRAM [--seed S] [--cuts N] [--lie LIE]
// Half of the cuts are on ext4, half on XFS. Without --cuts the environment's MILLRACE_POWER_CUTS
// says how many. Needs root and loop devices.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "harness/crash/plan.h"
#include "harness/crash/run_child.h"
#include "harness/crash/witness.h"
#include "harness/support/arguments.h"
#include "harness/support/loop_mount.h"
#include "harness/support/rng.h"
#include "harness/support/work_directory.h"

namespace millrace::harness {
namespace {

constexpr int kCutsPerDirectory = 10;
constexpr uint64_t kDefaultCuts = 20;
constexpr uint64_t kBusy = 5;
// Under kInterval a record is safe one interval and one sync after its acknowledgement. On a busy
// machine a sync may have to wait for its turn for long; so only long runs can show a loss that the
// interval does not allow.
constexpr auto kSyncAllowance = std::chrono::milliseconds(1'000);
constexpr auto kLongRun = std::chrono::milliseconds(2'500);
constexpr uint64_t kBusyForLong = 2'000;

struct Totals {
  uint64_t checked = 0;
  uint64_t lost = 0;
  uint64_t wrong = 0;
};

class PowerCut {
 public:
  PowerCut(LoopMount& mount, std::string child, std::string lie, uint64_t seed)
      : mount_(mount), child_(std::move(child)), lie_(std::move(lie)), rng_(seed) {}

  void Run(uint64_t cuts, Totals* totals) {
    const uint64_t wanted = totals->checked + cuts;
    for (int number = 0; totals->checked < wanted; ++number) {
      UseDirectory(fmt::format("{}/{}", mount_.path(), number), totals);
      if (totals->lost + totals->wrong > 0) return;
    }
  }

 private:
  void UseDirectory(const std::string& directory, Totals* totals) {
    // Where every run syncs each batch nothing at all may be lost, and the history checker judges
    // too; where policies change from run to run it cannot, since some may lose records.
    const bool synced = !rng_.OneIn(3);
    Witness witness(/*use_checker=*/synced);
    ChildCommand command{.program = child_, .directory = directory, .lie = lie_};
    uint64_t cuts = 0;
    for (int run = 0; run < kCutsPerDirectory; ++run) {
      constexpr std::string_view kPolicies[] = {"each-batch", "interval", "os"};
      command.flush = synced ? "each-batch" : rng_.Pick(kPolicies);
      command.busy = command.flush == "interval" && rng_.OneIn(8) ? kBusyForLong : kBusy;
      command.seed = rng_.Next() >> 1;
      command.first_process = run * 1'000;
      cuts += RunOnce(command, witness) ? 1 : 0;
      if (witness.lost() + witness.wrong() > 0) break;
    }
    command.flush = "each-batch";
    command.first_process = kCutsPerDirectory * 1'000;
    if (VerifyDirectory(command, witness)) {
      totals->checked += cuts;
    } else {
      witness.Wrong("the directory could not be read to its end");
    }
    witness.Finish();
    totals->lost += witness.lost();
    totals->wrong += witness.wrong();
    if (witness.lost() + witness.wrong() > 0) {
      Keep(directory, witness);
    } else {
      std::filesystem::remove_all(directory);
    }
  }

  bool RunOnce(const ChildCommand& command, Witness& witness) {
    if (command.flush == "each-batch") {
      witness.BeginRun(ExpectedState::Durability::kSynced);
    } else if (command.flush == "interval") {
      witness.BeginRun(ExpectedState::Durability::kInterval,
                       absl::ToChronoNanoseconds(kFlushInterval) + kSyncAllowance);
    } else {
      witness.BeginRun(ExpectedState::Durability::kNone);
    }
    ChildProcess child(command.Words());
    const bool cut = WatchChild(child, DrawCut(command), witness);
    if (cut) {
      mount_.CutPower();
      witness.PowerWasCut();
      child.Kill();
    }
    FinishChild(child, witness);
    if (!cut) return false;
    mount_.Unmount();
    mount_.Mount();
    return true;
  }

  CutPlan DrawCut(const ChildCommand& command) {
    if (command.busy > kBusy) return {.after_ready = kLongRun};
    const uint64_t dice = rng_.Below(10);
    if (dice < 2) return {.after_start = std::chrono::microseconds(rng_.Below(20'000))};
    if (dice < 4) return {.after_ready = std::chrono::microseconds(rng_.Below(40'000))};
    return {.lines_after_ready = 1 + rng_.Below(400)};
  }

  // The mount goes away with this process, so what failed is copied to where it stays.
  static void Keep(const std::string& directory, const Witness& witness) {
    const std::filesystem::path kept = MakeWorkDirectory("power-cut-failed", Place::kDisk);
    const std::string copy = (kept / "directory").string();
    std::error_code ignored;  // a directory that was never made is a finding too
    std::filesystem::copy(directory, copy, std::filesystem::copy_options::recursive, ignored);
    witness.Report(copy);
  }

  LoopMount& mount_;
  const std::string child_;
  const std::string lie_;
  Rng rng_;
};

int Main(int argc, char** argv) {
  Arguments arguments(argc, argv);
  const std::string child = arguments.Text("child", "");
  const std::string lie = arguments.Text("lie", "none");
  const uint64_t seed =
      arguments.Number("seed", Arguments::FromEnvironment("MILLRACE_POWER_SEED", 1));
  const uint64_t cuts =
      arguments.Number("cuts", Arguments::FromEnvironment("MILLRACE_POWER_CUTS", kDefaultCuts));
  arguments.RefuseOthers();
  if (child.empty()) Fatal("--child is needed");
  if (const auto missing = LoopMount::WhatIsMissing()) return Skip(*missing);
  std::cout << fmt::format("seed={} cuts={}\n", seed, cuts) << std::flush;
  HideMounts();
  const std::string work = MakeWorkDirectory("power-cut");
  Totals totals;
  for (const auto kind : {LoopMount::Kind::kExt4, LoopMount::Kind::kXfs}) {
    const auto start = SteadyClock::now();
    // XFS does not go below 300 MB; the image is sparse.
    LoopMount mount({.kind = kind,
                     .image = work + "/image",
                     .mount_point = work + "/mount",
                     .size_bytes = uint64_t{kind == LoopMount::Kind::kExt4 ? 128U : 320U} << 20});
    const uint64_t before = totals.checked;
    PowerCut(mount, child, lie, seed).Run((cuts + 1) / 2, &totals);
    const std::chrono::duration<double> took = SteadyClock::now() - start;
    std::cout << fmt::format("  {}: {} cuts in {:.1f} s\n",
                             kind == LoopMount::Kind::kExt4 ? "ext4" : "XFS",
                             totals.checked - before, took.count())
              << std::flush;
  }
  std::filesystem::remove_all(work);
  std::cout << fmt::format("harness=power-cut checked={} lost={} wrong={}\n", totals.checked,
                           totals.lost, totals.wrong);
  return totals.checked > 0 && totals.lost + totals.wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace millrace::harness

int main(int argc, char** argv) { return millrace::harness::Main(argc, argv); }
