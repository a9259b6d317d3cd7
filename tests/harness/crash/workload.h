#pragma once

#include "harness/crash/history_pipe.h"
#include "harness/crash/plan.h"
#include "millrace/client.h"

namespace millrace::harness {

inline constexpr std::string_view kOrders = "orders";    // what the groups read
inline constexpr std::string_view kTrimmed = "trimmed";  // its oldest records are deleted

// Creates the topics that are not there yet.
void CreateTopics(const Client& client, const Plan& plan, HistoryPipe& pipe);

// Runs what the plan says, with a thread for every client, and returns when all of it is done.
// Everything that is invoked, acknowledged and read goes to the pipe at once.
void RunWorkload(const Client& client, const Plan& plan, HistoryPipe& pipe);

}  // namespace millrace::harness
