#include <charconv>
#include <span>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/byte_reader.h"
#include "base/crc32c.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "cli/batch_scan.h"
#include "cli/json.h"
#include "cli/log_dump.h"

// The files beside a segment, in Kafka's formats: entries of a fixed size, integers big endian.
namespace millrace::cli {
namespace {

constexpr size_t kMaxFileBytes = size_t{256} << 20;  // indexes hold 10 MiB by default

std::string_view BaseName(std::string_view path) {
  return path.substr(path.find_last_of('/') + 1);  // npos + 1 is 0
}

int64_t BaseOffsetOf(std::string_view path) {
  const std::string_view name = BaseName(path);
  int64_t base = 0;
  std::from_chars(name.data(), name.data() + name.size(), base);
  return base;
}

StatusOr<std::vector<std::byte>> ReadAll(File& file, const std::string& path) {
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  if (size > kMaxFileBytes) {
    return MakeError(ErrorId::kCorruptLog,
                     fmt::format("{}: {} bytes, more than such a file holds", path, size));
  }
  std::vector<std::byte> bytes(size);
  MILLRACE_ASSIGN_OR_RETURN(const size_t got, file.ReadAt(0, bytes));
  bytes.resize(got);
  return bytes;
}

StatusOr<std::unique_ptr<File>> OpenSegmentOf(FileSystem& files, const std::string& path) {
  return files.Open(path.substr(0, path.find_last_of('.')) + ".log", OpenMode::kRead);
}

void Complain(Status* first, std::string_view message) {
  if (first->ok()) {
    *first = MakeError(ErrorId::kCorruptLog, message);
  } else {
    PrintToStderr("millrace: {}\n", message);
  }
}

void CheckSize(const std::string& path, size_t size, size_t entry, Status* damage) {
  if (size % entry == 0) return;
  Complain(damage, fmt::format("{}: {} bytes are not a whole number of entries of {} bytes", path,
                               size, entry));
}

}  // namespace

Status DumpOffsetIndex(FileSystem& files, File& file, const std::string& path,
                       const DumpOptions& options, Output& out) {
  MILLRACE_ASSIGN_OR_RETURN(const auto bytes, ReadAll(file, path));
  MILLRACE_ASSIGN_OR_RETURN(const auto segment, OpenSegmentOf(files, path));
  const int64_t base = BaseOffsetOf(path);
  Status damage;
  CheckSize(path, bytes.size(), 8, &damage);
  if (bytes.size() < 8 && !options.json) out.Line(fmt::format("{} is empty.", path));
  ByteReader in(bytes);
  for (bool first = true; in.remaining() >= 8; first = false) {
    const int64_t offset = base + in.Integer<int32_t>();
    const auto position = in.Integer<int32_t>();
    // An index is made long and cut at close: after a crash zeros follow the entries.
    if (offset == base && !first) break;
    const auto batch =
        BatchScanner(*segment, path, static_cast<uint64_t>(std::max(position, 0))).Next();
    if (!batch.ok() || !batch->has_value()) {
      Complain(&damage, fmt::format("{}: offset {} is said to be at byte {}, where no batch begins",
                                    path, offset, position));
    } else if ((*batch)->header.last_offset() != offset) {
      Complain(&damage, fmt::format("{}: index offset: {}, log offset: {}", path, offset,
                                    (*batch)->header.last_offset()));
    }
    if (options.json) {
      JsonWriter json;
      json.BeginObject().Key("file").Text(path).Key("offset").Number(offset);
      json.Key("position").Number(position).End();
      out.Line(json.str());
    } else {
      out.Line(fmt::format("offset: {} position: {}", offset, position));
    }
  }
  return damage;
}

Status DumpTimeIndex(FileSystem& files, File& file, const std::string& path,
                     const DumpOptions& options, Output& out) {
  MILLRACE_ASSIGN_OR_RETURN(const auto bytes, ReadAll(file, path));
  MILLRACE_ASSIGN_OR_RETURN(const auto segment, OpenSegmentOf(files, path));
  const int64_t base = BaseOffsetOf(path);
  Status damage;
  CheckSize(path, bytes.size(), 12, &damage);
  // Entries are in the order of offsets, so that one walk over the segment meets all of their
  // batches.
  BatchScanner scanner(*segment, path);
  std::optional<record::BatchHeader> batch;
  int64_t last_timestamp = record::kNoTimestamp;
  ByteReader in(bytes);
  for (bool first = true; in.remaining() >= 12; first = false) {
    const auto timestamp = in.Integer<int64_t>();
    const int64_t offset = base + in.Integer<int32_t>();
    if (offset == base && !first) break;
    while (!batch || batch->last_offset() < offset) {
      const auto next = scanner.Next();
      if (!next.ok() || !next->has_value()) break;
      batch = (*next)->header;
    }
    if (!batch || batch->last_offset() != offset) {
      Complain(&damage, fmt::format("{}: indexed offset: {}, found log offset: {}", path, offset,
                                    batch ? batch->last_offset() : -1));
    } else if (batch->max_timestamp_ms != timestamp) {
      Complain(&damage, fmt::format("{}: index timestamp: {}, log timestamp: {}", path, timestamp,
                                    batch->max_timestamp_ms));
    }
    if (timestamp <= last_timestamp) {
      Complain(&damage, fmt::format("{}: index timestamp: {}, previously indexed timestamp: {}",
                                    path, timestamp, last_timestamp));
    }
    last_timestamp = timestamp;
    if (options.json) {
      JsonWriter json;
      json.BeginObject().Key("file").Text(path).Key("timestamp").Number(timestamp);
      json.Key("offset").Number(offset).End();
      out.Line(json.str());
    } else {
      out.Line(fmt::format("timestamp: {} offset: {}", timestamp, offset));
    }
  }
  return damage;
}

namespace {

struct ProducerEntry {
  int64_t id = 0;
  int16_t epoch = 0;
  int32_t last_sequence = 0;
  int64_t last_offset = 0;
  int32_t offset_delta = 0;
  int64_t timestamp_ms = 0;
  int32_t coordinator_epoch = 0;
  int64_t transaction_first_offset = 0;

