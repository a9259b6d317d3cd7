#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace millrace {

// A 128-bit id, written as Kafka writes one: URL-safe base64 without padding, 22 characters.
struct Uuid {
  std::array<uint8_t, 16> bytes{};

  auto operator<=>(const Uuid&) const = default;
  bool is_zero() const { return *this == Uuid{}; }
  std::string ToString() const;
  // nullopt unless `text` is exactly what ToString writes for some id.
  static std::optional<Uuid> Parse(std::string_view text);
  // A version 4 id from 128 random bits. Kafka reserves ids whose text starts with '-'; the caller
  // gets the next best one by passing other bits (see IsReserved).
  static Uuid FromRandom(uint64_t high, uint64_t low);
  bool IsReserved() const { return ToString().front() == '-' || is_zero(); }

  template <typename H>
  friend H AbslHashValue(H h, const Uuid& id) {
    return H::combine(std::move(h), id.bytes);
  }
};

}  // namespace millrace
