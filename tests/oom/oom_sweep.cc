// The out-of-memory sweep (reliability.md T3): workloads over the public API in which the n-th
// allocation fails, for n = 1, 2, 3 and on until one runs through; once only, and from then on.
// Whatever fails must be an error, never an exception, a crash or a hang. With memory back the
// broker goes on, what was acknowledged is there, now and after an opening, nothing else is, and no
// memory was lost.
//   oom_sweep DIR [STRIDE [WORKLOAD [FIRST]]]     every STRIDE-th allocation (1: all)
// Prints harness=oom-sweep checked=N lost=N wrong=N. Cases run in a child, so that one that crashes
// or hangs is reported, and the sweep goes on behind it:
//   oom_sweep --cases DIR STRIDE WORKLOAD FIRST once|on
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "failing_new.h"
#include "harness/support/child_process.h"
#include "workloads.h"
#include "world.h"

namespace millrace::oom {
namespace {

// No case takes a second; a machine that is busy may.
constexpr auto kHangs = std::chrono::seconds(30);
// Then the rest of a workload would say the same.
constexpr int kMostDead = 3;

struct Found {
  int lost = 0, wrong = 0;
  bool stopped = false;  // the directory failed, and was opened anew
  bool ran_through = false;
};

int64_t OpenFiles() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return std::distance(begin(all), end(all));
}

void RemoveAll(const World& world) {
  std::filesystem::remove_all(world.directory);
  std::filesystem::remove_all(world.checkpoint);
}

Found RunCase(const Workload& workload, const std::string& directory, int64_t n,
              Failures failures) {
  Found found;
  World world(directory, workload.background_threads);
  RemoveAll(world);
  workload.prepare(world);
  world.Ready();
  {
    const FailingNew failing(n, failures);
    try {
      workload.run(world);
      if (n % 4 == 2) world.Drop();  // all destructors without memory
    } catch (const std::exception& e) {
      FailingNew::Stop();
      std::cerr << "  an exception left the library: " << e.what() << "\n";
      ++found.wrong;
    }
  }
  found.ran_through = !FailingNew::has_failed();
  found.wrong += found.ran_through ? world.told.errors : world.told.odd_errors;
  if (world.watcher.has_value()) WatchesOn(world, &found.wrong, &found.lost);
  if (!world.told.closed && world.broker.has_value())
    found.stopped = GoesOn(world, &found.wrong, &found.lost);
  // Both ends that a program may come to.
  if (world.broker.has_value() && n % 2 == 1) world.Crash();
  world.Drop();
  if (world.told.called_callbacks != world.told.accepted_callbacks) {
    std::cerr << "  not every callback was called once\n";
    ++found.wrong;
  }
  Verify(world, &found.wrong, &found.lost);
  RemoveAll(world);
  return found;
}

// The figures of a line: "N lost wrong stopped through".
int RunCases(const std::string& directory, int64_t stride, const Workload& workload, int64_t first,
             Failures failures) {
  // Once without failures: what is made once in a process is made now.
  RunCase(workload, directory, INT64_MAX, failures);
  for (int64_t n = first;; n += stride) {
    const int64_t live = LiveAllocations();
    const int64_t files = OpenFiles();
    Found found = RunCase(workload, directory, n, failures);
    const int64_t kept = LiveAllocations() - live;
    const int64_t open = OpenFiles() - files;
    if (kept != 0 || open != 0) {
      std::cerr << "  " << kept << " allocations were not freed, " << open
                << " descriptors not closed\n";
      ++found.wrong;
    }
    std::printf("%lld %d %d %d %d\n", static_cast<long long>(n), found.lost, found.wrong,
                int{found.stopped}, int{found.ran_through});
    std::fflush(stdout);
    if (found.ran_through) return 0;
  }
}

class Sweep {
 public:
  Sweep(std::string program, std::string directory, int64_t stride)
      : program_(std::move(program)), directory_(std::move(directory)), asked_(stride) {}