  int32_t first_sequence() const {
    // Sequences wrap to 0 after 2^31-1.
    return last_sequence >= offset_delta
               ? last_sequence - offset_delta
               : static_cast<int32_t>(int64_t{INT32_MAX} - (offset_delta - last_sequence) + 1);
  }
};

ProducerEntry ReadProducer(ByteReader& in) {
  ProducerEntry entry;
  entry.id = in.Integer<int64_t>();
  entry.epoch = in.Integer<int16_t>();
  entry.last_sequence = in.Integer<int32_t>();
  entry.last_offset = in.Integer<int64_t>();
  entry.offset_delta = in.Integer<int32_t>();
  entry.timestamp_ms = in.Integer<int64_t>();
  entry.coordinator_epoch = in.Integer<int32_t>();
  entry.transaction_first_offset = in.Integer<int64_t>();
  return entry;
}

std::string ProducerLine(const ProducerEntry& entry) {
  std::string line = fmt::format(
      "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {} "
      "lastTimestamp: {}",
      entry.id, entry.epoch, entry.coordinator_epoch,
      entry.transaction_first_offset < 0
          ? "OptionalLong.empty"
          : fmt::format("OptionalLong[{}]", entry.transaction_first_offset),
      entry.timestamp_ms);
  if (entry.last_offset >= 0) {
    line += fmt::format(
        " firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
        entry.first_sequence(), entry.last_sequence, entry.last_offset, entry.offset_delta,
        entry.timestamp_ms);
  }
  return line;
}

std::string ProducerAsJson(const std::string& path, const ProducerEntry& entry) {
  JsonWriter json;
  json.BeginObject().Key("file").Text(path).Key("producer_id").Number(entry.id);
  json.Key("producer_epoch").Number(entry.epoch);
  json.Key("first_sequence").Number(entry.first_sequence());
  json.Key("last_sequence").Number(entry.last_sequence);
  json.Key("last_offset").Number(entry.last_offset).Key("timestamp").Number(entry.timestamp_ms);
  json.Key("coordinator_epoch").Number(entry.coordinator_epoch);
  json.Key("transaction_first_offset").Number(entry.transaction_first_offset).End();
  return json.str();
}

}  // namespace

Status DumpProducerSnapshot(File& file, const std::string& path, const DumpOptions& options,
                            Output& out) {
  MILLRACE_ASSIGN_OR_RETURN(const auto bytes, ReadAll(file, path));
  ByteReader in(bytes);
  const auto version = in.Integer<int16_t>();
  const auto crc = in.Integer<uint32_t>();
  const uint32_t computed = Crc32c(in.rest());
  const auto count = in.Integer<int32_t>();
  if (!in.ok() || version != 1) {
    return MakeError(ErrorId::kCorruptLog,
                     fmt::format("{}: not a producer snapshot of version 1", path));
  }
  if (crc != computed) {
    return MakeError(
        ErrorId::kCorruptLog,
        fmt::format("{}: fails its CRC: stored {:#010x}, computed {:#010x}", path, crc, computed));
  }
  for (int32_t i = 0; i < count; ++i) {
    const ProducerEntry entry = ReadProducer(in);
    if (!in.ok()) {
      return MakeError(ErrorId::kCorruptLog,
                       fmt::format("{}: ends within entry {} of {}", path, i, count));
    }
    out.Line(options.json ? ProducerAsJson(path, entry) : ProducerLine(entry));
  }
  return absl::OkStatus();
}

Status DumpTransactionIndex(File& file, const std::string& path, const DumpOptions& options,
                            Output& out) {
  constexpr size_t kEntryBytes = 34;
  MILLRACE_ASSIGN_OR_RETURN(const auto bytes, ReadAll(file, path));
  Status damage;
  CheckSize(path, bytes.size(), kEntryBytes, &damage);
  ByteReader in(bytes);
  while (in.remaining() >= kEntryBytes) {
    const auto version = in.Integer<int16_t>();
    const auto producer = in.Integer<int64_t>();
    const auto first = in.Integer<int64_t>();
    const auto last = in.Integer<int64_t>();
    const auto stable = in.Integer<int64_t>();
    if (version != 0) {
      Complain(&damage, fmt::format("{}: an entry has version {}, 0 is known", path, version));
      break;
    }
    if (options.json) {
      JsonWriter json;
      json.BeginObject().Key("file").Text(path).Key("version").Number(version);
      json.Key("producer_id").Number(producer).Key("first_offset").Number(first);
      json.Key("last_offset").Number(last).Key("last_stable_offset").Number(stable).End();
      out.Line(json.str());
    } else {
      out.Line(fmt::format(
          "version: {} producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}", version,
          producer, first, last, stable));
    }
  }
  return damage;
}

}  // namespace millrace::cli
