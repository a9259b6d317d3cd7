#include "env/disk_file.h"

#include <algorithm>

#include "base/byte_writer.h"
#include "env/survival.h"

namespace millrace {
namespace {

constexpr uint64_t kSectorBytes = 512;

std::string Noise(SplitMix64& random, size_t count) {
  std::string noise(count, '\0');
  for (size_t i = 0; i < count; i += 8) {
    uint64_t bits = random.Next();
    for (size_t j = i; j < std::min(i + 8, count); ++j, bits >>= 8) {
      noise[j] = static_cast<char>(bits);
    }
  }
  return noise;
}

}  // namespace

void DiskFile::Write(uint64_t position, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  cached_.Write(position, bytes);
  unsynced_.push_back(
      {Operation::Kind::kWrite, position, std::make_shared<const std::string>(AsText(bytes))});
}

void DiskFile::Truncate(uint64_t size) {
  cached_.Resize(size);
  unsynced_.push_back({Operation::Kind::kTruncate, size, nullptr});
}

void DiskFile::Sync() {
  for (const Operation& operation : unsynced_) Apply(operation, durable_);
  unsynced_.clear();
}

void DiskFile::LosePages() {
  for (Operation& operation : unsynced_) {
    if (operation.kind == Operation::Kind::kWrite) {
      operation = {Operation::Kind::kExtend, operation.end(), nullptr};
    }
  }
  lost_pages_ = true;
}

void DiskFile::DropCache() {
  if (!lost_pages_) return;  // what is not synced stays, and the rest is durable
  cached_ = durable_;
  for (const Operation& operation : unsynced_) Apply(operation, cached_);
  lost_pages_ = false;
}

void DiskFile::Apply(const Operation& operation, PagedBytes& bytes) {
  switch (operation.kind) {
    case Operation::Kind::kWrite:
      return bytes.Write(operation.position, AsBytes(*operation.bytes));
    case Operation::Kind::kTruncate:
      return bytes.Resize(operation.position);
    case Operation::Kind::kExtend:
      return bytes.Resize(std::max(bytes.size(), operation.position));
  }
}

// Some of the sectors of the write: a prefix, a suffix, all but one, or any.
void DiskFile::ApplyTorn(const Operation& operation, SplitMix64& random, PagedBytes& bytes) {
  if (operation.kind != Operation::Kind::kWrite) {
    if (random.OneIn(2)) Apply(operation, bytes);
    return;
  }
  const uint64_t first = operation.position / kSectorBytes;
  const uint64_t count = (operation.end() - 1) / kSectorBytes + 1 - first;
  const uint64_t pattern = random.Below(4);
  const uint64_t pivot = random.Below(count);
  for (uint64_t i = 0; i < count; ++i) {
    const bool kept = pattern == 0   ? i < pivot
                      : pattern == 1 ? i > pivot
                      : pattern == 2 ? i != pivot
                                     : random.OneIn(2);
    if (!kept) continue;
    const uint64_t begin = std::max(operation.position, (first + i) * kSectorBytes);
    const uint64_t end = std::min(operation.end(), (first + i + 1) * kSectorBytes);
    bytes.Write(begin, AsBytes(*operation.bytes).subspan(begin - operation.position, end - begin));
  }
}

// The size reached the disk, or the blocks were allocated, before what was to be written there.
void DiskFile::ExtendAhead(SplitMix64& random, bool stale_blocks, PagedBytes& image) const {
  uint64_t end = image.size();
  for (const Operation& operation : unsynced_) end = std::max(end, operation.end());
  if (end == image.size() || random.OneIn(2)) return;
  const uint64_t begin = image.size();
  if (random.OneIn(2)) end = begin + 1 + random.Below(end - begin);
  const uint64_t filling = random.Below(4);
  if (filling < 2) return image.Resize(end);  // zeros
  std::string garbage = Noise(random, end - begin);
  if (filling == 3 && stale_blocks && begin > 0) {
    // What an earlier life of the blocks left: whole sectors, the rest of the last one is zeros.
    const uint64_t aligned = (begin + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
    const uint64_t from = random.Below(begin) / kSectorBytes * kSectorBytes;
    const uint64_t rest = std::min(aligned - begin, end - begin);
    std::fill_n(garbage.begin(), rest, '\0');
    image.Read(from, std::as_writable_bytes(std::span(garbage).subspan(rest)));
  }
  image.Write(begin, AsBytes(garbage));
}

PagedBytes DiskFile::AfterCut(SplitMix64& random, bool stale_blocks) const {
  PagedBytes image = durable_;
  if (unsynced_.empty()) return image;
  ExtendAhead(random, stale_blocks, image);
  Survival survival(random, unsynced_.size());
  for (size_t i = 0; i < unsynced_.size(); ++i) {
    switch (survival.Of(i)) {
      case Survival::Fate::kKept:
        Apply(unsynced_[i], image);
        break;
      case Survival::Fate::kTorn:
        ApplyTorn(unsynced_[i], random, image);
        break;
      case Survival::Fate::kDropped:
        // The new size alone may have reached the disk.
        if (unsynced_[i].end() > image.size() && random.OneIn(4)) image.Resize(unsynced_[i].end());
        break;
    }
  }
  return image;
}

}  // namespace millrace
