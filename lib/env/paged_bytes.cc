#include "env/paged_bytes.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace millrace {
namespace {

uint64_t NewToken() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

}  // namespace

PagedBytes::PagedBytes(const PagedBytes& other) : size_(other.size_), pages_(other.pages_) {
  other.token_ = 0;
}

PagedBytes& PagedBytes::operator=(const PagedBytes& other) {
  PagedBytes copy(other);
  return *this = std::move(copy);
}

size_t PagedBytes::Read(uint64_t position, std::span<std::byte> out) const {
  if (position >= size_) return 0;
  out = out.first(std::min<uint64_t>(out.size(), size_ - position));
  const size_t count = out.size();
  while (!out.empty()) {
    const size_t at = position % kPageBytes;
    const auto part = out.first(std::min(out.size(), kPageBytes - at));
    const auto& page = pages_[position / kPageBytes];
    if (page == nullptr) {
      std::ranges::fill(part, std::byte{0});
    } else {
      std::memcpy(part.data(), page->bytes + at, part.size());
    }
    position += part.size();
    out = out.subspan(part.size());
  }
  return count;
}

PagedBytes::Page& PagedBytes::WritablePage(size_t index) {
  if (token_ == 0) token_ = NewToken();
  auto& page = pages_[index];
  if (page == nullptr) {
    page = std::make_shared<Page>(token_);
    std::ranges::fill(page->bytes, std::byte{0});
  } else if (page->owner != token_) {
    auto copy = std::make_shared<Page>(token_);
    std::memcpy(copy->bytes, page->bytes, kPageBytes);
    page = std::move(copy);
  }
  return *page;
}

void PagedBytes::Write(uint64_t position, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  if (position + bytes.size() > size_) Resize(position + bytes.size());
  while (!bytes.empty()) {
    const size_t at = position % kPageBytes;
    const auto part = bytes.first(std::min(bytes.size(), kPageBytes - at));
    std::memcpy(WritablePage(position / kPageBytes).bytes + at, part.data(), part.size());
    position += part.size();
    bytes = bytes.subspan(part.size());
  }
}

void PagedBytes::Resize(uint64_t size) {
  pages_.resize((size + kPageBytes - 1) / kPageBytes);
  const size_t at = size % kPageBytes;
  if (size < size_ && at != 0 && pages_.back() != nullptr) {
    std::memset(WritablePage(pages_.size() - 1).bytes + at, 0, kPageBytes - at);
  }
  size_ = size;
}

std::string PagedBytes::ToString() const {
  std::string out(size_, '\0');
  Read(0, std::as_writable_bytes(std::span(out)));
  return out;
}

}  // namespace millrace
