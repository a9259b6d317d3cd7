// The part of the demo that runs in a process of its own, so that it can be killed.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>

#include "millrace/status.h"

namespace demo {

// In the child: appends the lines of `input` that are not in the log yet, at a pace that leaves
// time to be killed, while three workers build the state of the packages. `hang`: one of them stops
// polling on the way. Says on standard output what happens, a line each, for RunStreaming.
millrace::Status StreamHere(const std::string& directory, const std::string& input, bool hang);

// What a child said.
struct StreamingReport {
  bool killed = false;
  double open_ms = 0;
  int64_t found = 0;                    // events in the log when it opened
  std::string assigned;                 // "1: 0 1, 2: 2 3, 3: 4 5"
  int64_t held = 0;                     // records that the hung worker had polled
  double takeover_seconds = 0;          // from its last poll until the others had its partitions
  std::string taken_over;               // the assignment then
  int64_t appended = 0, worked_on = 0;  // as last said
  int64_t delivered_again = 0;          // records that the state knew already
};

// In the parent: runs StreamHere in a child, and kills it with SIGKILL once it has appended
// `kill_after` events (0: lets it end). An error when it fails by itself.
millrace::StatusOr<StreamingReport> RunStreaming(const std::string& directory,
                                                 const std::string& input, bool hang,
                                                 int64_t kill_after);

}  // namespace demo
