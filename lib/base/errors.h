#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "millrace/status.h"

namespace millrace {

// Every kind of error that Millrace answers; the table in errors.cc gives each its name, its Abseil
// code, Kafka's code and whether a retry may help. docs/errors.md is printed from the same table.
enum class ErrorId : uint8_t {
  kInternal,
  kInternalInvariant,
  kInvalidArgument,
  kInvalidConfig,
  kInvalidTopic,
  kInvalidPartitions,
  kInvalidReplication,
  kInvalidTimestamp,
  kInvalidRecord,
  kInvalidGroup,
  kRecordTooLarge,
  kUnknownTopic,
  kUnknownPartition,
  kTopicExists,
  kOffsetOutOfRange,
  kCorruptMessage,
  kCorruptLog,
  kUnsupportedCompression,
  kUnsupportedVersion,
  kOutOfOrderSequence,
  kInvalidProducerEpoch,
  kNoSpace,
  kQuotaReached,
  kBufferFull,
  kOutOfMemory,
  kPinnedTooMuch,
  kIoError,
  kDirectoryFailed,
  kNotFound,
  kAlreadyOpen,
  kReadOnly,
  kClosed,
  kForked,
  kReentrant,
  kConcurrentUse,
  kOrphanData,
  kUnknownMember,
  kFencedMember,
  kStaleMemberEpoch,
  kFencedInstance,
  kUnreleasedInstance,
  kUnsupportedAssignor,
  kGroupNotFound,
  kGroupNotEmpty,
  kGroupFull,
  kOffsetMetadataTooLarge,
  kNotAssigned,
  kNoOffset,
  kTimedOut,
  kCancelled,
  kAborted,
  kCallbackThrew,
  kUnimplemented,
  kUnavailable,
  kPermissionDenied,
  kTooManyFiles,
  kAlreadyExists,
};

struct ErrorInfo {
  ErrorId id;
  std::string_view name;  // "no_space": stable, for logs and scripts
  absl::StatusCode status;
  ErrorCode kafka;  // Kafka's protocol error number
  bool retriable;
  bool fatal;
};

std::span<const ErrorInfo> ErrorTable();
const ErrorInfo& InfoOf(ErrorId id);

// Where an error belongs, when it is about a topic, and what is known of the data.
struct ErrorContext {
  std::string_view topic = {};
  int32_t partition = -1;
  Persistence persistence = Persistence::kNotPersisted;
};

// The status for `id`, with the payload that DetailOf reads. `message` is written by the rules of
// style.md: no capital, no full stop; the thing, the place, what was found, what is allowed.
absl::Status MakeError(ErrorId id, std::string_view message, ErrorContext context = {});

// The row of a status made by MakeError; kInternal for any other error.
ErrorId ErrorIdOf(const absl::Status& status);

// `status` with `prefix: ` put before its message; the payload is kept.
absl::Status Annotate(const absl::Status& status, std::string_view prefix);

// `status` with the place where it belongs in its payload, unless that names one already.
absl::Status InPartition(const absl::Status& status, std::string_view topic, int32_t partition);

// The error as people read it, without the payload that DetailOf reads.
std::string Text(const absl::Status& status);

}  // namespace millrace
