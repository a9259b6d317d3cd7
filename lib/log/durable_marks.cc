#include "log/durable_marks.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <absl/cleanup/cleanup.h>
#include <fmt/format.h>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/crc32c.h"
#include "base/errors.h"
#include "base/kill_point.h"
#include "base/status_macros.h"
#include "env/file_util.h"

namespace millrace::log {
namespace {

constexpr uint32_t kMagic = 0x4d524d31;  // "MRM1"
// The two slots of a partition lie in different pages, so that no torn page takes both.
constexpr size_t kPageBytes = 4096;
constexpr size_t kSlotsPerPage = kPageBytes / DurableMarks::kSlotBytes;
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;

uint64_t SlotPosition(uint32_t place, uint64_t sequence) {
  return (uint64_t{place} / kSlotsPerPage * 2 + sequence % 2) * kPageBytes +
         place % kSlotsPerPage * DurableMarks::kSlotBytes;
}

void PutExtent(ByteWriter& out, const IndexExtent& extent) {
  out.Integer(extent.entries);
  out.Integer(extent.crc);
}

IndexExtent GetExtent(ByteReader& in) {
  IndexExtent extent;
  extent.entries = in.Integer<uint32_t>();
  extent.crc = in.Integer<uint32_t>();
  return extent;
}

bool IsSane(const Mark& m) {
  return m.log_start >= 0 && m.checkpoint.offset <= m.synced_end &&
         m.checkpoint.position <= m.position;
}

}  // namespace

Checkpoint Checkpoint::AtEndOf(const SegmentRecord& segment) {
  return {.offset = segment.end_offset,
          .position = static_cast<uint32_t>(segment.size_bytes),
          .sum = segment.sum,
          .max_timestamp_ms = segment.max_timestamp_ms,
          .max_timestamp_offset = segment.max_timestamp_offset,
          .index = segment.index,
          .time_index = segment.time_index};
}

void DurableMarks::StoreSlot(const Key& key, const Mark& mark, uint64_t sequence, std::byte* at) {
  ByteWriter out;
  out.Integer(kMagic);
  out.Integer(sequence);
  out.Bytes(std::as_bytes(std::span(key.first.bytes)));
  out.Integer(key.second);
  out.Integer(mark.log_start);
  out.Integer(mark.segment_base);
  // Offsets of one segment lie within 2^31 of its base.
  out.Integer(static_cast<uint32_t>(mark.synced_end - mark.segment_base));
  out.Integer(mark.position);
  out.Integer(mark.sum);
  out.Integer(static_cast<uint32_t>(mark.checkpoint.offset - mark.segment_base));
  out.Integer(mark.checkpoint.position);
  out.Integer(mark.checkpoint.sum);
  out.Integer(mark.checkpoint.max_timestamp_ms);
  out.Integer(static_cast<int32_t>(mark.checkpoint.max_timestamp_offset < 0
                                       ? -1
                                       : mark.checkpoint.max_timestamp_offset - mark.segment_base));
  PutExtent(out, mark.checkpoint.index);
  PutExtent(out, mark.checkpoint.time_index);
  out.Integer(mark.leader_epoch);
  out.Integer(mark.epochs_crc);
  out.Integer(mark.opener);
  static_assert(4 + 8 + 16 + 4 + 8 + 8 + 6 * 4 + 8 + 4 + 16 + 3 * 4 <= kSlotBytes - 4);
  std::memset(at, 0, kSlotBytes);
  std::memcpy(at, out.bytes().data(), out.size());
  StoreBigEndian(at + kSlotBytes - 4, Crc32c({at, kSlotBytes - 4}));
}

std::optional<DurableMarks::Slot> DurableMarks::LoadSlot(const std::byte* at) {
  if (Crc32c({at, kSlotBytes - 4}) != LoadBigEndian<uint32_t>(at + kSlotBytes - 4)) return {};
  ByteReader in({at, kSlotBytes});
  if (in.Integer<uint32_t>() != kMagic) return {};
  Slot slot;
  slot.sequence = in.Integer<uint64_t>();
  std::memcpy(slot.key.first.bytes.data(), in.Bytes(16).data(), 16);
  slot.key.second = in.Integer<int32_t>();
  Mark& m = slot.mark;
  m.log_start = in.Integer<int64_t>();
  m.segment_base = in.Integer<int64_t>();
  if (m.segment_base < 0 || m.segment_base > INT64_MAX - UINT32_MAX) return {};
  m.synced_end = m.segment_base + in.Integer<uint32_t>();
  m.position = in.Integer<uint32_t>();
  m.sum = in.Integer<uint32_t>();
  m.checkpoint.offset = m.segment_base + in.Integer<uint32_t>();
  m.checkpoint.position = in.Integer<uint32_t>();
  m.checkpoint.sum = in.Integer<uint32_t>();
  m.checkpoint.max_timestamp_ms = in.Integer<int64_t>();
  const auto relative = in.Integer<int32_t>();
  m.checkpoint.max_timestamp_offset = relative < 0 ? -1 : m.segment_base + relative;
  m.checkpoint.index = GetExtent(in);
  m.checkpoint.time_index = GetExtent(in);
  m.leader_epoch = in.Integer<int32_t>();
  m.epochs_crc = in.Integer<uint32_t>();
  m.opener = in.Integer<uint32_t>();
  if (!IsSane(m)) return {};
  return slot;
}

StatusOr<std::unique_ptr<DurableMarks>> DurableMarks::Open(FileSystem& files, SyncGate& gate,
                                                           std::string path, bool read_only) {
  auto marks = std::unique_ptr<DurableMarks>(new DurableMarks(files, gate, std::move(path)));
  if (!read_only) {
    // A killed process may have left marks that only the page cache has. They are true, yet what is
    // told of them must not be taken back by a power cut.
    MutexLock lock(marks->write_mu_);
    MILLRACE_ASSIGN_OR_RETURN(marks->file_, files.Open(marks->path_, OpenMode::kCreate));
    MILLRACE_RETURN_IF_ERROR(gate.Sync(*marks->file_));
    MILLRACE_RETURN_IF_ERROR(marks->file_->DropCache());
    MILLRACE_RETURN_IF_ERROR(gate.SyncDir(ParentDir(marks->path_)));
  }
  MILLRACE_RETURN_IF_ERROR(marks->Load());
  return marks;
}

Status DurableMarks::Load() {
  const auto bytes = ReadWholeFile(files_, path_, kMaxFileBytes);
  if (absl::IsNotFound(bytes.status())) return absl::OkStatus();
  if (!bytes.ok()) return bytes.status();
  MutexLock lock(mu_);
  entries_.clear();
  free_places_.clear();
  const size_t pairs = (bytes->size() + 2 * kPageBytes - 1) / (2 * kPageBytes);
  places_ = static_cast<uint32_t>(pairs * kSlotsPerPage);
  std::vector<bool> used(places_);
  for (uint32_t place = 0; place < places_; ++place) {
    for (const uint64_t copy : {0, 1}) {
      const uint64_t at = SlotPosition(place, copy);
      if (at + kSlotBytes > bytes->size()) continue;
      const auto slot = LoadSlot(bytes->data() + at);
      if (!slot.has_value()) continue;
      Entry& entry = entries_[slot->key];
      if (entry.sequence >= slot->sequence) continue;
      if (entry.sequence > 0) used[entry.place] = false;
      entry = {.place = place, .sequence = slot->sequence, .mark = slot->mark};
      used[place] = true;
    }
  }
  free_places_.reserve(places_);
  changed_.reserve(entries_.size());
  for (uint32_t place = places_; place-- > 0;) {
    if (!used[place]) free_places_.push_back(place);
  }
  return absl::OkStatus();
}

std::optional<Mark> DurableMarks::Find(const Key& key) const {
  MutexLock lock(mu_);
  const auto it = entries_.find(key);
  if (it == entries_.end() || it->second.removed) return std::nullopt;
  return it->second.mark;
}

std::vector<DurableMarks::Key> DurableMarks::Keys() const {
  MutexLock lock(mu_);
  std::vector<Key> keys;
  for (const auto& [key, entry] : entries_) {
    if (!entry.removed) keys.push_back(key);
  }
  return keys;
}

// What is done with an entry later on must not fail: so the lists have room for all of them.
void DurableMarks::ReserveForOneMore() {
  const auto reserve = [](auto& list, size_t count) {
    if (list.capacity() < count) list.reserve(std::max(count, 2 * list.capacity()));
  };
  reserve(free_places_, places_ + kSlotsPerPage);
  reserve(changed_, entries_.size() + 1);
}

void DurableMarks::Update(const Key& key, const Mark& mark) {
  MutexLock lock(mu_);
  auto it = entries_.find(key);
  if (it == entries_.end()) {
    ReserveForOneMore();
    it = entries_.try_emplace(key).first;
    if (free_places_.empty()) {
      for (uint32_t i = kSlotsPerPage; i-- > 0;) free_places_.push_back(places_ + i);
      places_ += kSlotsPerPage;
    }
    it->second.place = free_places_.back();
    free_places_.pop_back();
  }
  Entry& entry = it->second;
  entry.mark = mark;
  entry.removed = false;
  if (!entry.changed) changed_.push_back(key);
  entry.changed = true;
}

void DurableMarks::Remove(const Key& key) {
  MutexLock lock(mu_);
  const auto it = entries_.find(key);
  if (it == entries_.end()) return;
  it->second.removed = true;
  if (!it->second.changed) changed_.push_back(key);
  it->second.changed = true;
}

std::vector<DurableMarks::Change> DurableMarks::TakeChanges() {
  MutexLock lock(mu_);
  std::vector<Change> changes;
  changes.reserve(changed_.size());
  for (const Key& key : changed_) {
    Entry& entry = entries_.find(key)->second;
    entry.changed = false;
    changes.push_back({key, entry});
  }
  changed_.clear();  // keeps its room
  return changes;
}

Status DurableMarks::WriteChanges(std::vector<Change>& changes) {
  for (Change& change : changes) {
    Entry& entry = change.entry;
    std::array<std::byte, kSlotBytes> slot{};
    entry.sequence += 1;
    if (entry.removed) {
      // Both go: the older one would come back as the newest.
      for (const uint64_t copy : {0, 1})
        MILLRACE_RETURN_IF_ERROR(file_->WriteAt(SlotPosition(entry.place, copy), slot));
      continue;
    }
    StoreSlot(change.key, entry.mark, entry.sequence, slot.data());
    MILLRACE_RETURN_IF_ERROR(file_->WriteAt(SlotPosition(entry.place, entry.sequence), slot));
  }
  MILLRACE_KILL_POINT(kMarksWritten);
  return gate_.Sync(*file_);
}

void DurableMarks::Finish(const std::vector<Change>& changes, bool written) {
  MutexLock lock(mu_);
  for (const Change& change : changes) {
    const auto it = entries_.find(change.key);  // only this function takes one away
    Entry& entry = it->second;
    if (!written) {
      // The same slots again, since the other ones hold the marks that count.
      if (!entry.changed) changed_.push_back(change.key);
      entry.changed = true;
      continue;
    }
    entry.sequence = change.entry.sequence;
    if (!change.entry.removed || !entry.removed) continue;
    free_places_.push_back(entry.place);
    std::erase(changed_, change.key);
    entries_.erase(it);
  }
}

Status DurableMarks::Write() {
  MutexLock lock(write_mu_);
  if (file_ == nullptr) {
    return MakeError(ErrorId::kReadOnly, fmt::format("{}: opened for reading only", path_));
  }
  std::vector<Change> changes = TakeChanges();
  if (changes.empty()) return gate_.failed();
  bool written = false;
  const absl::Cleanup finish = [&] { Finish(changes, written); };
  const Status status = WriteChanges(changes);
  written = status.ok();
  return status;
}

}  // namespace millrace::log