  void Run(const Workload& workload, Failures failures, int64_t first) {
    const int64_t checked_before = checked_, stopped_before = stopped_;
    int64_t next = first;
    stride_ = asked_ * workload.coarser;
    for (int dead = 0; next >= 0 && dead < kMostDead; ++dead)
      next = RunFrom(workload, failures, next);
    std::cout << fmt::format(
                     "{} {}: {} cases, every {}. allocation; {} times the directory failed\n",
                     workload.name, NameOf(failures), checked_ - checked_before, stride_,
                     stopped_ - stopped_before)
              << std::flush;
  }

  int Conclude() const {
    std::cout << fmt::format(
        "{} times the directory failed, and was opened anew\n"
        "harness=oom-sweep checked={} lost={} wrong={}\n",
        stopped_, checked_, lost_, wrong_);
    return checked_ > 0 && lost_ == 0 && wrong_ == 0 ? 0 : 1;
  }

 private:
  static std::string_view NameOf(Failures failures) {
    return failures == Failures::kOnce ? "once" : "on";
  }

  void Blame(const Workload& workload, Failures failures, int64_t n, std::string_view what) const {
    std::cerr << fmt::format("{}: allocation {} {}: {}\n", workload.name, n, NameOf(failures),
                             what);
  }

  // Where to go on; -1 when the workload has run through.
  int64_t RunFrom(const Workload& workload, Failures failures, int64_t first) {
    using harness::ChildProcess;
    ChildProcess child({program_, "--cases", directory_, std::to_string(stride_),
                        std::string(workload.name), std::to_string(first),
                        std::string(NameOf(failures))});
    int64_t n = first;
    for (;; n += stride_) {
      std::string line;
      const auto outcome = child.ReadLine(harness::SteadyClock::now() + kHangs, &line);
      long long at = 0;
      int lost = 0, wrong = 0, stopped = 0, through = 0;
      if (outcome != ChildProcess::Outcome::kLine ||
          std::sscanf(line.c_str(), "%lld %d %d %d %d", &at, &lost, &wrong, &stopped, &through) !=
              5) {
        const bool hangs = outcome == ChildProcess::Outcome::kTimeout;
        if (hangs) child.Kill();
        child.Wait();
        ++wrong_;
        ++checked_;
        Blame(workload, failures, n, hangs ? std::string("hangs") : child.HowItEnded());
        return n + stride_;
      }
      if (lost + wrong > 0)
        Blame(workload, failures, n, fmt::format("lost {}, wrong {}", lost, wrong));
      lost_ += lost;
      wrong_ += wrong;
      stopped_ += stopped;
      if (through != 0) break;
      ++checked_;
    }
    // A sanitizer that finds a leak says so at the end.
    if (child.Wait() != 0) {
      ++wrong_;
      Blame(workload, failures, n, child.HowItEnded());
    }
    return -1;
  }

  const std::string program_;
  const std::string directory_;
  const int64_t asked_;
  int64_t stride_ = 1;
  int64_t checked_ = 0, lost_ = 0, wrong_ = 0, stopped_ = 0;
};

}  // namespace
}  // namespace millrace::oom

int main(int argc, char** argv) {
  using namespace millrace::oom;  // NOLINT(google-build-using-namespace): a program, not a header
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto workloads = Workloads();
  if (arguments.size() == 6 && arguments[0] == "--cases") {
    const auto workload = std::ranges::find(workloads, arguments[3], &Workload::name);
    if (workload == workloads.end()) return 2;
    return RunCases(arguments[1], std::atoll(arguments[2].c_str()), *workload,
                    std::atoll(arguments[4].c_str()),
                    arguments[5] == "on" ? Failures::kFromThenOn : Failures::kOnce);
  }
  if (arguments.empty())
    return std::cerr << "usage: oom_sweep DIR [STRIDE [WORKLOAD [FIRST]]]\n", 2;
  const int64_t stride = arguments.size() > 1 ? std::max(1, std::atoi(arguments[1].c_str())) : 1;
  const int64_t first = arguments.size() > 3 ? std::max(0, std::atoi(arguments[3].c_str())) : 0;
  Sweep sweep("/proc/self/exe", arguments[0], stride);
  for (const Workload& workload : workloads) {
    if (arguments.size() > 2 && arguments[2] != workload.name) continue;
    sweep.Run(workload, Failures::kOnce, first);
    sweep.Run(workload, Failures::kFromThenOn, first);
  }
  return sweep.Conclude();
}
