#pragma once

#include <optional>
#include <string>
#include <vector>

#include "harness/crash/witness.h"
#include "harness/support/child_process.h"

namespace millrace::harness {

// When a run of the child is cut short: at the first of these that comes.
struct CutPlan {
  std::optional<SteadyClock::duration> after_start = {};
  // From when it has read everything and begins to work. A count of lines finds the child at work
  // on a slow machine, too.
  std::optional<SteadyClock::duration> after_ready = {};
  std::optional<uint64_t> lines_after_ready = {};
};

// The command line of the child.
struct ChildCommand {
  std::string program = {};
  std::string directory = {};
  std::string flush = "any";
  std::string lie = "none";
  std::string kill_point = {};  // empty: none
  int64_t kill_count = 1;
  uint64_t seed = 1;
  int64_t first_process = 0;
  uint64_t busy = 1;
  bool verify_only = false;

  std::vector<std::string> Words() const;
};

// Feeds the lines of a running child to the witness until the plan says to cut or the child ends.
// True: now is the time to cut. A child that does neither within a minute hangs: it is killed, and
// the witness told.
bool WatchChild(ChildProcess& child, const CutPlan& plan, Witness& witness);

// Reads what the child still writes, or had written when it was killed, and waits for it. Any end
// but exit code 0 and SIGKILL is wrong.
void FinishChild(ChildProcess& child, Witness& witness);

// Runs the child once more, to read everything and close. False: it could not.
bool VerifyDirectory(ChildCommand command, Witness& witness);

}  // namespace millrace::harness
