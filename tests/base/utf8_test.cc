#include "base/utf8.h"

#include <iterator>
#include <span>

#include <catch2/catch.hpp>

#include "base/crc32c.h"

namespace millrace {
namespace {

TEST_CASE("what is not UTF-8 is told from what is", "[base]") {
  for (const char* good : {"", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\x9f\xbf",
                           "\xf4\x8f\xbf\xbf"}) {
    INFO(good);
    CHECK(IsUtf8(good));
    CHECK(ToUtf8(good) == good);
  }
  struct Case {
    const char* text;
    const char* replaced;
  };
  const Case cases[] = {
      {"\x80", "\xef\xbf\xbd"},                  // a stray continuation
      {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},  // over-long
      {"\xed\xa0\x80", "\xef\xbf\xbd"},          // a surrogate, as Java has it
      {"\xed\xbf?", "\xef\xbf\xbd?"},            // the beginning of one
      {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},  // too large
      {"\xe2\x82", "\xef\xbf\xbd"},                                              // cut short
      {"a\xe2\x82z", "a\xef\xbf\xbdz"},
      {"\xf0\x9f\x98z", "\xef\xbf\xbdz"},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    CHECK_FALSE(IsUtf8(c.text));
    CHECK(ToUtf8(c.text) == c.replaced);
  }
}

// What Java 17 makes of every sequence of up to five of these bytes, each answer with its length
// before it: String(bytes, UTF_8).getBytes(UTF_8).
TEST_CASE("ill-formed text reads as Java reads it", "[base]") {
  constexpr uint8_t kBytes[] = {0x00, 0x3f, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xff};
  constexpr size_t kCount = std::size(kBytes);
  uint32_t crc = 0;
  size_t sequences = 1;
  for (size_t length = 1; length <= 4; ++length) {
    sequences *= kCount;
    for (size_t sequence = 0; sequence < sequences; ++sequence) {
      std::string text;
      for (size_t i = 0, left = sequence; i < length; ++i, left /= kCount) {
        text += static_cast<char>(kBytes[left % kCount]);
      }
      const std::string read = ToUtf8(text);
      const std::string answer = static_cast<char>(read.size()) + read;
      crc = Crc32c(std::as_bytes(std::span(answer)), crc);
    }
  }
  CHECK(crc == 0x8c72ede7);
}

}  // namespace
}  // namespace millrace
