#include "harness/crash/run_child.h"

#include <algorithm>

#include <fmt/format.h>

namespace millrace::harness {

constexpr auto kPatience = std::chrono::seconds(60);

std::vector<std::string> ChildCommand::Words() const {
  std::vector<std::string> words = {program,
                                    "--dir",
                                    directory,
                                    "--seed",
                                    std::to_string(seed),
                                    "--first-process",
                                    std::to_string(first_process),
                                    "--flush",
                                    flush,
                                    "--lie",
                                    lie,
                                    "--busy",
                                    std::to_string(busy)};
  if (verify_only) words.insert(words.end(), {"--verify-only", "1"});
  if (!kill_point.empty()) {
    words.insert(words.end(),
                 {"--kill-at", kill_point, "--kill-count", std::to_string(kill_count)});
  }
  return words;
}

bool WatchChild(ChildProcess& child, const CutPlan& plan, Witness& witness) {
  const auto start = SteadyClock::now();
  const auto patience_ends = start + kPatience;
  auto cut_at = patience_ends;
  if (plan.after_start) cut_at = start + *plan.after_start;
  std::optional<uint64_t> lines_left;
  std::string line;
  for (;;) {
    const auto outcome = child.ReadLine(cut_at, &line);
    if (outcome == ChildProcess::Outcome::kEnd) return false;
    if (outcome == ChildProcess::Outcome::kLine) {
      const bool was_ready = witness.ready();
      witness.Add(line);
      if (witness.ready() && !was_ready) {
        lines_left = plan.lines_after_ready;
        if (plan.after_ready) cut_at = SteadyClock::now() + *plan.after_ready;
      } else if (lines_left && --*lines_left == 0) {
        return true;
      }
    }
    if (SteadyClock::now() < cut_at) continue;
    if (cut_at < patience_ends) return true;
    witness.Wrong("the child hangs");
    child.Kill();
    return false;
  }
}

void FinishChild(ChildProcess& child, Witness& witness) {
  std::string line;
  while (child.ReadLine(SteadyClock::now() + kPatience, &line) == ChildProcess::Outcome::kLine) {
    witness.Add(line);
  }
  const int status = child.Wait();
  // Under a power cut it may have ended by itself, with errors.
  if (status != 0 && !child.WasKilled() && !witness.power_was_cut()) {
    witness.Wrong(fmt::format("the child ended with {}", child.HowItEnded()));
  }
  witness.RunIsOver();
}

bool VerifyDirectory(ChildCommand command, Witness& witness) {
  command.verify_only = true;
  command.kill_point.clear();
  const uint64_t readings = witness.readings();
  witness.BeginRun(ExpectedState::Durability::kSynced);
  ChildProcess child(command.Words());
  WatchChild(child, {}, witness);
  FinishChild(child, witness);
  return witness.readings() > readings;
}

}  // namespace millrace::harness
