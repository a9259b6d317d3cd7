// millrace/run.h - the consume loop that every service otherwise writes itself.
#pragma once
#include <cstddef>
#include <initializer_list>
#include <stop_token>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "millrace/client.h"

namespace millrace {

enum class Ordering {
  kPartition,  // one record of a partition at a time
  kKey,        // one record of a key at a time; keys of a partition in parallel
  kNone
};

struct RunOptions {
  int workers = 1;  // threads that call the handler, beside the one that calls Run
  Ordering order = Ordering::kPartition;
  size_t max_in_flight = 1000;                       // back-pressure: no more is polled above it
  int max_attempts = 1;                              // calls of the handler for one record
  absl::Duration backoff = absl::Milliseconds(100);  // doubled each time, with jitter
  // Where a record goes after max_attempts, with its key, value and headers, and the headers
  // millrace.error, millrace.topic, millrace.partition and millrace.offset added. Empty: Run
  // returns the error.
  std::string dead_letter_topic = {};
  absl::Duration drain_timeout = absl::Seconds(30);  // on revoke and on stop
};

// A record is done when the handler returns OK. The token is requested when the record's partition
// is being taken away, or Run is stopping: return early with an error and the record goes to the
// next owner. Called from `workers` threads at once. An exception counts as an error
// (callback_threw).
using Handler = absl::AnyInvocable<Status(const RecordView&, std::stop_token)>;

// Polls, dispatches, commits the contiguous prefix that is done (Commits::kMarked, whatever
// `consumer` says), waits for back-pressure, drains before a partition is handed over. Returns OK
// after `stop`, else the error that ended it. Needs consumer.group; consumer.listener is called
// too.
Status Run(const Client& client, ConsumerOptions consumer, RunOptions options, Handler handler,
           std::stop_token stop = {});

// Opt-in convenience for main(): a token that is requested on the first of these signals. The only
// function in Millrace that touches signal handling; the second signal acts as if it weren't
// called. Call it once, before other threads start.
std::stop_token StopOnSignals(std::initializer_list<int> signals);

}  // namespace millrace
