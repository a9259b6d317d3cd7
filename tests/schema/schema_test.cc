#include "schema/schema.h"

#include <limits>

#include <catch2/catch.hpp>

#include "base/errors.h"
#include "schema/hex.h"
#include "support/or_fail.h"

namespace millrace::schema {
namespace {

struct Inner {
  int32_t number = 0;
  std::string text = {};
  std::optional<std::string> note = {};
  UnknownTags unknown_tags;
  template <typename F>
  static void Fields(F f) {
    f("number", &Inner::number);
    f("text", &Inner::text);
    f("note", &Inner::note, {.since = 2, .tag = 5});
  }
  bool operator==(const Inner&) const = default;
};

// One field of each kind, and versions from before and after the flexible ones.
struct Everything {
  bool flag = false;
  int8_t i8 = 0;
  uint16_t u16 = 0;
  double ratio = 0;
  Uuid id = {};
  std::string text = {};
  std::optional<std::string> maybe_text = {};
  std::vector<std::byte> blob = {};
  std::optional<std::vector<std::byte>> maybe_blob = {};
  std::vector<int16_t> numbers = {};
  std::optional<std::vector<int64_t>> maybe_numbers = {};
  Inner inner;
  std::vector<Inner> inners = {};
  std::optional<Inner> maybe_inner = {};
  int32_t only_in_1 = 7;
  int32_t kept_out = 9;
  std::optional<Inner> tagged_inner = {};
  int64_t tagged = -1;
  std::string old_text = {};

