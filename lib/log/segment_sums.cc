#include "log/segment_sums.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/crc32c.h"
#include "base/status_macros.h"
#include "env/file_util.h"
#include "record/batch.h"

namespace millrace::log {
namespace {
constexpr uint64_t kMaxFileBytes = uint64_t{256} << 20;
}

uint32_t ExtendSum(uint32_t sum, const std::byte* batch) {
  return Crc32c({batch, record::kCrcStart}, sum);
}

void SegmentRecord::Store(ByteWriter& out) const {
  out.Integer(base);
  out.Integer(end_offset);
  out.Integer(size_bytes);
  out.Integer(max_timestamp_ms);
  out.Integer(max_timestamp_offset);
  out.Integer(sum);
  out.Integer(index.entries);
  out.Integer(index.crc);
  out.Integer(time_index.entries);
  out.Integer(time_index.crc);
  out.Integer(uint32_t{damaged});
}

SegmentRecord SegmentRecord::Load(ByteReader& in) {
  SegmentRecord r;
  r.base = in.Integer<int64_t>();
  r.end_offset = in.Integer<int64_t>();
  r.size_bytes = in.Integer<uint64_t>();
  r.max_timestamp_ms = in.Integer<int64_t>();
  r.max_timestamp_offset = in.Integer<int64_t>();
  r.sum = in.Integer<uint32_t>();
  r.index.entries = in.Integer<uint32_t>();
  r.index.crc = in.Integer<uint32_t>();
  r.time_index.entries = in.Integer<uint32_t>();
  r.time_index.crc = in.Integer<uint32_t>();
  r.damaged = in.Integer<uint32_t>() != 0;
  return r;
}

StatusOr<std::vector<SegmentRecord>> SegmentSums::Load() {
  const auto bytes = ReadWholeFile(files_, path_, kMaxFileBytes);
  if (!bytes.ok() && !absl::IsNotFound(bytes.status())) return bytes.status();
  const size_t count = bytes.ok() ? bytes->size() / kEntryBytes : 0;
  std::map<Offset, SegmentRecord> by_base;
  for (size_t i = 0; i < count; ++i) {
    const std::span<const std::byte> entry(bytes->data() + i * kEntryBytes, kEntryBytes);
    ByteReader in(entry);
    const SegmentRecord record = SegmentRecord::Load(in);
    const bool valid = in.Integer<uint32_t>() == Crc32c(entry.first(SegmentRecord::kBytes));
    if (valid && record.base >= 0 && record.end_offset >= record.base)
      by_base[record.base] = record;
  }
  std::vector<SegmentRecord> records;
  for (const auto& [base, record] : by_base) records.push_back(record);
  // Only now: else the next entry would be written over the first.
  entry_count_ = count;
  loaded_ = true;
  return records;
}

Status SegmentSums::Append(SyncGate& gate, const SegmentRecord& record) {
  if (!loaded_) MILLRACE_RETURN_IF_ERROR(Load().status());
  const bool is_new = entry_count_ == 0;
  if (file_ == nullptr) {
    MILLRACE_ASSIGN_OR_RETURN(file_, files_.Open(path_, OpenMode::kCreate));
  }
  ByteWriter out;
  record.Store(out);
  out.Integer(Crc32c(out.bytes()));
  MILLRACE_RETURN_IF_ERROR(file_->WriteAt(entry_count_ * kEntryBytes, out.bytes()));
  MILLRACE_RETURN_IF_ERROR(gate.Sync(*file_));
  if (is_new) MILLRACE_RETURN_IF_ERROR(gate.SyncDir(ParentDir(path_)));
  ++entry_count_;
  return absl::OkStatus();
}

Status SegmentSums::Rewrite(SyncGate& gate, const std::vector<SegmentRecord>& records) {
  ByteWriter out;
  for (const SegmentRecord& record : records) {
    const size_t start = out.size();
    record.Store(out);
    out.Integer(Crc32c(out.bytes().subspan(start)));
  }
  file_.reset();
  MILLRACE_RETURN_IF_ERROR(gate.ReplaceFile(path_, out.bytes()));
  entry_count_ = records.size();
  loaded_ = true;
  return absl::OkStatus();
}

Status SegmentSums::Remove() {
  file_.reset();
  const Status status = files_.RemoveFile(path_);
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

}  // namespace millrace::log
