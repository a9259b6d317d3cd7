#include "base/crc32c.h"

#include <array>
#include <atomic>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#define MILLRACE_CRC32C_X86 1
#endif

// A checksum is a polynomial over GF(2) modulo P, bit 31 the coefficient of x^0 ("reflected"). To
// go over n more bytes multiplies it by x^(8n). Hence checksums of neighbouring ranges are joined
// by one multiplication with a constant, whatever the ranges hold, and three streams may run side
// by side.
namespace millrace {
namespace {

constexpr uint32_t kP = 0x82f63b78;
constexpr uint32_t kOne = uint32_t{1} << 31;

constexpr uint32_t TimesX(uint32_t a) { return (a >> 1) ^ ((a & 1) != 0 ? kP : 0); }
constexpr uint32_t OverX(uint32_t a) { return (a & kOne) != 0 ? ((a ^ kP) << 1) | 1 : a << 1; }
constexpr uint32_t TimesModP(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (; a != 0; a <<= 1, b = TimesX(b))
    if ((a & kOne) != 0) product ^= b;
  return product;
}

// Fold(w) is what eight bytes w make of the checksum 0. Applied to the carry-less product of a and
// b it yields a * b * x^33, so every constant below carries a factor x^-33.
constexpr uint32_t XToMinus33() {
  uint32_t a = kOne;
  for (int i = 0; i < 33; ++i) a = OverX(a);
  return a;
}
constexpr uint32_t XTo(int bits) {
  uint32_t a = kOne;
  for (int i = 0; i < bits; ++i) a = TimesX(a);
  return a;
}

using ByteTable = std::array<uint32_t, 256>;
constexpr std::array<ByteTable, 8> MakeByteTables() {
  std::array<ByteTable, 8> tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int i = 0; i < 8; ++i) crc = TimesX(crc);
    tables[0][byte] = crc;
  }
  for (size_t k = 1; k < 8; ++k)
    for (size_t byte = 0; byte < 256; ++byte)
      tables[k][byte] = (tables[k - 1][byte] >> 8) ^ tables[0][tables[k - 1][byte] & 0xff];
  return tables;
}
constexpr auto kByteTables = MakeByteTables();

// kPowers[k][v] goes over v * 16^k bytes: a length is applied digit by digit.
constexpr std::array<std::array<uint32_t, 16>, 16> MakePowers() {
  std::array<std::array<uint32_t, 16>, 16> powers{};
  uint32_t step = XTo(8);
  for (auto& digit : powers) {
    digit[0] = XToMinus33();
    for (size_t v = 1; v < 16; ++v) digit[v] = TimesModP(digit[v - 1], step);
    for (int i = 0; i < 4; ++i) step = TimesModP(step, step);
  }
  return powers;
}
constexpr auto kPowers = MakePowers();

// Eight bytes as a number whose lowest byte comes first.
uint64_t LoadWord(const std::byte* at) {
  uint64_t word;
  std::memcpy(&word, at, 8);
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

uint32_t FoldPortable(uint64_t w) {
  const auto& t = kByteTables;
  return t[7][w & 0xff] ^ t[6][(w >> 8) & 0xff] ^ t[5][(w >> 16) & 0xff] ^ t[4][(w >> 24) & 0xff] ^
         t[3][(w >> 32) & 0xff] ^ t[2][(w >> 40) & 0xff] ^ t[1][(w >> 48) & 0xff] ^ t[0][w >> 56];
}

uint32_t ExtendPortable(uint32_t state, const std::byte* at, size_t count) {
  for (; count >= 8; at += 8, count -= 8) state = FoldPortable(state ^ LoadWord(at));
  for (; count > 0; ++at, --count)
    state = (state >> 8) ^ kByteTables[0][(state ^ static_cast<uint32_t>(*at)) & 0xff];
  return state;
}

uint32_t MultiplyPortable(uint32_t a, uint32_t b) {
  std::array<uint64_t, 16> multiples{};  // of b, for four bits of a at a time
  for (size_t i = 1; i < 16; ++i) multiples[i] = (multiples[i / 2] << 1) ^ ((i & 1) != 0 ? b : 0);
  uint64_t product = 0;
  for (int shift = 28; shift >= 0; shift -= 4)
    product = (product << 4) ^ multiples[(a >> shift) & 15];
  return FoldPortable(product);
}

template <uint32_t (*Multiply)(uint32_t, uint32_t)>
uint32_t GoOver(uint32_t crc, uint64_t length) {
  for (size_t k = 0; length != 0; ++k, length >>= 4)
    if ((length & 15) != 0) crc = Multiply(crc, kPowers[k][length & 15]);
  return crc;
}

#if MILLRACE_CRC32C_X86

// Words a stream; a longer input is taken in several rounds of three times as much.
constexpr size_t kMaxStreamWords = 256;
// Below this, joining the streams costs more than they gain (measured).
constexpr size_t kMinThreeStreams = 192;

struct Join {
  uint32_t over_two;
  uint32_t over_one;
};
// kJoins[n] goes over two streams and over one stream of n words.
constexpr std::array<Join, kMaxStreamWords + 1> MakeJoins() {
  std::array<Join, kMaxStreamWords + 1> joins{};
  const uint32_t word = XTo(64);
  uint32_t one = kOne;
  for (auto& join : joins) {
    join = {TimesModP(TimesModP(one, one), XToMinus33()), TimesModP(one, XToMinus33())};
    one = TimesModP(one, word);
  }
  return joins;
}
constexpr auto kJoins = MakeJoins();

#define MILLRACE_TARGET_X86 __attribute__((target("sse4.2,pclmul")))

MILLRACE_TARGET_X86 inline uint64_t CarrylessX86(uint32_t a, uint32_t b) {
  const __m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128(static_cast<int>(a)),
                                               _mm_cvtsi32_si128(static_cast<int>(b)), 0);
  return static_cast<uint64_t>(_mm_cvtsi128_si64(product));
}