  static constexpr Description kSchema = {
      .name = "Everything", .key = 99, .versions = {0, 3}, .flexible_since = 2};
  template <typename F>
  static void Fields(F f) {
    using T = Everything;
    f("flag", &T::flag);
    f("i8", &T::i8);
    f("u16", &T::u16);
    f("ratio", &T::ratio);
    f("id", &T::id);
    f("text", &T::text);
    f("maybeText", &T::maybe_text, {.nullable_since = 1});
    f("blob", &T::blob);
    f("maybeBlob", &T::maybe_blob);
    f("numbers", &T::numbers);
    f("maybeNumbers", &T::maybe_numbers);
    f("inner", &T::inner);
    f("inners", &T::inners);
    f("maybeInner", &T::maybe_inner, {.nullable_since = 1});
    f("onlyIn1", &T::only_in_1, {.since = 1, .until = 1, .ignorable = true});
    f("keptOut", &T::kept_out, {.since = 3});
    f("taggedInner", &T::tagged_inner, {.since = 2, .tag = 1});
    f("tagged", &T::tagged, {.since = 2, .tag = 0});
    f("oldText", &T::old_text, {.never_compact = true});
  }
  bool operator==(const Everything&) const = default;
};

template <Message M>
std::string Encoded(const M& message, int16_t version) {
  std::vector<std::byte> bytes = {};
  OrFail(Encode(message, version, bytes));
  REQUIRE(OrFail(EncodedSize(message, version)) == bytes.size());
  return ToHex(bytes);
}

Everything Sample() {
  Everything m;
  m.flag = true;
  m.i8 = -2;
  m.u16 = 0x8001;
  m.ratio = 1.0;
  m.id.bytes[0] = 0xaa;
  m.text = "ab";
  m.maybe_text = "c";
  m.blob = {std::byte{1}};
  m.numbers = {3, -1};
  m.inner = {.number = 5, .text = "x", .note = {}, .unknown_tags = {}};
  m.inners = {{.number = 6, .text = "", .note = {}, .unknown_tags = {}}};
  m.maybe_inner = m.inner;
  m.old_text = "o";
  return m;
}

const char* const kFixedPart = "01 fe 8001 3ff0000000000000 aa000000000000000000000000000000";

}  // namespace

TEST_CASE("an old version has wide lengths and no tags", "[schema]") {
  const std::string want =
      ToHex(FromHex(std::string(kFixedPart) + "0002 6162"               // text
                                              "0001 63"                 // maybeText
                                              "00000001 01"             // blob
                                              "ffffffff"                // maybeBlob: null
                                              "00000002 0003 ffff"      // numbers
                                              "ffffffff"                // maybeNumbers: null
                                              "00000005 0001 78"        // inner
                                              "00000001 00000006 0000"  // inners
                                              "01 00000005 0001 78"     // maybeInner: there
                                              "00000007"                // onlyIn1
                                              "0001 6f"));              // oldText
  CHECK(Encoded(Sample(), 1) == want);
  CHECK(OrFail(Decode<Everything>(FromHex(want), 1)) == Sample());
}

TEST_CASE("a flexible version has compact lengths, and tags after each struct", "[schema]") {
  Everything m = Sample();
  m.tagged = 1;
  m.tagged_inner = Inner{.number = 1, .text = "", .note = "n", .unknown_tags = {}};
  const std::string want = ToHex(FromHex(std::string(kFixedPart) +
                                         "03 6162"                 // text
                                         "02 63"                   // maybeText
                                         "02 01"                   // blob
                                         "00"                      // maybeBlob: null
                                         "03 0003 ffff"            // numbers
                                         "00"                      // maybeNumbers: null
                                         "00000005 02 78 00"       // inner
                                         "02 00000006 01 00"       // inners
                                         "01 00000005 02 78 00"    // maybeInner: there
                                         "0001 6f"                 // oldText, never compact
                                         "02"                      // two tags
                                         "00 08 0000000000000001"  // tagged
                                         "01 0b 01 00000001 01 01 05 02 02 6e"));  // taggedInner
  CHECK(Encoded(m, 2) == want);
  CHECK(OrFail(Decode<Everything>(FromHex(want), 2)) == m);
}

TEST_CASE("a nullable field is plain where its version has no null", "[schema]") {
  Everything m = Sample();
  CHECK(OrFail(Decode<Everything>(FromHex(Encoded(m, 0)), 0)) == m);
  m.maybe_inner.reset();
  const Status status = EncodedSize(m, 0).status();
  CHECK(ErrorIdOf(status) == ErrorId::kInvalidArgument);
  CHECK_THAT(
      status.ToString(),
      Catch::Contains("Everything version 0: maybeInner: is null, this version needs a value"));
}

TEST_CASE("a field that a version lacks", "[schema]") {
  Everything m = Sample();
  SECTION("is left out without a word when it is ignorable") {
    m.only_in_1 = 1234;
    CHECK(OrFail(Decode<Everything>(FromHex(Encoded(m, 0)), 0)).only_in_1 == 7);
  }
  SECTION("is an error when it is not, and nothing is appended") {
    m.kept_out = 1;
    std::vector<std::byte> bytes(3);
    const Status status = Encode(m, 2, bytes);
    CHECK(bytes.size() == 3);
    CHECK_THAT(status.ToString(),
               Catch::Contains("keptOut: has a value, this version has no such field"));
  }
  SECTION("keeps its default when decoded") {
    m.kept_out = 1;
    CHECK(OrFail(Decode<Everything>(FromHex(Encoded(m, 3)), 3)).kept_out == 1);
    m.kept_out = 9;
    CHECK(OrFail(Decode<Everything>(FromHex(Encoded(m, 2)), 2)).kept_out == 9);
  }
}

TEST_CASE("unknown tags are kept where the struct has room for them", "[schema]") {
  Everything m = Sample();
  m.inner.unknown_tags = {{3, {std::byte{9}, std::byte{8}}}, {70, {}}};
  m.inner.note = "n";  // tag 5, between the two
  const std::string hex = Encoded(m, 2);
  CHECK_THAT(hex, Catch::Contains("03030209080502026e4600"));
  CHECK(OrFail(Decode<Everything>(FromHex(hex), 2)) == m);
  SECTION("and dropped elsewhere") {
    Everything plain = Sample();
    std::string bytes = Encoded(plain, 2);
    bytes.resize(bytes.size() - 2);  // the count of tags: none
    bytes += "01 63 01 ff";
    CHECK(OrFail(Decode<Everything>(FromHex(bytes), 2)) == plain);
  }
  SECTION("a tag that is there twice cannot be written") {
    m.inner.unknown_tags.push_back({5, {}});
    CHECK_THAT(EncodedSize(m, 2).status().ToString(),
               Catch::Contains("inner: has the tag 5 twice"));
  }
}

TEST_CASE("tags must ascend", "[schema]") {
  std::string bytes = Encoded(Sample(), 2);
  bytes.resize(bytes.size() - 2);
  for (const char* tags : {"02 63 00 63 00", "02 64 00 63 00"}) {
    CHECK_THAT(Decode<Everything>(FromHex(bytes + tags), 2).status().ToString(),
               Catch::Contains("the tags do not ascend"));
  }
}

TEST_CASE("a tag's value must fill its size", "[schema]") {
  std::string bytes = Encoded(Sample(), 2);
  bytes.resize(bytes.size() - 2);
  CHECK_THAT(
      Decode<Everything>(FromHex(bytes + "01 00 09 000000000000000001"), 2).status().ToString(),
      Catch::Contains("tagged: 1 bytes are left over"));
  CHECK_THAT(Decode<Everything>(FromHex(bytes + "01 00 07 00000000000000"), 2).status().ToString(),
             Catch::Contains("tagged: the value does not fit into the 7 bytes"));
}

TEST_CASE("a decoding error says message, version, field and what was found", "[schema]") {
  const auto error = [](std::string_view hex, int16_t version) {
    const auto bytes = FromHex(hex);
    const Status status = Decode<Everything>(bytes, version).status();
    CHECK(ErrorIdOf(status) == ErrorId::kCorruptMessage);
    return status.ToString();
  };
  const std::string fixed = kFixedPart;
  CHECK_THAT(error("", 1), Catch::Contains("Everything version 1: flag: the value does not fit "
                                           "into the 0 bytes that are left"));
  CHECK_THAT(error(fixed + "0003 6162", 1),
             Catch::Contains("text: a length of 3, 2 bytes are left"));
  CHECK_THAT(error(fixed + "ffff", 1), Catch::Contains("text: a length of -1"));
  CHECK_THAT(error(fixed + "0000 fffe", 1), Catch::Contains("maybeText: a length of -2"));
  CHECK_THAT(error(fixed + "0000 0000 00000000 00000000 7fffffff 0000", 1),
             Catch::Contains("numbers: a count of 2147483647 of at least 2 bytes each, 2 bytes"));
  CHECK_THAT(error(fixed + "0000 0000 00000000 00000000 00000000 00000000 00000000 0000"
                           "00000002 00000001 0000 00000002 0005",
                   1),
             Catch::Contains("inners[1].text: a length of 5, 0 bytes"));
  CHECK_THAT(error(Encoded(Sample(), 1) + "00", 1), Catch::Contains("1 bytes are left over"));
  CHECK_THAT(error(fixed + "80808080 80", 2), Catch::Contains("text: the value does not fit"));
}

TEST_CASE("an unknown version is refused with those that are known", "[schema]") {
  const Status status = Decode<Everything>({}, 4).status();
  CHECK(ErrorIdOf(status) == ErrorId::kUnsupportedVersion);
  CHECK_THAT(status.ToString(), Catch::Contains("version 4 is not known, known are 0 to 3"));
  CHECK(!EncodedSize(Sample(), -1).ok());
}

struct ManyTexts {
  std::vector<std::string> texts = {};
  static constexpr Description kSchema = {
      .name = "ManyTexts", .versions = {0, 1}, .flexible_since = 1};
  template <typename F>
  static void Fields(F f) {
    f("texts", &ManyTexts::texts);
  }
  bool operator==(const ManyTexts&) const = default;
};

TEST_CASE("a long list of nothing is refused before memory is taken for it", "[schema]") {
  std::string hex = "c1843d";  // 1,000,000 elements
  hex.append(2'000'000, '0');  // each a null string, which takes 32 bytes
  CHECK_THAT(Decode<ManyTexts>(FromHex(hex), 1).status().ToString(),
             Catch::Contains("texts: the arrays of the message take more than 16 times"));
  SECTION("but short names pass") {
    const ManyTexts names{std::vector<std::string>(100'000, "a")};
    CHECK(OrFail(Decode<ManyTexts>(FromHex(Encoded(names, 1)), 1)) == names);
  }
}

TEST_CASE("a text of more than 32767 bytes cannot be written", "[schema]") {
  const ManyTexts texts{{"", std::string(32768, 'x')}};
  CHECK_THAT(EncodedSize(texts, 1).status().ToString(),
             Catch::Contains("texts[1]: has 32768 bytes, at most 32767 fit"));
}

struct Views {
  std::string_view name = {};
  std::optional<std::span<const std::byte>> records = {};
  std::optional<std::span<const std::byte>> more = {};
  static constexpr Description kSchema = {.name = "Views", .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    f("name", &Views::name);
    f("records", &Views::records);
    f("more", &Views::more, {.tag = 0});
  }
};

TEST_CASE("views borrow the decoded bytes", "[schema]") {
  const auto bytes = FromHex("03 6162 04 010203 01 00 02 02 07");
  const auto views = OrFail(Decode<Views>(bytes, 0));
  CHECK(views.name == "ab");
  CHECK(views.records->data() == bytes.data() + 4);
  CHECK(views.records->size() == 3);
  CHECK(views.more->size() == 1);
  CHECK(Encoded(views, 0) == ToHex(bytes));
}

TEST_CASE("a header can be taken from the front of what follows it", "[schema]") {
  const auto bytes = FromHex("00000001 0001 6f 6f6f");
  std::span<const std::byte> rest = bytes;
  ManyTexts header;
  OrFail(DecodePrefix(rest, 0, header));
  CHECK(header == ManyTexts{{"o"}});
  CHECK(ToHex(rest) == "6f6f");
}

TEST_CASE("a dump is JSON as Kafka's tools print it", "[schema]") {
  Everything m = Sample();
  m.text = "q\"\\\n\xc3\xa9\xff";
  m.ratio = 0.5;
  CHECK(Dump(m, 3) ==
        R"({"flag":true,"i8":-2,"u16":32769,"ratio":0.5,"id":"qgAAAAAAAAAAAAAAAAAAAA",)"
        "\"text\":\"q\\\"\\\\\\u000a\xc3\xa9\xef\xbf\xbd\","
        R"("maybeText":"c","blob":"AQ==","maybeBlob":null,"numbers":[3,-1],"maybeNumbers":null,)"
        R"("inner":{"number":5,"text":"x"},"inners":[{"number":6,"text":""}],)"
        R"("maybeInner":{"number":5,"text":"x"},"keptOut":9,"oldText":"o"})");
}

}  // namespace millrace::schema
