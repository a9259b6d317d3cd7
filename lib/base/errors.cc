#include "base/errors.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>

#include <absl/strings/cord.h>
#include <fmt/format.h>

#include "base/check.h"

namespace millrace {
namespace {

using enum absl::StatusCode;

constexpr ErrorInfo kTable[] = {
    // id, name, Abseil's code, Kafka's code, retriable, fatal
    {ErrorId::kInternal, "internal", kInternal, -1, false, false},
    {ErrorId::kInternalInvariant, "internal_invariant", kInternal, -1, false, true},
    {ErrorId::kInvalidArgument, "invalid_argument", kInvalidArgument, 42, false, false},
    {ErrorId::kInvalidConfig, "invalid_config", kInvalidArgument, 40, false, false},
    {ErrorId::kInvalidTopic, "invalid_topic", kInvalidArgument, 17, false, false},
    {ErrorId::kInvalidPartitions, "invalid_partitions", kInvalidArgument, 37, false, false},
    {ErrorId::kInvalidReplication, "invalid_replication", kInvalidArgument, 38, false, false},
    {ErrorId::kInvalidTimestamp, "invalid_timestamp", kInvalidArgument, 32, false, false},
    {ErrorId::kInvalidRecord, "invalid_record", kInvalidArgument, 87, false, false},
    {ErrorId::kInvalidGroup, "invalid_group", kInvalidArgument, 24, false, false},
    {ErrorId::kRecordTooLarge, "record_too_large", kInvalidArgument, 10, false, false},
    {ErrorId::kUnknownTopic, "unknown_topic", kNotFound, 3, false, false},
    {ErrorId::kUnknownPartition, "unknown_partition", kNotFound, 3, false, false},
    {ErrorId::kTopicExists, "topic_exists", kAlreadyExists, 36, false, false},
    {ErrorId::kOffsetOutOfRange, "offset_out_of_range", kOutOfRange, 1, false, false},
    {ErrorId::kCorruptMessage, "corrupt_message", kDataLoss, 2, true, false},
    {ErrorId::kCorruptLog, "corrupt_log", kDataLoss, 2, false, false},
    {ErrorId::kUnsupportedCompression, "unsupported_compression", kInvalidArgument, 76, false,
     false},
    {ErrorId::kUnsupportedVersion, "unsupported_version", kFailedPrecondition, 35, false, false},
    {ErrorId::kOutOfOrderSequence, "out_of_order_sequence", kFailedPrecondition, 45, false, false},
    {ErrorId::kInvalidProducerEpoch, "invalid_producer_epoch", kPermissionDenied, 47, false, true},
    {ErrorId::kNoSpace, "no_space", kResourceExhausted, 56, true, false},
    {ErrorId::kQuotaReached, "quota_reached", kResourceExhausted, 89, true, false},
    {ErrorId::kBufferFull, "buffer_full", kResourceExhausted, 89, true, false},
    {ErrorId::kOutOfMemory, "out_of_memory", kResourceExhausted, -1, true, false},
    {ErrorId::kPinnedTooMuch, "pinned_too_much", kResourceExhausted, 89, true, false},
    {ErrorId::kIoError, "io_error", kUnavailable, 56, false, false},
    {ErrorId::kDirectoryFailed, "directory_failed", kUnavailable, 57, false, true},
    {ErrorId::kNotFound, "not_found", kNotFound, -1, false, false},
    {ErrorId::kAlreadyOpen, "already_open", kFailedPrecondition, -1, false, false},
    {ErrorId::kReadOnly, "read_only", kFailedPrecondition, 29, false, false},
    {ErrorId::kClosed, "closed", kFailedPrecondition, -1, false, true},
    {ErrorId::kForked, "forked", kFailedPrecondition, -1, false, true},
    {ErrorId::kReentrant, "reentrant", kFailedPrecondition, -1, false, false},
    {ErrorId::kConcurrentUse, "concurrent_use", kFailedPrecondition, -1, false, false},
    {ErrorId::kOrphanData, "orphan_data", kFailedPrecondition, -1, false, false},
    {ErrorId::kUnknownMember, "unknown_member", kFailedPrecondition, 25, false, false},
    {ErrorId::kFencedMember, "fenced_member", kPermissionDenied, 110, false, false},
    {ErrorId::kStaleMemberEpoch, "stale_member_epoch", kPermissionDenied, 113, false, false},
    {ErrorId::kFencedInstance, "fenced_instance", kPermissionDenied, 82, false, true},
    {ErrorId::kUnreleasedInstance, "unreleased_instance", kFailedPrecondition, 111, true, false},
    {ErrorId::kUnsupportedAssignor, "unsupported_assignor", kInvalidArgument, 112, false, false},
    {ErrorId::kGroupNotFound, "group_not_found", kNotFound, 69, false, false},
    {ErrorId::kGroupNotEmpty, "group_not_empty", kFailedPrecondition, 68, false, false},
    {ErrorId::kGroupFull, "group_full", kResourceExhausted, 81, false, false},
    {ErrorId::kOffsetMetadataTooLarge, "offset_metadata_too_large", kInvalidArgument, 12, false,
     false},
    {ErrorId::kNotAssigned, "not_assigned", kFailedPrecondition, -1, false, false},
    {ErrorId::kNoOffset, "no_offset", kOutOfRange, 1, false, false},
    {ErrorId::kTimedOut, "timed_out", kDeadlineExceeded, 7, true, false},
    {ErrorId::kCancelled, "cancelled", kCancelled, -1, true, false},
    {ErrorId::kAborted, "aborted", kAborted, -1, false, false},
    {ErrorId::kCallbackThrew, "callback_threw", kAborted, -1, false, false},
    {ErrorId::kUnimplemented, "unimplemented", kUnimplemented, 35, false, false},
    {ErrorId::kUnavailable, "unavailable", kUnavailable, -1, true, false},
    {ErrorId::kPermissionDenied, "permission_denied", kPermissionDenied, 29, false, false},
    {ErrorId::kTooManyFiles, "too_many_files", kResourceExhausted, 56, true, false},
    {ErrorId::kAlreadyExists, "already_exists", kAlreadyExists, -1, false, false},
};

constexpr bool RowsAreInOrder() {
  for (size_t i = 0; i < std::size(kTable); ++i)
    if (static_cast<size_t>(kTable[i].id) != i) return false;
  return std::size(kTable) == static_cast<size_t>(ErrorId::kAlreadyExists) + 1;
}
static_assert(RowsAreInOrder(), "the table has one row for each ErrorId, in its order");

// The payload is text that says something where a status is printed with it, as its operator<<
// does: "no_space", "timed_out possibly_persisted partition=3 topic=orders".
constexpr char kPayloadUrl[] = "millrace";
constexpr std::string_view kPersistenceWords[] = {"", "possibly_persisted", "persisted"};
constexpr std::string_view kPartitionWord = "partition=";
constexpr std::string_view kTopicWord =
    "topic=";  // the last: a name that is refused holds anything

struct Payload {
  ErrorId id = ErrorId::kInternal;
  Persistence persistence = Persistence::kNotPersisted;
  int32_t partition = -1;
  std::string topic;
};

absl::Cord Format(const Payload& payload) {
  std::string text(InfoOf(payload.id).name);
  if (payload.persistence != Persistence::kNotPersisted)
    text += fmt::format(" {}", kPersistenceWords[static_cast<size_t>(payload.persistence)]);
  if (payload.partition != -1) text += fmt::format(" {}{}", kPartitionWord, payload.partition);
  if (!payload.topic.empty()) text += fmt::format(" {}{}", kTopicWord, payload.topic);
  return absl::Cord(text);
}

// The text up to the next space, which is taken from `rest`.
std::string_view TakeWord(std::string_view& rest) {
  const std::string_view word = rest.substr(0, rest.find(' '));
  rest.remove_prefix(std::min(rest.size(), word.size() + 1));
  return word;
}

bool ParsePayload(const absl::Status& status, Payload* out) {
  const auto cord = status.GetPayload(kPayloadUrl);
  if (!cord.has_value()) return false;
  const std::string text(*cord);
  std::string_view rest = text;
  const auto row = std::ranges::find(kTable, TakeWord(rest), &ErrorInfo::name);
  if (row == std::end(kTable)) return false;
  out->id = row->id;
  while (!rest.empty() && !rest.starts_with(kTopicWord)) {
    const std::string_view word = TakeWord(rest);
    const auto persistence = std::ranges::find(kPersistenceWords, word);
    if (persistence != std::end(kPersistenceWords)) {
      out->persistence = static_cast<Persistence>(persistence - std::begin(kPersistenceWords));
    } else if (word.starts_with(kPartitionWord)) {
      const char* const end = word.data() + word.size();
      const char* const digits = word.data() + kPartitionWord.size();
      if (std::from_chars(digits, end, out->partition).ptr != end) return false;
    } else {
      return false;
    }
  }
  if (!rest.empty()) out->topic = rest.substr(kTopicWord.size());
  return true;
}

}  // namespace

std::span<const ErrorInfo> ErrorTable() { return kTable; }

const ErrorInfo& InfoOf(ErrorId id) { return kTable[static_cast<size_t>(id)]; }

absl::Status MakeError(ErrorId id, std::string_view message, ErrorContext context) {
  const ErrorInfo& info = InfoOf(id);
  absl::Status status(info.status, absl::string_view(message.data(), message.size()));
  status.SetPayload(kPayloadUrl, Format({.id = id,
                                         .persistence = context.persistence,
                                         .partition = context.partition,
                                         .topic = std::string(context.topic)}));
  return status;
}

ErrorId ErrorIdOf(const absl::Status& status) {
  Payload payload;
  return ParsePayload(status, &payload) ? payload.id : ErrorId::kInternal;
}

absl::Status Annotate(const absl::Status& status, std::string_view prefix) {
  if (status.ok()) return status;
  const absl::string_view old = status.message();
  const std::string message =
      fmt::format("{}: {}", prefix, std::string_view(old.data(), old.size()));
  absl::Status annotated(status.code(), message);
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    annotated.SetPayload(url, payload);
  });
  return annotated;
}

absl::Status InPartition(const absl::Status& status, std::string_view topic, int32_t partition) {
  Payload payload;
  if (!ParsePayload(status, &payload) || !payload.topic.empty()) return status;
  payload.topic = topic;
  payload.partition = partition;
  absl::Status placed = status;
  placed.SetPayload(kPayloadUrl, Format(payload));
  return placed;
}

std::string Text(const absl::Status& status) {
  return status.ToString(absl::StatusToStringMode::kWithNoExtraData);
}

std::optional<ErrorDetail> DetailOf(const Status& s) {
  if (s.ok()) return std::nullopt;
  Payload payload;
  if (!ParsePayload(s, &payload)) return std::nullopt;
  const ErrorInfo& info = InfoOf(payload.id);
  return ErrorDetail{.name = info.name,
                     .code = info.kafka,
                     .retriable = info.retriable,
                     .fatal = info.fatal,
                     .persistence = payload.persistence,
                     .topic = std::move(payload.topic),
                     .partition = payload.partition};
}

}  // namespace millrace
