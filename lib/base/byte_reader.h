#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/endian.h"

namespace millrace {

// Takes values from the front of bytes that came from outside. A read that does not fit, or a
// varint that is over-long, makes the reader fail for good: every later read returns zero or
// nothing, so a decoder may read a run of fields and ask ok() once, before it acts on any of them.
// Belongs to one thread; borrows the bytes.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  size_t remaining() const { return rest_.size(); }
  std::span<const std::byte> rest() const { return rest_; }
  void Fail() { ok_ = false, rest_ = {}; }

  template <std::integral T>
  T Integer() {
    if (rest_.size() < sizeof(T)) return Fail(), T{};
    const T value = LoadBigEndian<T>(rest_.data());
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }
  // The next `count` bytes; empty, and a failed reader, when there are fewer.
  std::span<const std::byte> Bytes(size_t count) {
    if (count > rest_.size()) return Fail(), std::span<const std::byte>{};
    const auto bytes = rest_.first(count);
    rest_ = rest_.subspan(count);
    return bytes;
  }

  // Protocol Buffers' varints: seven bits a byte, the lowest first. The signed ones are zigzag.
  uint32_t UnsignedVarint() { return static_cast<uint32_t>(Varint64(5, UINT32_MAX)); }
  uint64_t UnsignedVarlong() { return Varint64(10, UINT64_MAX); }
  int32_t Varint() {
    const uint32_t u = UnsignedVarint();
    return static_cast<int32_t>((u >> 1) ^ (~(u & 1) + 1));
  }
  int64_t Varlong() {
    const uint64_t u = UnsignedVarlong();
    return static_cast<int64_t>((u >> 1) ^ (~(u & 1) + 1));
  }

 private:
  uint64_t Varint64(size_t max_bytes, uint64_t max_value) {
    // One byte is by far the most frequent.
    if (!rest_.empty() && static_cast<uint8_t>(rest_[0]) < 0x80) [[likely]] {
      const auto value = static_cast<uint8_t>(rest_[0]);
      rest_ = rest_.subspan(1);
      return value;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < max_bytes && i < rest_.size(); ++i) {
      const auto byte = static_cast<uint8_t>(rest_[i]);
      const uint64_t bits = byte & 0x7fu;
      if (i == 9 && bits > 1) break;  // the tenth byte holds one bit
      value |= bits << (7 * i);
      if (byte < 0x80) {
        if (value > max_value) break;
        rest_ = rest_.subspan(i + 1);
        return value;
      }
    }
    return Fail(), 0;
  }

  std::span<const std::byte> rest_;
  bool ok_ = true;
};

}  // namespace millrace
