#include "broker/prepare_batch.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "record/codec.h"

namespace millrace::broker {
namespace {

std::string Label(const TopicPartition& name) {
  return fmt::format("{}-{}", name.topic, name.partition);
}

// a - b, held within the range of the type.
int64_t SaturatingSubtract(int64_t a, int64_t b) {
  int64_t result = 0;
  if (__builtin_sub_overflow(a, b, &result)) return b > 0 ? INT64_MIN : INT64_MAX;
  return result;
}
int64_t SaturatingAdd(int64_t a, int64_t b) {
  int64_t result = 0;
  if (__builtin_add_overflow(a, b, &result)) return b > 0 ? INT64_MAX : INT64_MIN;
  return result;
}

Status BadTimestamp(const TopicPartition& name, int64_t timestamp_ms, std::string_view allowed) {
  return MakeError(ErrorId::kInvalidTimestamp,
                   fmt::format("{}: a record's timestamp is {} ms; allowed: {}", Label(name),
                               timestamp_ms, allowed),
                   {.topic = name.topic, .partition = name.partition});
}

// What the header says of timestamps; for a batch of this process that is what its records say.
Status CheckTimestamps(const record::BatchHeader& header, const TopicConfig& config, int64_t now_ms,
                       const TopicPartition& name) {
  const int64_t least = std::min(header.base_timestamp_ms, header.max_timestamp_ms);
  if (least < 0) return BadTimestamp(name, least, "0 and more");
  const int64_t latest = SaturatingAdd(now_ms, config.timestamp_after_max_ms);
  if (header.max_timestamp_ms > latest) {
    return BadTimestamp(
        name, header.max_timestamp_ms,
        fmt::format("at most {}, the broker's clock and message.timestamp.after.max.ms = {}",
                    latest, config.timestamp_after_max_ms));
  }
  return absl::OkStatus();
}

record::RecordLimits LimitsOf(const TopicConfig& config, int64_t now_ms) {
  record::RecordLimits limits;
  limits.require_keys = config.compact;
  if (config.log_append_time) return limits;
  limits.latest_timestamp_ms = SaturatingAdd(now_ms, config.timestamp_after_max_ms);
  // Kafka lets -1, "no timestamp", pass whatever the limit.
  if (config.timestamp_before_max_ms != INT64_MAX) {
    limits.earliest_timestamp_ms = SaturatingSubtract(now_ms, config.timestamp_before_max_ms);
  } else {
    limits.earliest_timestamp_ms = record::kNoTimestamp;
  }
  return limits;
}

// The same records in another codec; everything else of the header is kept.
Status Recompress(const record::BatchHeader& header, const TopicConfig& config, BufferPool& pool,
                  PreparedBatch* prepared) {
  MILLRACE_ASSIGN_OR_RETURN(
      const record::Payload payload,
      record::ExpandedPayload(header, prepared->bytes,
                              record::RecordLimits{}.max_uncompressed_bytes, pool));
  const record::Codec codec = *config.compression;
  record::SizedBuffer packed;
  if (codec == record::Codec::kNone) {
    packed.size_bytes = record::kHeaderBytes + payload.records.size();
    packed.buffer = pool.Get(packed.size_bytes);
    std::memcpy(packed.buffer.data() + record::kHeaderBytes, payload.records.data(),
                payload.records.size());
  } else {
    MILLRACE_ASSIGN_OR_RETURN(
        packed, record::Compress(codec, config.compression_level, payload.records, pool,
                                 record::kHeaderBytes));
  }
  const std::span<std::byte> bytes(packed.buffer.data(), packed.size_bytes);
  record::BatchHeader changed = header;
  changed.batch_length = static_cast<int32_t>(bytes.size() - record::kLogOverheadBytes);
  changed.attributes = static_cast<int16_t>((header.attributes & ~7) | static_cast<int16_t>(codec));
  record::StoreHeader(changed, bytes.data());
  changed.crc = record::ComputeCrc(bytes);
  record::StoreHeader(changed, bytes.data());
  prepared->payload_crc = record::PayloadCrc(bytes);
  prepared->bytes = bytes;
  prepared->owner = std::move(packed.buffer);
  return absl::OkStatus();
}

// A client's batch may say anything; and so may a header about its own records.
Status ValidateForeign(const record::BatchHeader& header, const AppendOptions& options,
                       const AppendContext& to, PreparedBatch* prepared) {
  if (!options.in_process && header.is_control()) {
    return MakeError(
        ErrorId::kInvalidRecord,
        fmt::format("{}: control batches are written by the broker alone", Label(to.name)),
        {.topic = to.name.topic, .partition = to.name.partition});
  }
  MILLRACE_RETURN_IF_ERROR(record::CheckCrc(header, prepared->bytes));
  record::RecordLimits limits = LimitsOf(to.config, absl::ToUnixMillis(to.now));
  if (header.is_control()) limits = {};
  record::RecordSummary summary;
  MILLRACE_RETURN_IF_ERROR(
      record::ValidateRecords(header, prepared->bytes, limits, to.pool, &summary));
  prepared->payload_crc = record::PayloadCrc(prepared->bytes);
  if (!header.is_control() && !to.config.log_append_time &&
      summary.max_timestamp_ms != header.max_timestamp_ms) {
    record::AssignMaxTimestamp(prepared->bytes.data(), summary.max_timestamp_ms,
                               prepared->payload_crc);
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<PreparedBatch> PrepareBatch(const record::EncodedBatch& batch,
                                     const AppendOptions& options, const AppendContext& to) {
  const TopicConfig& config = to.config;
  auto parsed = record::ParseHeader(batch.bytes());
  if (!parsed.ok()) return Annotate(parsed.status(), Label(to.name));
  const record::BatchHeader& header = *parsed;
  if (header.size_bytes() != batch.size_bytes) {
    return MakeError(ErrorId::kInvalidRecord,
                     fmt::format("{}: {} bytes were given, but the batch says that it has {}; one "
                                 "batch at a time is taken",
                                 Label(to.name), batch.size_bytes, header.size_bytes()),
                     {.topic = to.name.topic, .partition = to.name.partition});
  }
  PreparedBatch prepared{.bytes = batch.bytes(),
                         .owner = {},
                         .payload_crc = batch.payload_crc,
                         .record_count = header.record_count,
                         .is_control = header.is_control(),
                         .log_append_time_ms = {}};
  const int64_t now_ms = absl::ToUnixMillis(to.now);
  const bool walk = !options.in_process || prepared.is_control || config.compact ||
                    (!config.log_append_time && config.timestamp_before_max_ms != INT64_MAX);
  if (walk) {
    Status valid = ValidateForeign(header, options, to, &prepared);
    if (!valid.ok()) return Annotate(valid, Label(to.name));
  }
  if (prepared.is_control) return prepared;
  if (config.log_append_time) {
    prepared.log_append_time_ms = now_ms;
  } else if (options.in_process) {
    MILLRACE_RETURN_IF_ERROR(CheckTimestamps(header, config, now_ms, to.name));
  }
  if (config.compression.has_value() && *config.compression != header.codec()) {
    // Parsed again: validation may have corrected the header.
    MILLRACE_ASSIGN_OR_RETURN(const record::BatchHeader current,
                              record::ParseHeader(prepared.bytes));
    MILLRACE_RETURN_IF_ERROR(Recompress(current, config, to.pool, &prepared));
  }
  return prepared;
}

}  // namespace millrace::broker
