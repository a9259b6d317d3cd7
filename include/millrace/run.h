// millrace/run.h - the consume loop that every service otherwise writes itself.
#pragma once
#include <initializer_list>
#include <stop_token>
#include <string>

#include "millrace/client.h"

namespace millrace {

enum class Ordering {
  kPartition,  // one record of a partition at a time
  kKey,        // one record of a key at a time; keys of a partition in parallel
  kNone
};

struct RunOptions {
  int workers = 1;
  Ordering order = Ordering::kPartition;
  size_t max_in_flight = 1000;  // back-pressure: partitions pause above it
  int max_attempts = 1;
  absl::Duration backoff = absl::Milliseconds(100);       // doubled each time, with jitter
  std::string dead_letter_topic = {};                     // after max_attempts; empty: Run returns the error
  absl::Duration drain_timeout = absl::Seconds(30);       // on revoke and on stop
};

// A record is done when the handler returns OK. The token is requested when the record's partition is
// being taken away, or Run is stopping: return early and the record goes to the next owner.
using Handler = absl::AnyInvocable<Status(const RecordView&, std::stop_token)>;

// Polls, dispatches, commits the contiguous prefix that is done, pauses for back-pressure, drains
// before a partition is handed over. Returns OK after `stop`, else the error that ended it.
Status Run(const Client& client, ConsumerOptions consumer, RunOptions options, Handler handler,
           std::stop_token stop = {});

// Opt-in convenience for main(): a token that is requested on the first of these signals. The only
// function in Millrace that touches signal handling; the second signal acts as if it weren't called.
std::stop_token StopOnSignals(std::initializer_list<int> signals);

}  // namespace millrace
