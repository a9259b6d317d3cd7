#include "cli/log_dump.h"

#include <charconv>
#include <iterator>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "base/byte_reader.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "cli/batch_scan.h"
#include "cli/json.h"
#include "record/codec.h"
#include "record/record_reader.h"

namespace millrace::cli {
namespace {

std::string_view BaseName(std::string_view path) {
  return path.substr(path.find_last_of('/') + 1);  // npos + 1 is 0
}

std::string_view TimestampType(const record::BatchHeader& header) {
  return header.is_log_append_time() ? "LogAppendTime" : "CreateTime";
}

void AppendBatchLine(const ScannedBatch& batch, bool valid, std::string* text) {
  const record::BatchHeader& header = batch.header;
  fmt::format_to(
      std::back_inserter(*text),
      "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} "
      "producerId: {} producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} "
      "isControl: {} deleteHorizonMs: {} position: {} {}: {} size: {} magic: {} "
      "compresscodec: {} crc: {} isvalid: {}\n",
      header.base_offset, header.last_offset(), header.record_count, header.base_sequence,
      header.last_sequence(), header.producer_id, header.producer_epoch, header.leader_epoch,
      header.is_transactional(), header.is_control(),
      header.has_delete_horizon() ? fmt::format("OptionalLong[{}]", header.base_timestamp_ms)
                                  : "OptionalLong.empty",
      batch.position, TimestampType(header), header.max_timestamp_ms, header.size_bytes(),
      header.magic, Name(header.codec()), header.crc, valid);
}

void BatchAsJson(const ScannedBatch& batch, bool valid, JsonWriter& json) {
  const record::BatchHeader& header = batch.header;
  json.Key("base_offset").Number(header.base_offset);
  json.Key("last_offset").Number(header.last_offset()).Key("count").Number(header.record_count);
  json.Key("base_sequence").Number(header.base_sequence);
  json.Key("producer_id").Number(header.producer_id);
  json.Key("producer_epoch").Number(header.producer_epoch);
  json.Key("leader_epoch").Number(header.leader_epoch);
  json.Key("transactional").Bool(header.is_transactional());
  json.Key("control").Bool(header.is_control());
  json.Key("position").Number(static_cast<int64_t>(batch.position));
  json.Key("size").Number(static_cast<int64_t>(header.size_bytes()));
  json.Key("timestamp_type").Text(TimestampType(header));
  json.Key("max_timestamp").Number(header.max_timestamp_ms);
  json.Key("compression").Text(Name(header.codec())).Key("crc").Number(header.crc);
  json.Key("valid").Bool(valid);
}

int64_t SizeOf(Bytes bytes) { return bytes.is_null() ? -1 : static_cast<int64_t>(bytes.size()); }

int32_t SequenceOf(const record::BatchHeader& header, const record::RecordFields& fields) {
  if (header.base_sequence == record::kNoSequence) return record::kNoSequence;
  return record::AddToSequence(header.base_sequence,
                               static_cast<int32_t>(fields.offset - header.base_offset));
}

// The key of a control record is its version and its type. Of the types, transaction markers and
// what frames a metadata snapshot are written by a broker alone; the others need a quorum.
void AppendControl(const record::RecordFields& fields, std::string* text) {
  static constexpr std::string_view kNames[] = {
      "ABORT",           "COMMIT",        "LEADER_CHANGE", "SNAPSHOT_HEADER",
      "SNAPSHOT_FOOTER", "KRAFT_VERSION", "KRAFT_VOTERS"};
  ByteReader key(fields.key.span());
  key.Integer<int16_t>();
  const auto type = key.Integer<int16_t>();
  const bool known = key.ok() && type >= 0 && type < static_cast<int16_t>(std::size(kNames));
  const std::string_view name = known ? kNames[type] : "UNKNOWN";
  ByteReader value(fields.value.span());
  const auto version = value.Integer<int16_t>();
  if (name == "ABORT" || name == "COMMIT") {
    *text += fmt::format(" endTxnMarker: {} coordinatorEpoch: {}", name, value.Integer<int32_t>());
  } else if (name == "SNAPSHOT_HEADER") {
    *text += fmt::format(R"( SnapshotHeader {{"version":{},"lastContainedLogTimestamp":{}}})",
                         version, value.Integer<int64_t>());
  } else if (name == "SNAPSHOT_FOOTER") {
    *text += fmt::format(R"( SnapshotFooter {{"version":{}}})", version);
  } else {
    *text += fmt::format(" controlType: {}({})", name, type);
  }
}

void AppendRecordLine(const record::BatchHeader& header, const record::RecordFields& fields,
                      bool contents, std::string* text) {
  fmt::format_to(std::back_inserter(*text),
                 "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {} headerKeys: [",
                 fields.offset, TimestampType(header), fields.timestamp_ms, SizeOf(fields.key),
                 SizeOf(fields.value), SequenceOf(header, fields));
  record::HeaderReader headers(fields);
  std::string_view name;
  Bytes value;
  for (bool first = true; headers.Next(&name, &value); first = false) {
    if (!first) *text += ',';
    *text += ToUtf8(name);
  }
  *text += ']';
  if (header.is_control()) {
    AppendControl(fields, text);
  } else if (contents) {
    if (!fields.key.is_null()) *text += " key: " + ToUtf8(fields.key.str());
    if (!fields.value.is_null()) *text += " payload: " + ToUtf8(fields.value.str());
  }
  *text += '\n';
}

void RecordAsJson(const record::BatchHeader& header, const record::RecordFields& fields,
                  bool contents, JsonWriter& json) {
  json.BeginObject().Key("offset").Number(fields.offset);
  json.Key("timestamp").Number(fields.timestamp_ms);
  json.Key("key_size").Number(SizeOf(fields.key)).Key("value_size").Number(SizeOf(fields.value));
  json.Key("sequence").Number(SequenceOf(header, fields));
  if (contents) json.Payload("key", fields.key).Payload("value", fields.value);
  json.Key("headers").BeginArray();
  record::HeaderReader headers(fields);
  std::string_view name;
  Bytes value;
  while (headers.Next(&name, &value)) {
    json.BeginObject().Key("name").Text(name);
    if (contents) json.Payload("value", value);
    json.End();
  }
  json.End().End();
}

// Prints the batches of one segment and remembers what is wrong with it.
class SegmentDump {
 public:
  SegmentDump(std::string path, const DumpOptions& options, Output& out)
      : path_(std::move(path)), options_(options), out_(out) {}

