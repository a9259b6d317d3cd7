// Kills a process that works on a real directory, again and again, at any moment and at every kill
// point, and checks each time that what it had acknowledged is there.
//   kill_loop --child PROGRAM [--seed S] [--cycles N] [--dir WORK] [--lie LIE] [--self-test 1]
// Without --cycles the environment's MILLRACE_KILL_CYCLES says how many. --self-test lets the child
// lie in every way it knows, and succeeds when each lie is noticed.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/kill_point.h"
#include "harness/crash/run_child.h"
#include "harness/crash/witness.h"
#include "harness/support/arguments.h"
#include "harness/support/rng.h"
#include "harness/support/work_directory.h"

namespace millrace::harness {
namespace {

constexpr int kRunsPerDirectory = 20;
constexpr uint64_t kDefaultCycles = 200;
// A run of at least this many cycles for each kill point must hit each of them kWantedHits times.
constexpr uint64_t kCyclesPerPoint = 60;
constexpr uint64_t kWantedHits = 20;

struct Settings {
  std::string child;
  std::string memory;  // where three of four directories lie: syncs are quick there
  std::string disk;    // and where the others do
  std::string lie = "none";
  uint64_t seed = 1;
  uint64_t cycles = kDefaultCycles;
};

struct Totals {
  uint64_t checked = 0;  // kills after which everything was read and judged
  uint64_t lost = 0;
  uint64_t wrong = 0;
};

class KillLoop {
 public:
  explicit KillLoop(Settings settings) : settings_(std::move(settings)), rng_(settings_.seed) {
    for (const KillPointInfo& info : kAllKillPoints) points_.push_back({info.name});
  }

  // Stops at the first directory that is not right. Where chance has passed over a kill point, it
  // goes on for up to as many cycles again.
  Totals Run(bool quiet) {
    const auto goes_on = [&] {
      return totals_.checked < settings_.cycles ||
             (!PointsAreHit() && totals_.checked < 2 * settings_.cycles);
    };
    for (int number = 0; goes_on() && IsClean(); ++number) {
      const std::string& work = number % 4 == 3 ? settings_.disk : settings_.memory;
      UseDirectory(fmt::format("{}/{}", work, number), quiet);
    }
    return totals_;
  }
  bool IsClean() const { return totals_.lost + totals_.wrong == 0; }

  void PrintPoints() const {
    for (const Point& point : points_)
      std::cout << fmt::format("  kill point {:<28}{:>6} hits\n", point.name, point.hits);
  }
  // Each was hit often enough, or there are too few cycles to ask for that.
  bool PointsAreHit() const {
    return settings_.cycles < kCyclesPerPoint * points_.size() ||
           std::ranges::all_of(points_, [](const Point& p) { return p.hits >= kWantedHits; });
  }

 private:
  struct Point {
    std::string_view name;
    uint64_t hits = 0;
    uint64_t tries = 0;
    int64_t most = 1;  // the largest count that a run was seen to reach, about
  };

  void UseDirectory(const std::string& directory, bool quiet) {
    Witness witness(/*use_checker=*/true);
    ChildCommand command{.program = settings_.child, .directory = directory, .lie = settings_.lie};
    uint64_t kills = 0;
    for (int run = 0; run < kRunsPerDirectory; ++run) {
      command.seed = rng_.Next() >> 1;
      command.first_process = run * 1'000;
      kills += RunOnce(command, witness) ? 1 : 0;
      if (witness.lost() + witness.wrong() > 0) break;
    }
    command.first_process = kRunsPerDirectory * 1'000;
    if (VerifyDirectory(command, witness)) {
      totals_.checked += kills;
    } else {
      witness.Wrong("the directory could not be read to its end");
    }
    witness.Finish();
    totals_.lost += witness.lost();
    totals_.wrong += witness.wrong();
    if (witness.lost() + witness.wrong() > 0 && !quiet) return witness.Report(directory);
    std::filesystem::remove_all(directory);
  }