MILLRACE_TARGET_X86 uint32_t MultiplyX86(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>(_mm_crc32_u64(0, CarrylessX86(a, b)));
}

// Three streams of `words` words each, one after the other in memory.
MILLRACE_TARGET_X86 inline uint64_t ThreeStreamsX86(uint64_t state, const std::byte* at,
                                                    size_t words) {
  const size_t stream = 8 * words;
  uint64_t b = 0;
  uint64_t c = 0;
  for (const std::byte* const end = at + stream; at != end; at += 8) {
    state = _mm_crc32_u64(state, LoadWord(at));
    b = _mm_crc32_u64(b, LoadWord(at + stream));
    c = _mm_crc32_u64(c, LoadWord(at + 2 * stream));
  }
  const Join join = kJoins[words];
  const uint64_t ab = CarrylessX86(static_cast<uint32_t>(state), join.over_two) ^
                      CarrylessX86(static_cast<uint32_t>(b), join.over_one);
  return _mm_crc32_u64(0, ab) ^ c;
}

MILLRACE_TARGET_X86 uint32_t ExtendX86(uint32_t start, const std::byte* at, size_t count) {
  uint64_t state = start;
  while (count >= kMinThreeStreams) {
    const size_t words = count / 24 < kMaxStreamWords ? count / 24 : kMaxStreamWords;
    state = ThreeStreamsX86(state, at, words);
    at += 24 * words;
    count -= 24 * words;
  }
  for (; count >= 8; at += 8, count -= 8) state = _mm_crc32_u64(state, LoadWord(at));
  auto narrow = static_cast<uint32_t>(state);
  if ((count & 4) != 0) {
    uint32_t four;
    std::memcpy(&four, at, 4);
    narrow = _mm_crc32_u32(narrow, four);
    at += 4;
  }
  for (count &= 3; count > 0; ++at, --count)
    narrow = _mm_crc32_u8(narrow, static_cast<uint8_t>(*at));
  return narrow;
}

#endif  // MILLRACE_CRC32C_X86

struct Implementation {
  uint32_t (*extend)(uint32_t state, const std::byte* at, size_t count);
  uint32_t (*go_over)(uint32_t crc, uint64_t length);
};
constexpr Implementation kPortable = {ExtendPortable, GoOver<MultiplyPortable>};
#if MILLRACE_CRC32C_X86
constexpr Implementation kX86 = {ExtendX86, GoOver<MultiplyX86>};
#endif

const Implementation& Choose() {
#if MILLRACE_CRC32C_X86
  if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) return kX86;
#endif
  return kPortable;
}

// Not a static of a function, whose guard every call would read, and set without one: a checksum
// may be asked for before or after the statics of this file live. Threads that race store the same.
constinit std::atomic<const Implementation*> chosen{nullptr};
inline const Implementation& Best() {
  const Implementation* best = chosen.load(std::memory_order_relaxed);
  if (best == nullptr) [[unlikely]] {
    best = &Choose();
    chosen.store(best, std::memory_order_relaxed);
  }
  return *best;
}

}  // namespace

uint32_t Crc32c(std::span<const std::byte> data, uint32_t crc_of_what_came_before) {
  return ~Best().extend(~crc_of_what_came_before, data.data(), data.size());
}

uint32_t Crc32cCombine(uint32_t crc_a, uint32_t crc_b, uint64_t length_b) {
  return Best().go_over(crc_a, length_b) ^ crc_b;
}

namespace internal {
uint32_t Crc32cPortable(std::span<const std::byte> data, uint32_t crc) {
  return ~ExtendPortable(~crc, data.data(), data.size());
}
uint32_t Crc32cCombinePortable(uint32_t crc_a, uint32_t crc_b, uint64_t length_b) {
  return kPortable.go_over(crc_a, length_b) ^ crc_b;
}
}  // namespace internal

}  // namespace millrace