  Status Run(File& file) {
    BatchScanner scanner(file, path_);
    for (;;) {
      const auto batch = scanner.Next();
      if (!batch.ok()) {
        Damaged(batch.status());
        break;
      }
      if (!batch->has_value()) break;
      MILLRACE_RETURN_IF_ERROR(PrintBatch(**batch));
    }
    MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
    if (size > scanner.position()) {
      const std::string found = fmt::format("Found {} invalid bytes at the end of {}",
                                            size - scanner.position(), BaseName(path_));
      if (!options_.json) out_.Line(found);
      Damaged(MakeError(ErrorId::kCorruptLog,
                        fmt::format("{}: no whole batch at byte {}, {} bytes before the end", path_,
                                    scanner.position(), size - scanner.position())));
    }
    return damage_;
  }

 private:
  Status PrintBatch(const ScannedBatch& batch) {
    const Status crc = record::CheckCrc(batch.header, batch.bytes);
    if (!crc.ok()) Damaged(Annotate(crc, fmt::format("{}: at byte {}", path_, batch.position)));
    JsonWriter json;
    text_.clear();
    if (options_.json) {
      json.BeginObject().Key("file").Text(path_);
      BatchAsJson(batch, crc.ok(), json);
      if (options_.deep) json.Key("records").BeginArray();
    } else {
      AppendBatchLine(batch, crc.ok(), &text_);
    }
    if (options_.deep) PrintRecords(batch, json);
    if (options_.json) {
      if (options_.deep) json.End();
      json.End();
      out_.Line(json.str());
    }
    out_.Write(text_);
    return out_.failed() ? out_.Flush() : absl::OkStatus();
  }

