#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "env/paged_bytes.h"
#include "env/split_mix.h"

namespace millrace {

// What one file of the simulated disk holds: what is durable, what reads show (the page cache), and
// the operations in between, in their order. Thread-compatible, with the exception of PagedBytes.
class DiskFile {
 public:
  DiskFile() = default;
  // A file that is durable as it is.
  explicit DiskFile(PagedBytes bytes) : durable_(bytes), cached_(std::move(bytes)) {}

  uint64_t size() const { return cached_.size(); }
  const PagedBytes& cached() const { return cached_; }
  size_t Read(uint64_t position, std::span<std::byte> out) const {
    return cached_.Read(position, out);
  }
  void Write(uint64_t position, std::span<const std::byte> bytes);
  void Truncate(uint64_t size);
  void Sync();
  // What the kernel does when a write-back fails: the pages count as clean, so that reads go on to
  // show bytes that no later sync will write. The size is not lost with them.
  void LosePages();
  void DropCache();

  // What a power cut leaves. `stale_blocks`: space that was allocated and not written may hold
  // older bytes of this file, and not only zeros or noise.
  PagedBytes AfterCut(SplitMix64& random, bool stale_blocks) const;

 private:
  struct Operation {
    enum class Kind { kWrite, kTruncate, kExtend };
    Kind kind;
    uint64_t position;                         // or the size
    std::shared_ptr<const std::string> bytes;  // of a write
    uint64_t end() const { return position + (bytes == nullptr ? 0 : bytes->size()); }
  };
  static void Apply(const Operation& operation, PagedBytes& bytes);
  static void ApplyTorn(const Operation& operation, SplitMix64& random, PagedBytes& bytes);
  void ExtendAhead(SplitMix64& random, bool stale_blocks, PagedBytes& image) const;

  PagedBytes durable_;
  PagedBytes cached_;
  std::vector<Operation> unsynced_;
  bool lost_pages_ = false;  // cached_ is not what durable_ and unsynced_ make
};

}  // namespace millrace
