#include "log/close_manifest.h"

#include <cstring>

#include <fmt/format.h>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/crc32c.h"
#include "base/errors.h"

namespace millrace::log {
namespace {

constexpr uint64_t kMagic = 0x4d524d414e494631;  // "MRMANIF1"
constexpr size_t kEpochBytes = 12;

void PutUuid(ByteWriter& out, const Uuid& id) { out.Bytes(std::as_bytes(std::span(id.bytes))); }

Uuid GetUuid(ByteReader& in) {
  Uuid id;
  const auto bytes = in.Bytes(id.bytes.size());
  if (!bytes.empty()) std::memcpy(id.bytes.data(), bytes.data(), id.bytes.size());
  return id;
}

// A count of things of `unit_bytes` each; fails the reader when they cannot be there.
uint32_t GetCount(ByteReader& in, size_t unit_bytes) {
  const auto count = in.Integer<uint32_t>();
  if (count > in.remaining() / unit_bytes) in.Fail();
  return in.ok() ? count : 0;
}

PartitionRecord GetPartition(ByteReader& in) {
  PartitionRecord p;
  p.name = AsText(in.Bytes(in.Integer<uint16_t>()));
  p.topic_id = GetUuid(in);
  p.partition = in.Integer<int32_t>();
  p.log_start = in.Integer<int64_t>();
  p.leader_epoch = in.Integer<int32_t>();
  p.has_producers = in.Integer<int8_t>() != 0;
  p.epochs.resize(GetCount(in, kEpochBytes));
  for (EpochStart& e : p.epochs) {
    e.epoch = in.Integer<int32_t>();
    e.start_offset = in.Integer<int64_t>();
  }
  p.segments.resize(GetCount(in, SegmentRecord::kBytes));
  for (SegmentRecord& s : p.segments) s = SegmentRecord::Load(in);
  return p;
}

}  // namespace

uint64_t PartitionRecord::size_bytes() const {
  uint64_t sum = 0;
  for (const SegmentRecord& s : segments) sum += s.size_bytes;
  return sum;
}

Mark PartitionRecord::MakeMark(uint32_t opener) const {
  const SegmentRecord& last = segments.back();
  return {.log_start = log_start,
          .segment_base = last.base,
          .synced_end = last.end_offset,
          .position = static_cast<uint32_t>(last.size_bytes),
          .sum = last.sum,
          // The close took a snapshot at the end, so a scan need not start before it.
          .checkpoint = Checkpoint::AtEndOf(last),
          .leader_epoch = leader_epoch,
          .epochs_crc = Crc32c(AsBytes(EpochCache(epochs).Format())),
          .opener = opener};
}

std::vector<std::byte> CloseManifest::Format() const {
  ByteWriter out;
  out.Integer(kMagic);
  PutUuid(out, directory_id);
  out.Integer(int8_t{all_clean});
  out.Integer(static_cast<uint32_t>(partitions.size()));
  for (const auto& [key, p] : partitions) {
    out.Integer(static_cast<uint16_t>(p.name.size()));
    out.Text(p.name);
    PutUuid(out, p.topic_id);
    out.Integer(p.partition);
    out.Integer(p.log_start);
    out.Integer(p.leader_epoch);
    out.Integer(int8_t{p.has_producers});
    out.Integer(static_cast<uint32_t>(p.epochs.size()));
    for (const EpochStart& e : p.epochs) {
      out.Integer(e.epoch);
      out.Integer(e.start_offset);
    }
    out.Integer(static_cast<uint32_t>(p.segments.size()));
    for (const SegmentRecord& s : p.segments) s.Store(out);
  }
  out.Integer(Crc32c(out.bytes()));
  return out.Take();
}

StatusOr<CloseManifest> CloseManifest::Parse(std::span<const std::byte> bytes) {
  const auto damaged = [](std::string_view what) {
    return MakeError(ErrorId::kCorruptLog, fmt::format("close manifest: {}", what));
  };
  if (bytes.size() < 4) return damaged("cut off");
  const auto body = bytes.first(bytes.size() - 4);
  if (Crc32c(body) != LoadBigEndian<uint32_t>(body.data() + body.size()))
    return damaged("fails its CRC");
  ByteReader in(body);
  if (in.Integer<uint64_t>() != kMagic) return damaged("is none");
  CloseManifest manifest;
  manifest.directory_id = GetUuid(in);
  manifest.all_clean = in.Integer<int8_t>() != 0;
  const auto count = in.Integer<uint32_t>();
  for (uint32_t i = 0; i < count; ++i) {  // a reader that has failed reads no segment
    PartitionRecord p = GetPartition(in);
    if (p.segments.empty()) return damaged("names a partition without a segment");
    manifest.partitions.emplace(DurableMarks::Key{p.topic_id, p.partition}, std::move(p));
  }
  if (!in.ok() || in.remaining() > 0) return damaged("does not decode");
  return manifest;
}

}  // namespace millrace::log
