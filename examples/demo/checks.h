// What the demo claims, checked against the input file.
#pragma once
#include <optional>
#include <vector>

#include "millrace/broker.h"
#include "package_log.h"

namespace demo {

// What a reader should find: the events of each partition in the order of the file.
class Expectation {
 public:
  explicit Expectation(std::vector<Event> events);
  const std::vector<Event>& events() const { return events_; }
  int64_t count() const { return static_cast<int64_t>(events_.size()); }

  struct Part {
    int64_t count = 0;
    States states;
  };
  Part All() const;
  // From the first event of each partition that is not older than `time`.
  Part Since(absl::Time time) const;
  // From this offset of each partition on.
  Part From(const std::vector<millrace::Offset>& begin) const;
  // The time of the event at this fraction of the file.
  absl::Time TimeAt(double fraction) const;
  const Event& At(int32_t partition, millrace::Offset offset) const;

 private:
  std::vector<Event> events_;
  std::vector<std::vector<size_t>> by_partition_;  // indexes into events_
};

// The log holds each line of the file once, in order, where its key belongs.
millrace::Status CheckLog(const millrace::Client& client, const Expectation& expected);
// The workers' state is what the file says, and their group has committed everything.
millrace::Status CheckWorkersState(const millrace::Client& client, const Expectation& expected);

struct Replay {
  int64_t events = 0;
  double milliseconds = 0;
};
// A new group reads all, or from a time on, and must reach the state that the file says.
millrace::StatusOr<Replay> CheckReplay(const millrace::Client& client, const std::string& group,
                                       std::optional<absl::Time> from, const Expectation& expected);

struct Retention {
  bool virtual_clock = false;
  absl::Time now, cutoff;
  int64_t old = 0;  // events older than `cutoff`
  int64_t dropped = 0, kept = 0;
  int64_t bytes_before = 0, bytes_after = 0;
};
// Gives the topic the default retention of a week, lets time be such that a part of the log is
// older, and checks that nothing young was dropped and that what is kept can be read.
millrace::StatusOr<Retention> CheckRetention(const std::string& directory,
                                             const Expectation& expected);

}  // namespace demo
