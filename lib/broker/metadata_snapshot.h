#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "millrace/topic_partition.h"
#include "record/batch_builder.h"
#include "schema/metadata_records.h"

// Records of metadata as bytes: batches of the metadata log, and snapshots of it. A snapshot is
// framed as Kafka's: a control batch that opens it, batches of records, a control batch that closes
// it; so a file that was not written to its end is known by its missing footer.
namespace millrace::broker {

// A snapshot holds all that stands below `end_offset` of the log, whose last record was of `epoch`.
struct SnapshotId {
  Offset end_offset = 0;
  int32_t epoch = 0;
  auto operator<=>(const SnapshotId&) const = default;
};
// "00000000000000000042-0000000007.checkpoint"
std::string SnapshotFileName(const SnapshotId& id);
std::optional<SnapshotId> ParseSnapshotFileName(std::string_view name);

// One batch that holds all of `records`, to be given its offset.
StatusOr<record::EncodedBatch> EncodeMetadataBatch(std::span<const schema::MetadataRecord> records,
                                                   int64_t timestamp_ms, BufferPool& pool);
// Calls `fn` for each metadata record of the batches in `bytes` from `from` on.
Status ForEachMetadataRecord(std::span<const std::byte> bytes, Offset from, BufferPool& pool,
                             const std::function<Status(const schema::MetadataRecord&)>& fn);

StatusOr<std::vector<std::byte>> EncodeSnapshot(std::span<const schema::MetadataRecord> records,
                                                int32_t epoch, int64_t timestamp_ms,
                                                BufferPool& pool);
// corrupt_log naming what is wrong with it.
StatusOr<std::vector<schema::MetadataRecord>> DecodeSnapshot(std::span<const std::byte> bytes,
                                                             BufferPool& pool);

}  // namespace millrace::broker
