#include "broker/metadata_snapshot.h"

#include <charconv>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "record/batch.h"
#include "record/codec.h"
#include "record/for_each_record.h"
#include "record/record_reader.h"

namespace millrace::broker {
namespace {

constexpr int16_t kControlAttribute = 0x20;
// Types of KRaft's control records.
constexpr int16_t kSnapshotHeader = 3;
constexpr int16_t kSnapshotFooter = 4;
constexpr size_t kSnapshotBatchBytes = 1 << 20;
constexpr std::string_view kSuffix = ".checkpoint";

Status Damaged(std::string_view what) {
  return MakeError(ErrorId::kCorruptLog, fmt::format("the snapshot {}", what));
}

// A batch of one control record: KRaft's SnapshotHeaderRecord or SnapshotFooterRecord, version 0.
StatusOr<record::EncodedBatch> ControlBatch(int16_t type, int64_t timestamp_ms, BufferPool& pool) {
  ByteWriter key;
  key.Integer(int16_t{0});
  key.Integer(type);
  ByteWriter value;
  value.Integer(int16_t{0});
  if (type == kSnapshotHeader) value.Integer(timestamp_ms);
  value.UnsignedVarint(0);  // no tagged fields
  record::BatchBuilder builder(pool);
  builder.Append(timestamp_ms, Bytes(key.bytes()), Bytes(value.bytes()));
  MILLRACE_ASSIGN_OR_RETURN(record::EncodedBatch batch, builder.Finish());
  MILLRACE_ASSIGN_OR_RETURN(record::BatchHeader header, record::ParseHeader(batch.bytes()));
  header.attributes |= kControlAttribute;
  record::StoreHeader(header, batch.bytes().data());
  header.crc = record::ComputeCrc(batch.bytes());
  record::StoreHeader(header, batch.bytes().data());
  return batch;
}

// Walks the batches of a snapshot, which follow one another without a gap.
class SnapshotReader {
 public:
  SnapshotReader(std::span<const std::byte> bytes, BufferPool& pool) : rest_(bytes), pool_(pool) {}

  StatusOr<std::vector<schema::MetadataRecord>> Read() {
    MILLRACE_RETURN_IF_ERROR(Control(kSnapshotHeader));
    std::vector<schema::MetadataRecord> records;
    while (true) {
      MILLRACE_RETURN_IF_ERROR(Next());
      if (header_.is_control()) break;
      MILLRACE_RETURN_IF_ERROR(
          ForEachMetadataRecord(batch_, header_.base_offset, pool_, [&](const auto& record) {
            records.push_back(record);
            return absl::OkStatus();
          }));
    }
    MILLRACE_RETURN_IF_ERROR(CheckControl(kSnapshotFooter));
    if (!rest_.empty()) return Damaged(fmt::format("has {} bytes after its footer", rest_.size()));
    return records;
  }

 private:
  Status Next() {
    if (rest_.empty()) return Damaged("ends before its footer");
    MILLRACE_ASSIGN_OR_RETURN(header_, record::ParseHeader(rest_));
    if (header_.size_bytes() > rest_.size() || header_.base_offset != next_offset_) {
      return Damaged(
          fmt::format("has a batch at offset {} with {} bytes where offset {} with at "
                      "most {} bytes must stand",
                      header_.base_offset, header_.size_bytes(), next_offset_, rest_.size()));
    }
    batch_ = rest_.first(header_.size_bytes());
    rest_ = rest_.subspan(header_.size_bytes());
    next_offset_ = header_.next_offset();
    return record::CheckCrc(header_, batch_);
  }
  Status Control(int16_t type) {
    MILLRACE_RETURN_IF_ERROR(Next());
    return CheckControl(type);
  }
  Status CheckControl(int16_t type) {
    MILLRACE_ASSIGN_OR_RETURN(const record::Payload payload,
                              record::ExpandedPayload(header_, batch_, kSnapshotBatchBytes, pool_));
    record::RecordReader reader(header_, payload.records);
    record::RecordFields fields;
    if (!header_.is_control() || !reader.Next(&fields)) return Damaged("has no control record");
    ByteReader key(fields.key.span());
    key.Integer<int16_t>();
    const auto found = key.Integer<int16_t>();
    if (!key.ok() || found != type) {
      return Damaged(fmt::format("has control record type {} where {} must stand", found, type));
    }
    return absl::OkStatus();
  }

