#include "base/uuid.h"

#include <catch2/catch.hpp>

namespace millrace {

TEST_CASE("an id is written as Kafka writes it", "[base][uuid]") {
  CHECK(Uuid{}.ToString() == "AAAAAAAAAAAAAAAAAAAAAA");
  // Kafka's id of the metadata topic: all zero but for the last bit.
  Uuid metadata;
  metadata.bytes[15] = 1;
  CHECK(metadata.ToString() == "AAAAAAAAAAAAAAAAAAAAAQ");
  Uuid all;
  all.bytes.fill(0xff);
  CHECK(all.ToString() == "_____________________w");
  Uuid dashes;
  dashes.bytes.fill(0xfb);
  CHECK(dashes.ToString().find_first_not_of("-_7vAw") == std::string::npos);
}

TEST_CASE("an id is read back from its text, and from no other", "[base][uuid]") {
  for (uint64_t i = 0; i < 100; ++i) {
    const Uuid id = Uuid::FromRandom(i * 0x9e3779b97f4a7c15, ~i * 0xbf58476d1ce4e5b9);
    CHECK(id.ToString().size() == 22);
    CHECK(Uuid::Parse(id.ToString()) == id);
  }
  CHECK(!Uuid::Parse("").has_value());
  CHECK(!Uuid::Parse("AAAAAAAAAAAAAAAAAAAAA").has_value());
  CHECK(!Uuid::Parse("AAAAAAAAAAAAAAAAAAAAAAA").has_value());
  CHECK(!Uuid::Parse("AAAAAAAAAAAAAAAAAAAAA=").has_value());
  CHECK(!Uuid::Parse("AAAAAAAAAAAAAAAAAAAAA!").has_value());
  CHECK(!Uuid::Parse("AAAAAAAAAA AAAAAAAAAAA").has_value());
  // The last character holds two bits; these spell others, which no id has.
  CHECK(!Uuid::Parse("AAAAAAAAAAAAAAAAAAAAAB").has_value());
  // Base64's other alphabet.
  CHECK(!Uuid::Parse("+AAAAAAAAAAAAAAAAAAAAA").has_value());
}

TEST_CASE("a random id is of version 4 and knows whether Kafka reserves it", "[base][uuid]") {
  const Uuid id = Uuid::FromRandom(UINT64_MAX, UINT64_MAX);
  CHECK(id.bytes[6] >> 4 == 4);
  CHECK(id.bytes[8] >> 6 == 2);
  CHECK(!id.IsReserved());
  CHECK(!id.is_zero());
  CHECK(Uuid{}.IsReserved());
  // 0xf8 is 62 in its first six bits: '-'.
  CHECK(Uuid::FromRandom(uint64_t{0xf8} << 56, 0).IsReserved());
  CHECK(Uuid::FromRandom(1, 2) != Uuid::FromRandom(1, 3));
}

}  // namespace millrace
