#include "log/sparse_index.h"

#include <algorithm>
#include <array>
#include <new>

#include <fmt/format.h>

#include "base/crc32c.h"
#include "base/errors.h"
#include "base/status_macros.h"

namespace millrace::log {
namespace {

constexpr size_t kFlushEntries = 512;
// Where the file cannot be written, so many wait; the index gets sparser after that.
constexpr size_t kMaxWaiting = 8192;
// Entries read at once when a search has come close.
constexpr uint32_t kRunEntries = 256;

template <typename Entry>
auto FirstAbove(const std::vector<Entry>& entries, int64_t key) {
  return std::ranges::upper_bound(entries, key, {}, &Entry::key);
}

}  // namespace

template <typename Entry>
SparseIndex<Entry>::SparseIndex(FileSystem& files, std::string path, bool read_only)
    : files_(files), path_(std::move(path)), read_only_(read_only) {}

template <typename Entry>
StatusOr<std::shared_ptr<File>> SparseIndex<Entry>::OpenFile(OpenMode mode) {
  if (file_ == nullptr) {
    MILLRACE_ASSIGN_OR_RETURN(file_, files_.Open(path_, read_only_ ? OpenMode::kRead : mode));
  }
  return file_;
}

template <typename Entry>
bool SparseIndex<Entry>::LearnLastKey() {
  if (last_key_.has_value() || in_file_ == 0) return true;
  const auto file = OpenFile(OpenMode::kReadWrite);
  if (!file.ok()) return false;
  const auto last = ReadEntry({*file, in_file_}, in_file_ - 1);
  if (!last.ok()) return false;
  last_key_ = last->key();
  return true;
}

template <typename Entry>
void SparseIndex<Entry>::Add(const Entry& entry) noexcept {
  MutexLock lock(mu_);
  try {
    AddLocked(entry);
  } catch (const std::bad_alloc&) {
    // A sparser index; what it has is consistent at each step.
  }
}

template <typename Entry>
void SparseIndex<Entry>::AddLocked(const Entry& entry) {
  if (waiting_.size() >= kMaxWaiting || !LearnLastKey()) return;
  if (last_key_.has_value() && entry.key() <= *last_key_) return;
  std::array<std::byte, Entry::kBytes> bytes;
  entry.Store(bytes.data());
  waiting_.push_back(entry);
  entries_.fetch_add(1, std::memory_order_relaxed);
  crc_ = Crc32c(bytes, crc_);
  last_key_ = entry.key();
  if (waiting_.size() % kFlushEntries == 0) FlushLocked().IgnoreError();  // they go on waiting
}

template <typename Entry>
StatusOr<std::optional<Entry>> SparseIndex<Entry>::Floor(int64_t key) {
  View view;
  {
    MutexLock lock(mu_);
    if (!waiting_.empty() && key >= waiting_.front().key()) {
      return *std::prev(FirstAbove(waiting_, key));
    }
    if (in_file_ == 0) return std::nullopt;
    MILLRACE_ASSIGN_OR_RETURN(view.file, OpenFile(OpenMode::kReadWrite));
    view.entries = in_file_;
  }
  MILLRACE_ASSIGN_OR_RETURN(const uint32_t count, CountUpTo(view, key));
  if (count == 0) return std::nullopt;
  return ReadEntry(view, count - 1);
}

template <typename Entry>
StatusOr<std::optional<Entry>> SparseIndex<Entry>::Above(int64_t key) {
  View view;
  std::optional<Entry> waiting;
  {
    MutexLock lock(mu_);
    if (const auto at = FirstAbove(waiting_, key); at != waiting_.end()) waiting = *at;
    if (in_file_ == 0) return waiting;
    MILLRACE_ASSIGN_OR_RETURN(view.file, OpenFile(OpenMode::kReadWrite));
    view.entries = in_file_;
  }
  MILLRACE_ASSIGN_OR_RETURN(const uint32_t count, CountUpTo(view, key));
  if (count == view.entries) return waiting;
  return ReadEntry(view, count);
}

template <typename Entry>
StatusOr<Entry> SparseIndex<Entry>::ReadEntry(const View& view, uint32_t index) {
  std::array<std::byte, Entry::kBytes> bytes;
  MILLRACE_ASSIGN_OR_RETURN(const size_t count,
                            view.file->ReadAt(uint64_t{index} * Entry::kBytes, bytes));
  if (count < bytes.size()) {
    return MakeError(ErrorId::kCorruptLog,
                     fmt::format("index: ends within entry {} of {}", index, view.entries));
  }
  return Entry::Load(bytes.data());
}

template <typename Entry>
StatusOr<uint32_t> SparseIndex<Entry>::CountUpTo(const View& view, int64_t key) {
  // Invariant: entries before `low` have keys at or below `key`, those from `high` on above it.
  uint32_t low = 0;
  uint32_t high = view.entries;
  while (high - low > kRunEntries) {
    const uint32_t middle = low + (high - low) / 2;
    MILLRACE_ASSIGN_OR_RETURN(const Entry entry, ReadEntry(view, middle));
    if (entry.key() <= key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  std::array<std::byte, kRunEntries * Entry::kBytes> run;
  const size_t bytes = size_t{high - low} * Entry::kBytes;
  MILLRACE_ASSIGN_OR_RETURN(const size_t count, view.file->ReadAt(uint64_t{low} * Entry::kBytes,
                                                                  std::span(run).first(bytes)));
  if (count < bytes) {
    return MakeError(ErrorId::kCorruptLog,
                     fmt::format("index: holds fewer than its {} entries", view.entries));
  }
  while (low < high) {
    const Entry entry = Entry::Load(run.data() + bytes - size_t{high - low} * Entry::kBytes);
    if (entry.key() > key) break;
    ++low;
  }
  return low;
}

template <typename Entry>
IndexExtent SparseIndex<Entry>::extent() const {
  MutexLock lock(mu_);
  return {in_file_ + static_cast<uint32_t>(waiting_.size()), crc_};
}

template <typename Entry>
Status SparseIndex<Entry>::FlushLocked() {
  if (read_only_ || (waiting_.empty() && trimmed_)) return absl::OkStatus();
  MILLRACE_ASSIGN_OR_RETURN(const auto file, OpenFile(OpenMode::kCreate));
  if (!trimmed_) {
    MILLRACE_RETURN_IF_ERROR(file->Truncate(uint64_t{in_file_} * Entry::kBytes));
  }
  trimmed_ = false;  // whatever becomes of the write
  std::vector<std::byte> bytes(waiting_.size() * Entry::kBytes);
  for (size_t i = 0; i < waiting_.size(); ++i) waiting_[i].Store(bytes.data() + i * Entry::kBytes);
  MILLRACE_RETURN_IF_ERROR(file->WriteAt(uint64_t{in_file_} * Entry::kBytes, bytes));
  trimmed_ = true;
  in_file_ += static_cast<uint32_t>(waiting_.size());
  file_crc_ = crc_;
  waiting_.clear();
  return absl::OkStatus();
}

template <typename Entry>
Status SparseIndex<Entry>::Flush() {
  MutexLock lock(mu_);
  return FlushLocked();
}

template <typename Entry>
Status SparseIndex<Entry>::Sync(SyncGate& gate) {
  std::shared_ptr<File> file;
  {
    MutexLock lock(mu_);
    MILLRACE_RETURN_IF_ERROR(FlushLocked());
    MILLRACE_ASSIGN_OR_RETURN(file, OpenFile(OpenMode::kCreate));
  }
  return gate.Sync(*file);
}

template <typename Entry>
void SparseIndex<Entry>::Adopt(IndexExtent extent) {
  MutexLock lock(mu_);
  waiting_.clear();
  last_key_.reset();
  in_file_ = extent.entries;
  entries_.store(extent.entries, std::memory_order_relaxed);
  crc_ = file_crc_ = extent.crc;
  trimmed_ = false;
}

template <typename Entry>
bool SparseIndex<Entry>::Matches(IndexExtent extent) {
  if (extent.entries == 0) return extent.crc == 0;
  const auto file = files_.Open(path_, OpenMode::kRead);
  if (!file.ok()) return false;
  std::array<std::byte, kRunEntries * Entry::kBytes> run;
  uint32_t crc = 0;
  for (uint32_t at = 0; at < extent.entries; at += kRunEntries) {
    const size_t bytes = std::min(kRunEntries, extent.entries - at) * Entry::kBytes;
    const auto count = (*file)->ReadAt(uint64_t{at} * Entry::kBytes, std::span(run).first(bytes));
    if (!count.ok() || *count < bytes) return false;
    crc = Crc32c(std::span(run).first(bytes), crc);
  }
  return crc == extent.crc;
}

template <typename Entry>
bool SparseIndex<Entry>::FileIsIntact() {
  IndexExtent extent;
  {
    MutexLock lock(mu_);
    extent = {in_file_, file_crc_};
  }
  return Matches(extent);
}

template <typename Entry>
void SparseIndex<Entry>::Release() {
  MutexLock lock(mu_);
  if (!waiting_.empty() && !FlushLocked().ok()) return;
  waiting_.shrink_to_fit();
  file_.reset();
}

template class SparseIndex<OffsetIndexEntry>;
template class SparseIndex<TimeIndexEntry>;

}  // namespace millrace::log
