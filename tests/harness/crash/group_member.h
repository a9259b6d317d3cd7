#pragma once

#include <atomic>

#include "harness/crash/history_pipe.h"
#include "harness/crash/plan.h"
#include "millrace/client.h"

namespace millrace::harness {

// Members of consumer groups that read until `stop`. The first commits explicitly, and its commits
// are lines of the history; the second lets Poll commit, which may be written later than it is
// done.
void RunCommittingMember(const Client& client, const Plan& plan, const std::atomic<bool>& stop,
                         HistoryPipe& pipe);
void RunAutomaticMember(const Client& client, const std::atomic<bool>& stop, HistoryPipe& pipe);

}  // namespace millrace::harness
