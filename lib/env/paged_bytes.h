#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace millrace {

// Bytes whose copies share what they have in common, so that a copy costs one pointer for each 4
// KiB and a change costs the pages that it touches. Thread-compatible, with one exception: to copy
// it counts as a change of the source, which from then on shares its pages.
class PagedBytes {
 public:
  static constexpr size_t kPageBytes = 4096;
  static constexpr uint64_t kMaxBytes = uint64_t{1} << 32;  // bounds the table of pages

  PagedBytes() = default;
  PagedBytes(const PagedBytes& other);
  PagedBytes& operator=(const PagedBytes& other);
  PagedBytes(PagedBytes&&) = default;
  PagedBytes& operator=(PagedBytes&&) = default;

  uint64_t size() const { return size_; }
  // Copies what there is from `position` on, and says how much that was.
  size_t Read(uint64_t position, std::span<std::byte> out) const;
  // Grows the bytes where needed, with zeros in a gap. The end is at most kMaxBytes.
  void Write(uint64_t position, std::span<const std::byte> bytes);
  void Resize(uint64_t size);  // shorter, or longer with zeros; at most kMaxBytes
  std::string ToString() const;

 private:
  struct Page {
    explicit Page(uint64_t owner_token) : owner(owner_token) {}
    const uint64_t owner;  // the token of the only PagedBytes that may write to the page
    std::byte bytes[kPageBytes];
  };
  Page& WritablePage(size_t index);

  uint64_t size_ = 0;
  std::vector<std::shared_ptr<Page>> pages_;  // null: zeros; bytes past size_ are zeros
  mutable uint64_t token_ = 0;                // 0: all pages are shared
};

}  // namespace millrace
