#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <type_traits>

namespace millrace {

template <std::integral T>
constexpr T SwapBytesIfLittle(T value) {
  if constexpr (sizeof(T) == 1 || std::endian::native == std::endian::big) return value;
  using U = std::make_unsigned_t<T>;
  const U u = static_cast<U>(value);
  if constexpr (sizeof(T) == 2) return static_cast<T>(__builtin_bswap16(u));
  if constexpr (sizeof(T) == 4) return static_cast<T>(__builtin_bswap32(u));
  if constexpr (sizeof(T) == 8) return static_cast<T>(__builtin_bswap64(u));
}

// Reads and writes fixed-width big-endian integers, as Kafka stores them, at any alignment.
template <std::integral T>
T LoadBigEndian(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return SwapBytesIfLittle(value);
}
template <std::integral T>
void StoreBigEndian(std::byte* at, T value) {
  value = SwapBytesIfLittle(value);
  std::memcpy(at, &value, sizeof(T));
}

}  // namespace millrace
