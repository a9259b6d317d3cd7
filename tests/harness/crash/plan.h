#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/kill_point.h"
#include "millrace/broker.h"

namespace millrace::harness {

// Ways in which a child can break the promises on purpose, to prove that the harness notices.
enum class Lie {
  kNone,
  kAckFirst,     // acknowledges a record before it sends it
  kSendTwice,    // sends a record again without saying so
  kOtherBytes,   // says other bytes than it sends
  kCommitFirst,  // says that offsets are committed before it commits them
  kSwap,         // sends two records in the other order than it says
};

// How long a lie about what is done stays one, so that a kill has a chance to come in between.
inline constexpr std::chrono::milliseconds kLieLasts{1};

// Of runs with Flush::kInterval.
inline constexpr absl::Duration kFlushInterval = absl::Milliseconds(5);

// What one run of the child does, drawn from its seed.
struct Plan {
  std::string directory;
  uint64_t seed = 0;
  int64_t first_process = 0;
  bool verify_only = false;  // reads everything, closes, and ends
  Lie lie = Lie::kNone;
  KillPoint kill_point = KillPoint::kNone;
  int64_t kill_at = 1;

  Flush flush = Flush::kEachBatch;
  absl::Duration flush_interval = kFlushInterval;
  int background_threads = 3;
  ProducerOptions producer;
  int producers = 1;
  int sends_per_producer = 20;    // operations
  int64_t records_per_send = 4;   // at most
  int members = 1;                // of the group that commits explicitly
  bool automatic_member = false;  // one of a group that commits on the next poll
  bool uses_admin = false;        // creates and deletes topics, deletes records
  int64_t segment_bytes = 4'096;
  enum class End { kClose, kExit, kAbandon } end = End::kExit;
};

// Reads the command line (crash/child.cc says how) and draws the rest.
Plan MakePlan(int argc, char** argv);
std::string Describe(const Plan& plan);

}  // namespace millrace::harness
