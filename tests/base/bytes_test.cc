// Bytes from outside and to outside: ByteReader, ByteWriter, big-endian integers, varints.
#include <limits>
#include <random>

#include <catch2/catch.hpp>

#include "base/byte_reader.h"
#include "base/byte_writer.h"

namespace millrace {
namespace {

std::string Written(uint64_t value) {
  ByteWriter out;
  out.UnsignedVarint(value);
  return std::string(AsText(out.bytes()));
}

}  // namespace

TEST_CASE("integers are big-endian at any alignment", "[base][bytes]") {
  ByteWriter out;
  out.Integer<int8_t>(-2);
  out.Integer<int16_t>(0x0102);
  out.Integer<uint32_t>(0xfedcba98);
  out.Integer<int64_t>(-3);
  CHECK(AsText(out.bytes()) == std::string_view("\xfe\x01\x02\xfe\xdc\xba\x98"
                                                "\xff\xff\xff\xff\xff\xff\xff\xfd",
                                                15));
  ByteReader in(out.bytes());
  CHECK(in.Integer<int8_t>() == -2);
  CHECK(in.Integer<int16_t>() == 0x0102);
  CHECK(in.Integer<uint32_t>() == 0xfedcba98);
  CHECK(in.Integer<int64_t>() == -3);
  CHECK((in.ok() && in.remaining() == 0));
}

TEST_CASE("a value written before is patched in place", "[base][bytes]") {
  ByteWriter out;
  out.Text("ab");
  out.Integer<int32_t>(0);
  out.Text("cd");
  out.Patch<int32_t>(2, 0x31323334);
  CHECK(AsText(out.bytes()) == "ab1234cd");
  CHECK(out.size() == 8);
  CHECK(AsText(out.Take()) == "ab1234cd");
}

TEST_CASE("a read that does not fit fails the reader for good", "[base][bytes]") {
  const std::string_view three("\x01\x02\x03", 3);
  SECTION("an integer") {
    ByteReader in(AsBytes(three));
    CHECK(in.Integer<int32_t>() == 0);
    CHECK(!in.ok());
    CHECK(in.Integer<int8_t>() == 0);
    CHECK(in.remaining() == 0);
    CHECK(!in.ok());
  }
  SECTION("bytes") {
    ByteReader in(AsBytes(three));
    CHECK(AsText(in.Bytes(2)) == "\x01\x02");
    CHECK(in.Bytes(2).empty());
    CHECK(!in.ok());
  }
  SECTION("bytes of a length that was negative before it was cast") {
    ByteReader in(AsBytes(three));
    CHECK(in.Bytes(static_cast<size_t>(-1)).empty());
    CHECK(!in.ok());
  }
  SECTION("no bytes always fit") {
    ByteReader in({});
    CHECK(in.Bytes(0).empty());
    CHECK(in.ok());
    CHECK(in.UnsignedVarint() == 0);
    CHECK(!in.ok());
  }
}

TEST_CASE("varints are Protocol Buffers'", "[base][varint]") {
  CHECK(Written(0) == std::string(1, '\0'));
  CHECK(Written(1) == "\x01");
  CHECK(Written(127) == "\x7f");
  CHECK(Written(128) == "\x80\x01");
  CHECK(Written(300) == "\xac\x02");
  CHECK(Written(UINT32_MAX) == "\xff\xff\xff\xff\x0f");
  CHECK(Written(UINT64_MAX) == "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
  CHECK(ZigZag(int32_t{0}) == 0);
  CHECK(ZigZag(int32_t{-1}) == 1);
  CHECK(ZigZag(int32_t{1}) == 2);
  CHECK(ZigZag(std::numeric_limits<int32_t>::max()) == 0xfffffffe);
  CHECK(ZigZag(std::numeric_limits<int32_t>::min()) == 0xffffffff);
  CHECK(ZigZag(std::numeric_limits<int64_t>::min()) == UINT64_MAX);
}

TEST_CASE("a varint is read as it was written, and is as long as was said", "[base][varint]") {
  const uint64_t seed = GENERATE(take(1, random(uint64_t{1}, uint64_t{1} << 40)));
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const auto check = [](uint64_t value) {
    const std::string bytes = Written(value);
    ByteReader in(AsBytes(bytes));
    if (in.UnsignedVarlong() != value || !in.ok() || in.remaining() != 0) FAIL(value);
    if (bytes.size() != UnsignedVarintSize(value)) FAIL("size of " << value);

    ByteWriter out;
    const auto narrow = static_cast<int32_t>(value);
    const auto wide = static_cast<int64_t>(value);
    out.Varint(narrow);
    out.Varlong(wide);
    if (out.size() != VarintSize(narrow) + VarlongSize(wide)) FAIL("sizes of " << value);
    ByteReader both(out.bytes());
    if (both.Varint() != narrow || both.Varlong() != wide || !both.ok()) FAIL(value);
  };
  for (int bits = 0; bits < 64; ++bits)
    for (const uint64_t off : {0, 1, 2}) {
      check((uint64_t{1} << bits) - off);
      check((uint64_t{1} << bits) + off);
    }
  for (int i = 0; i < 10000; ++i) check(random() >> (random() % 64));
}

TEST_CASE("a varint that is cut off, over-long or too large fails", "[base][varint]") {
  const auto reads_32 = [](std::string_view bytes) {
    ByteReader in(AsBytes(bytes));
    in.UnsignedVarint();
    return in.ok();
  };
  const auto reads_64 = [](std::string_view bytes) {
    ByteReader in(AsBytes(bytes));
    in.UnsignedVarlong();
    return in.ok();
  };
  CHECK(!reads_32(""));
  CHECK(!reads_32("\x80"));
  CHECK(!reads_32("\xff\xff\xff\xff"));
  CHECK(reads_32("\xff\xff\xff\xff\x0f"));
  CHECK(!reads_32("\xff\xff\xff\xff\x10"));
  CHECK(!reads_32("\x80\x80\x80\x80\x80\x01"));
  CHECK(reads_32(std::string_view("\x80\x80\x80\x80\x00", 5)));
  CHECK(reads_64("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
  CHECK(!reads_64("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"));
  CHECK(!reads_64("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"));
  CHECK(!reads_64("\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
}

}  // namespace millrace
