#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "base/byte_reader.h"

namespace millrace::record {

constexpr int64_t UnZigZag(uint64_t u) { return static_cast<int64_t>((u >> 1) ^ (~(u & 1) + 1)); }

// ByteReader decides what a varint may be; this is the way round the frequent cases.
template <std::signed_integral T>
[[gnu::noinline]] bool TakeLongVarint(const std::byte*& at, const std::byte* end, T& value) {
  ByteReader in({at, end});
  if constexpr (sizeof(T) == 4) value = in.Varint();
  if constexpr (sizeof(T) == 8) value = in.Varlong();
  if (!in.ok()) return false;
  at = in.rest().data();
  return true;
}

// Decodes the zigzag varint at `at`, which ends before `end`, and moves `at` behind it. False, and
// `at` as it was, for one that is cut off or over-long. Nearly all varints of records have one or
// two bytes.
template <std::signed_integral T>
inline bool TakeVarint(const std::byte*& at, const std::byte* end, T& value) {
  if (end - at >= 2) [[likely]] {
    const auto first = static_cast<uint32_t>(at[0]);
    if (first < 0x80) {
      value = static_cast<T>(UnZigZag(first));
      at += 1;
      return true;
    }
    const auto second = static_cast<uint32_t>(at[1]);
    if (second < 0x80) {
      value = static_cast<T>(UnZigZag((first & 0x7f) | (second << 7)));
      at += 2;
      return true;
    }
  }
  return TakeLongVarint(at, end, value);
}

}  // namespace millrace::record