  void PrintRecords(const ScannedBatch& batch, JsonWriter& json) {
    constexpr size_t kMaxExpandedBytes = size_t{1} << 30;
    const auto payload =
        record::ExpandedPayload(batch.header, batch.bytes, kMaxExpandedBytes, pool_);
    Status status = payload.status();
    if (payload.ok()) {
      record::RecordReader reader(batch.header, payload->records);
      record::RecordFields fields;
      while (reader.Next(&fields)) {
        NoteGap(fields.offset);
        if (options_.json) {
          RecordAsJson(batch.header, fields, options_.contents, json);
        } else {
          AppendRecordLine(batch.header, fields, options_.contents, &text_);
        }
        if (text_.size() < 64 << 10) continue;
        out_.Write(text_);
        text_.clear();
      }
      status = reader.status();
    }
    if (!status.ok())
      Damaged(Annotate(status, fmt::format("{}: at byte {}", path_, batch.position)));
  }

  // Offsets may be missing after compaction, so that a gap is said but is no damage.
  void NoteGap(int64_t offset) {
    if (last_offset_ && offset != *last_offset_ + 1) {
      PrintToStderr("Non-consecutive offsets in {}\n  {} is followed by {}\n", path_, *last_offset_,
                    offset);
    }
    last_offset_ = offset;
  }

  void Damaged(const Status& status) {
    if (damage_.ok()) {
      damage_ = status;
    } else {
      PrintToStderr("millrace: {}\n",
                    std::string_view(status.message().data(), status.message().size()));
    }
  }

  const std::string path_;
  const DumpOptions& options_;
  Output& out_;
  BufferPool pool_;
  std::string text_;
  std::optional<int64_t> last_offset_;
  Status damage_;  // the first; the others are printed at once
};

// "00000000000000000004-0000000001.checkpoint": the end offset and the epoch of a snapshot.
std::string SnapshotHeading(std::string_view name) {
  const size_t dash = name.find('-');
  const size_t dot = name.find('.');
  int64_t offset = 0, epoch = 0;
  if (dash != name.npos && dot != name.npos && dash < dot) {
    std::from_chars(name.data(), name.data() + dash, offset);
    std::from_chars(name.data() + dash + 1, name.data() + dot, epoch);
  }
  return fmt::format("Snapshot end offset: {}, epoch: {}", offset, epoch);
}

}  // namespace

Status DumpSegment(File& file, const std::string& path, const DumpOptions& options, Output& out) {
  const std::string_view name = BaseName(path);
  if (options.json) {
    // Each line names the file.
  } else if (name.ends_with(".checkpoint")) {
    out.Line(SnapshotHeading(name));
  } else {
    int64_t base = 0;
    std::from_chars(name.data(), name.data() + name.size(), base);
    out.Line(fmt::format("Log starting offset: {}", base));
  }
  return SegmentDump(path, options, out).Run(file);
}

Status DumpFile(FileSystem& files, const std::string& path, const DumpOptions& options,
                Output& out) {
  MILLRACE_ASSIGN_OR_RETURN(const auto file, files.Open(path, OpenMode::kRead));
  if (!options.json) out.Line(fmt::format("Dumping {}", path));
  if (path.ends_with(".log") || path.ends_with(".checkpoint"))
    return DumpSegment(*file, path, options, out);
  if (path.ends_with(".timeindex")) return DumpTimeIndex(files, *file, path, options, out);
  if (path.ends_with(".txnindex")) return DumpTransactionIndex(*file, path, options, out);
  if (path.ends_with(".index")) return DumpOffsetIndex(files, *file, path, options, out);
  if (path.ends_with(".snapshot")) return DumpProducerSnapshot(*file, path, options, out);
  return UsageError(
      fmt::format("{}: not a file that can be dumped: wants .log, .checkpoint, .index, .timeindex, "
                  ".snapshot or "
                  ".txnindex",
                  path));
}

}  // namespace millrace::cli
