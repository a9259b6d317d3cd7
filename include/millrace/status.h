// millrace/status.h - the error model.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace millrace {

using Status = absl::Status;
template <typename T>
using StatusOr = absl::StatusOr<T>;

// Kafka protocol error number (0 = none, -1 = unknown server error, 1.. = protocol), so a caller
// who knows Kafka can branch on the same code whichever backend produced it.
using ErrorCode = int;
namespace error {
inline constexpr ErrorCode kOffsetOutOfRange = 1;
inline constexpr ErrorCode kUnknownTopicOrPartition = 3;
inline constexpr ErrorCode kNotLeaderOrFollower = 6;
inline constexpr ErrorCode kRequestTimedOut = 7;
inline constexpr ErrorCode kMessageTooLarge = 10;
inline constexpr ErrorCode kIllegalGeneration = 22;
inline constexpr ErrorCode kRebalanceInProgress = 27;
inline constexpr ErrorCode kTopicAlreadyExists = 36;
inline constexpr ErrorCode kInvalidProducerEpoch = 47;
}  // namespace error

// What is known about a record whose delivery failed.
enum class Persistence { kNotPersisted, kPossiblyPersisted, kPersisted };

// Typed view of the payload that Millrace attaches to every non-OK Status.
struct ErrorDetail {
  std::string_view name;  // the row of docs/errors.md: "no_space"; lives as long as the program
  ErrorCode code = 0;
  bool retriable = false;       // the same call may succeed later
  bool requires_abort = false;  // the current transaction must be aborted
  bool fatal = false;           // this object is finished; make a new one
  Persistence persistence = Persistence::kNotPersisted;
  std::string topic;  // empty when the error isn't about a topic
  int partition = -1;
};

// nullopt when `s` is OK or did not come from Millrace.
std::optional<ErrorDetail> DetailOf(const Status& s);
inline bool IsRetriable(const Status& s) {
  auto d = DetailOf(s);
  return d && d->retriable;
}

}  // namespace millrace
