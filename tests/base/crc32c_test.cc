// The checksum: known answers, and the fast ways against the slow one.
#include "base/crc32c.h"

#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include "base/byte_writer.h"

namespace millrace {
namespace {

std::vector<std::byte> RandomBytes(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  return bytes;
}

// The definition, a bit at a time.
uint32_t BitByBit(std::span<const std::byte> bytes) {
  uint32_t crc = ~uint32_t{0};
  for (const std::byte b : bytes) {
    crc ^= static_cast<uint32_t>(b);
    for (int i = 0; i < 8; ++i) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
  }
  return ~crc;
}

}  // namespace

TEST_CASE("the checksum answers what is published", "[base][crc32c]") {
  const auto check = [](std::span<const std::byte> bytes, uint32_t expected) {
    CHECK(Crc32c(bytes) == expected);
    CHECK(internal::Crc32cPortable(bytes, 0) == expected);
  };
  check({}, 0);
  check(AsBytes("123456789"), 0xe3069283);
  // RFC 3720, B.4.
  std::vector<std::byte> bytes(32);
  check(bytes, 0x8a9136aa);
  std::fill(bytes.begin(), bytes.end(), std::byte{0xff});
  check(bytes, 0x62a8ab43);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
  check(bytes, 0x46dd794e);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(31 - i);
  check(bytes, 0x113fdb5c);
}

TEST_CASE("every length and alignment gives the checksum of the definition", "[base][crc32c]") {
  const std::vector<std::byte> bytes = RandomBytes(20000, 1);
  for (size_t size = 0; size < 1300; ++size) {
    const auto part = std::span(bytes).subspan(size % 17, size);
    const uint32_t expected = BitByBit(part);
    if (Crc32c(part) != expected || internal::Crc32cPortable(part, 0) != expected)
      FAIL("size " << size);
  }
  // Around the rounds of three full streams (6144 bytes) and beyond.
  for (const size_t round : {6144, 12288, 18432})
    for (size_t size = round - 30; size < round + 30; ++size) {
      const auto part = std::span(bytes).first(size);
      if (Crc32c(part) != BitByBit(part)) FAIL("size " << size);
    }
}

TEST_CASE("a checksum goes on from the one before", "[base][crc32c]") {
  const std::vector<std::byte> bytes = RandomBytes(3000, 2);
  const uint32_t whole = Crc32c(bytes);
  for (size_t cut = 0; cut <= bytes.size(); cut += 7) {
    const auto front = std::span(bytes).first(cut);
    const auto back = std::span(bytes).subspan(cut);
    if (Crc32c(back, Crc32c(front)) != whole) FAIL("cut at " << cut);
    if (internal::Crc32cPortable(back, Crc32c(front)) != whole) FAIL("cut at " << cut);
  }
}

TEST_CASE("checksums of neighbours combine to that of both", "[base][crc32c]") {
  const std::vector<std::byte> bytes = RandomBytes(70000, 3);
  const uint32_t whole = Crc32c(bytes);
  for (size_t cut = 0; cut <= bytes.size(); cut += cut < 300 || cut > 69700 ? 1 : 997) {
    const uint32_t a = Crc32c(std::span(bytes).first(cut));
    const auto b = std::span(bytes).subspan(cut);
    if (Crc32cCombine(a, Crc32c(b), b.size()) != whole) FAIL("cut at " << cut);
    if (internal::Crc32cCombinePortable(a, Crc32c(b), b.size()) != whole) FAIL("cut at " << cut);
  }
  CHECK(Crc32cCombine(whole, 0, 0) == whole);
}

TEST_CASE("combining reaches over lengths that nobody could hold", "[base][crc32c]") {
  // Of a, b and c, joined from the left and from the right.
  for (const uint64_t length :
       {uint64_t{1} << 31, uint64_t{1} << 40, (uint64_t{1} << 62) + 12345}) {
    const uint32_t a = 0x12345678;
    const uint32_t b = 0x9abcdef0;
    const uint32_t c = 0x0fedcba9;
    const uint32_t left = Crc32cCombine(Crc32cCombine(a, b, length), c, 99);
    const uint32_t right = Crc32cCombine(a, Crc32cCombine(b, c, 99), length + 99);
    CHECK(left == right);
    CHECK(Crc32cCombine(a, b, length) == internal::Crc32cCombinePortable(a, b, length));
  }
}

}  // namespace millrace
