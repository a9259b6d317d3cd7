// The topic configs that Millrace knows, by Kafka's names. docs/configuration.md is the same table
// for readers; a test compares the two.
#include <fmt/format.h>

#include "broker/topic_config.h"

namespace millrace::broker {
namespace {

constexpr ConfigDefinition kTable[] = {
    {.name = "cleanup.policy",
     .type = "list",
     .default_value = "delete",
     .choices = "compact, delete",
     .documentation =
         "what happens to old records: delete expires them by age and size, compact keeps "
         "the last record of each key, and then every record needs a key"},
    {.name = "compression.gzip.level",
     .type = "int",
     .default_value = "-1",
     .min = -1,
     .max = 9,
     .documentation = "the level when compression.type is gzip; -1 and 0 are the codec's default"},
    {.name = "compression.lz4.level",
     .type = "int",
     .default_value = "9",
     .min = 1,
     .max = 17,
     .documentation = "the level when compression.type is lz4"},
    {.name = "compression.type",
     .type = "string",
     .default_value = "producer",
     .choices = "producer, uncompressed, gzip, snappy, lz4, zstd",
     .documentation = "how batches are stored: producer leaves them as they came, another codec "
                      "encodes those anew that came otherwise"},
    {.name = "compression.zstd.level",
     .type = "int",
     .default_value = "3",
     .min = -131072,
     .max = 22,
     .documentation = "the level when compression.type is zstd"},
    {.name = "delete.retention.ms",
     .type = "long",
     .default_value = "86400000",
     .min = 0,
     .documentation = "how long compaction keeps a tombstone, in milliseconds"},
    {.name = "file.delete.delay.ms",
     .type = "long",
     .default_value = "0",
     .min = 0,
     .documentation =
         "how long the files of an expired segment stay, in milliseconds (Kafka: 60000); "
         "readers here hold what they read, so nothing needs the delay"},
    {.name = "flush.messages",
     .type = "long",
     .default_value = "1",
     .min = 1,
     .documentation = "a sync is due after this many records (Kafka: never). With the flush policy "
                      "each batch, acks=all waits for that sync, at most flush.ms"},
    {.name = "flush.ms",
     .type = "long",
     .default_value = "9223372036854775807",
     .min = 0,
     .documentation = "a sync is due when a record has waited this long for one, in milliseconds; "
                      "unset, the broker's flush interval bounds the wait of flush.messages"},
    {.name = "index.interval.bytes",
     .type = "int",
     .default_value = "4096",
     .min = 0,
     .max = INT32_MAX,
     .documentation = "an index entry is written after at least this many bytes of the log"},
    {.name = "max.compaction.lag.ms",
     .type = "long",
     .default_value = "9223372036854775807",
     .min = 1,
     .documentation = "a record is compacted at the latest when it is this old, in milliseconds"},
    {.name = "max.message.bytes",
     .type = "int",
     .default_value = "1048588",
     .min = 0,
     .max = INT32_MAX,
     .documentation = "the largest batch that is taken, in bytes as stored"},
    {.name = "message.timestamp.after.max.ms",
     .type = "long",
     .default_value = "3600000",
     .min = 0,
     .documentation = "how far a record's timestamp may lie ahead of the broker's clock, in "
                      "milliseconds; for create time only"},
    {.name = "message.timestamp.before.max.ms",
     .type = "long",
     .default_value = "9223372036854775807",
     .min = 0,
     .documentation = "how far a record's timestamp may lie behind the broker's clock, in "
                      "milliseconds; for create time only"},
    {.name = "message.timestamp.type",
     .type = "string",
     .default_value = "CreateTime",
     .choices = "CreateTime, LogAppendTime",
     .documentation = "whose clock dates a record: the producer's, or the broker's at the append"},
    {.name = "min.cleanable.dirty.ratio",
     .type = "double",
     .default_value = "0.5",
     .min = 0,
     .max = 1,
     .documentation = "compaction starts when this share of the log is not compacted"},
    {.name = "min.compaction.lag.ms",
     .type = "long",
     .default_value = "0",
     .min = 0,
     .documentation = "a record younger than this is not compacted, in milliseconds"},
    {.name = "min.insync.replicas",
     .type = "int",
     .default_value = "1",
     .min = 1,
     .max = INT32_MAX,
     .documentation = "acks=all is refused while fewer replicas are in sync; at most the number of "
                      "replicas, which is one for a broker by itself"},
    {.name = "preallocate",
     .type = "boolean",
     .default_value = "false",
     .choices = "true, false",
     .documentation = "kept for Kafka's tools; files are never preallocated here"},
    {.name = "retention.bytes",
     .type = "long",
     .default_value = "-1",
     .min = -1,
     .documentation = "a partition that is larger loses its oldest segments; -1 is unlimited"},
    {.name = "retention.ms",
     .type = "long",
     .default_value = "604800000",
     .min = -1,
     .documentation =
         "a segment whose newest record is older is deleted, in milliseconds; -1 keeps "
         "records for ever"},
    {.name = "segment.bytes",
     .type = "int",
     .default_value = "1073741824",
     .min = 128,
     .max = INT32_MAX,
     .documentation = "the size at which the next segment is begun; no batch may be larger (Kafka "
                      "4 asks for at least 1048576)"},
    {.name = "segment.index.bytes",
     .type = "int",
     .default_value = "10485760",
     .min = 12,
     .max = INT32_MAX,
     .documentation = "the next segment is begun when an index has grown to this size"},
    {.name = "segment.jitter.ms",
     .type = "long",
     .default_value = "0",
     .min = 0,
     .documentation = "kept for Kafka's tools; segments are not rolled at random times here"},
    {.name = "segment.ms",
     .type = "long",
     .default_value = "604800000",
     .min = 1,
     .documentation =
         "the next segment is begun when the active one spans this time, in milliseconds, "
         "by its records' timestamps"},
    {.name = "unclean.leader.election.enable",
     .type = "boolean",
     .default_value = "false",
     .choices = "true, false",
     .documentation = "kept for clusters; a broker by itself has no election"},
};

}  // namespace

std::span<const ConfigDefinition> TopicConfigTable() { return kTable; }

std::string RangeText(const ConfigDefinition& definition) {
  if (definition.type == "list") return fmt::format("one or more of {}", definition.choices);
  if (!definition.choices.empty()) return fmt::format("one of {}", definition.choices);
  return fmt::format("[{}, {}]", definition.min, definition.max);
}

}  // namespace millrace::broker