  // True if the child was killed before it had ended by itself.
  bool RunOnce(ChildCommand& command, Witness& witness) {
    witness.BeginRun(ExpectedState::Durability::kSynced);
    command.kill_point.clear();
    CutPlan plan;
    Point* point = nullptr;
    const uint64_t dice = rng_.Below(100);
    if (dice < 60 && !points_.empty()) {
      // Those that were hit least come first, but none that is hard to reach starves the others.
      point = &*std::min_element(points_.begin(), points_.end(), [](const auto& a, const auto& b) {
        return 3 * a.hits + a.tries < 3 * b.hits + b.tries;
      });
      ++point->tries;
      command.kill_point = point->name;
      command.kill_count = rng_.Between(1, point->most);
    } else if (dice < 80) {
      plan.lines_after_ready = 1 + rng_.Below(150);
    } else if (dice < 90) {
      plan.after_ready = std::chrono::microseconds(rng_.Below(12'000));
    } else {
      plan.after_start = std::chrono::microseconds(rng_.Below(15'000));
    }
    ChildProcess child(command.Words());
    const bool cut = WatchChild(child, plan, witness);
    if (cut) child.Kill();
    FinishChild(child, witness);
    if (point == nullptr) return child.WasKilled();
    // Aim further into the run as long as the runs get that far.
    point->hits += child.WasKilled() ? 1 : 0;
    point->most = child.WasKilled() ? std::min<int64_t>(point->most * 2, 256)
                                    : std::max<int64_t>(point->most / 2, 1);
    return child.WasKilled();
  }

  const Settings settings_;
  Rng rng_;
  std::vector<Point> points_;
  Totals totals_;
};

int RunKillLoop(const Settings& settings) {
  KillLoop loop(settings);
  const auto start = SteadyClock::now();
  Totals totals = loop.Run(/*quiet=*/false);
  const std::chrono::duration<double> took = SteadyClock::now() - start;
  loop.PrintPoints();
  if (!loop.PointsAreHit()) {
    std::cout << fmt::format("  WRONG: a kill point was hit less than {} times\n", kWantedHits);
    ++totals.wrong;
  }
  std::cout << fmt::format("  {:.0f} cycles/s\n",
                           static_cast<double>(totals.checked) / took.count());
  std::cout << fmt::format("harness=kill-loop checked={} lost={} wrong={}\n", totals.checked,
                           totals.lost, totals.wrong);
  return totals.checked > 0 && totals.lost + totals.wrong == 0 ? 0 : 1;
}

int RunSelfTest(Settings settings) {
  settings.cycles = std::min<uint64_t>(settings.cycles, 200);
  uint64_t checked = 0, wrong = 0;
  for (const char* lie : {"ack-first", "send-twice", "other-bytes", "commit-first", "swap"}) {
    settings.lie = lie;
    KillLoop loop(settings);
    const Totals totals = loop.Run(/*quiet=*/true);
    std::cout << fmt::format("  {}: {} after {} kills (lost={} wrong={})\n", lie,
                             loop.IsClean() ? "NOT NOTICED" : "noticed", totals.checked,
                             totals.lost, totals.wrong);
    ++checked;
    wrong += loop.IsClean() ? 1 : 0;
  }
  std::cout << fmt::format("harness=kill-loop-notices checked={} lost=0 wrong={}\n", checked,
                           wrong);
  return wrong == 0 ? 0 : 1;
}

int Main(int argc, char** argv) {
  Arguments arguments(argc, argv);
  Settings settings;
  settings.child = arguments.Text("child", "");
  settings.seed = arguments.Number("seed", arguments.FromEnvironment("MILLRACE_KILL_SEED", 1));
  settings.cycles =
      arguments.Number("cycles", arguments.FromEnvironment("MILLRACE_KILL_CYCLES", kDefaultCycles));
  const std::string work = arguments.Text("dir", "");
  settings.lie = arguments.Text("lie", "none");
  const bool self_test = arguments.Number("self-test", 0) != 0;
  arguments.RefuseOthers();
  if (settings.child.empty()) Fatal("--child is needed");
  settings.memory = work.empty() ? MakeWorkDirectory("kill-loop") : work;
  settings.disk = work.empty() ? MakeWorkDirectory("kill-loop", Place::kDisk) : work;
  std::cout << fmt::format("seed={} cycles={}\n", settings.seed, settings.cycles) << std::flush;
  const int result = self_test ? RunSelfTest(settings) : RunKillLoop(settings);
  if (result == 0) {
    std::filesystem::remove_all(settings.memory);
    std::filesystem::remove_all(settings.disk);
  }
  return result;
}

}  // namespace
}  // namespace millrace::harness

int main(int argc, char** argv) { return millrace::harness::Main(argc, argv); }
