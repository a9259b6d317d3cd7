#pragma once

#include <cstdint>

#include "harness/crash/history_pipe.h"
#include "harness/crash/plan.h"
#include "millrace/client.h"

namespace millrace::harness {

// Creates topics and deletes them, deletes old records, changes configs: all that a kill must not
// leave half done.
void RunAdmin(const Client& client, const Plan& plan, uint64_t seed, HistoryPipe& pipe);

}  // namespace millrace::harness