  std::span<const std::byte> rest_;
  BufferPool& pool_;
  record::BatchHeader header_;
  std::span<const std::byte> batch_;
  Offset next_offset_ = 0;
};

template <typename T>
bool ParseDigits(std::string_view text, T* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  // No sign, not even before zero.
  return error == std::errc() && end == text.data() + text.size() && !text.starts_with('-');
}

}  // namespace

std::string SnapshotFileName(const SnapshotId& id) {
  return fmt::format("{:020}-{:010}{}", id.end_offset, id.epoch, kSuffix);
}

std::optional<SnapshotId> ParseSnapshotFileName(std::string_view name) {
  SnapshotId id;
  if (name.size() != 20 + 1 + 10 + kSuffix.size() || !name.ends_with(kSuffix) || name[20] != '-' ||
      !ParseDigits(name.substr(0, 20), &id.end_offset) ||
      !ParseDigits(name.substr(21, 10), &id.epoch)) {
    return std::nullopt;
  }
  return id;
}

StatusOr<record::EncodedBatch> EncodeMetadataBatch(std::span<const schema::MetadataRecord> records,
                                                   int64_t timestamp_ms, BufferPool& pool) {
  record::BatchBuilder builder(pool);
  for (const schema::MetadataRecord& record : records) {
    MILLRACE_ASSIGN_OR_RETURN(const std::vector<std::byte> value,
                              schema::EncodeMetadataRecord(record));
    builder.Append(timestamp_ms, Bytes(), Bytes(std::span<const std::byte>(value)));
  }
  return builder.Finish();
}

Status ForEachMetadataRecord(std::span<const std::byte> bytes, Offset from, BufferPool& pool,
                             const std::function<Status(const schema::MetadataRecord&)>& fn) {
  return record::ForEachRecord(bytes, record::RecordLimits{}.max_uncompressed_bytes, pool,
                               [&](const record::RecordFields& fields) -> Status {
                                 if (fields.offset < from) return absl::OkStatus();
                                 const auto decoded =
                                     schema::DecodeMetadataRecord(fields.value.span());
                                 Status status = decoded.ok() ? fn(*decoded) : decoded.status();
                                 if (status.ok()) return status;
                                 return Annotate(status, fmt::format("offset {}", fields.offset));
                               });
}

StatusOr<std::vector<std::byte>> EncodeSnapshot(std::span<const schema::MetadataRecord> records,
                                                int32_t epoch, int64_t timestamp_ms,
                                                BufferPool& pool) {
  std::vector<std::byte> out;
  Offset next = 0;
  const auto add = [&](StatusOr<record::EncodedBatch> batch) -> Status {
    MILLRACE_RETURN_IF_ERROR(batch.status());
    record::AssignOffset(batch->bytes().data(), next, epoch);
    next += batch->record_count;
    out.insert(out.end(), batch->bytes().begin(), batch->bytes().end());
    return absl::OkStatus();
  };
  MILLRACE_RETURN_IF_ERROR(add(ControlBatch(kSnapshotHeader, timestamp_ms, pool)));
  constexpr size_t kRecordsABatch = 1000;
  for (size_t i = 0; i < records.size(); i += kRecordsABatch) {
    const auto some = records.subspan(i, std::min(kRecordsABatch, records.size() - i));
    MILLRACE_RETURN_IF_ERROR(add(EncodeMetadataBatch(some, timestamp_ms, pool)));
  }
  MILLRACE_RETURN_IF_ERROR(add(ControlBatch(kSnapshotFooter, timestamp_ms, pool)));
  return out;
}

StatusOr<std::vector<schema::MetadataRecord>> DecodeSnapshot(std::span<const std::byte> bytes,
                                                             BufferPool& pool) {
  return SnapshotReader(bytes, pool).Read();
}

}  // namespace millrace::broker
