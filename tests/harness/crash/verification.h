#pragma once

#include "harness/crash/history_pipe.h"
#include "millrace/client.h"

namespace millrace::harness {

inline constexpr std::string_view kWorkers = "workers";      // commits explicitly
inline constexpr std::string_view kAutomatic = "automatic";  // commits on the next poll

// Reads all that the directory holds and writes it to the pipe: the topics, each partition from its
// log start to its end, and what the groups have committed. The harness judges it.
void ReadEverything(const Client& client, HistoryPipe& pipe);

}  // namespace millrace::harness
