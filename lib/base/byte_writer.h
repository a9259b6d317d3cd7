#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "base/endian.h"

namespace millrace {

constexpr uint32_t ZigZag(int32_t v) {
  return (static_cast<uint32_t>(v) << 1) ^ static_cast<uint32_t>(v >> 31);
}
constexpr uint64_t ZigZag(int64_t v) {
  return (static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63);
}
// The length of a varint in bytes: one for each seven bits, at least one.
constexpr size_t UnsignedVarintSize(uint64_t v) {
  return (static_cast<size_t>(std::bit_width(v | 1)) + 6) / 7;
}
constexpr size_t VarintSize(int32_t v) { return UnsignedVarintSize(ZigZag(v)); }
constexpr size_t VarlongSize(int64_t v) { return UnsignedVarintSize(ZigZag(v)); }
// Writes the varint and returns the position after it. `at` has room for ten bytes.
inline std::byte* PutUnsignedVarint(std::byte* at, uint64_t v) {
  while (v >= 0x80) {
    *at++ = static_cast<std::byte>(v | 0x80);
    v >>= 7;
  }
  *at++ = static_cast<std::byte>(v);
  return at;
}

inline std::span<const std::byte> AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view AsText(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Appends values to a growing buffer. For side files, keys and metadata; record batches have a
// builder of their own. Belongs to one thread; owns the buffer.
class ByteWriter {
 public:
  template <std::integral T>
  void Integer(T value) {
    const size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    StoreBigEndian(bytes_.data() + at, value);
  }
  void Bytes(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void Text(std::string_view text) { Bytes(AsBytes(text)); }
  void UnsignedVarint(uint64_t v) {
    std::byte buffer[10];
    Bytes({buffer, static_cast<size_t>(PutUnsignedVarint(buffer, v) - buffer)});
  }
  void Varint(int32_t v) { UnsignedVarint(ZigZag(v)); }
  void Varlong(int64_t v) { UnsignedVarint(ZigZag(v)); }

  // Overwrites an integer that was written at `position` before.
  template <std::integral T>
  void Patch(size_t position, T value) {
    StoreBigEndian(bytes_.data() + position, value);
  }
  size_t size() const { return bytes_.size(); }
  std::span<const std::byte> bytes() const { return bytes_; }
  std::vector<std::byte> Take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace millrace
