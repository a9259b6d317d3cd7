#include "cli/json.h"

#include <cmath>

#include <catch2/catch.hpp>

namespace millrace::cli {
namespace {

TEST_CASE("commas stand between members and nowhere else", "[cli]") {
  JsonWriter json;
  json.BeginObject().Key("a").Number(-1).Key("b").BeginArray().End().Key("c").BeginArray();
  json.Text("x").Bool(true).Null().BeginObject().End().Number(2).End().Key("d").BeginObject().End();
  json.End();
  CHECK(json.str() == R"({"a":-1,"b":[],"c":["x",true,null,{},2],"d":{}})");
}

TEST_CASE("text is escaped", "[cli]") {
  JsonWriter json;
  json.Text(std::string_view("q\" b\\ n\n t\t z\0 d\x7f u\xc3\xa4", 21));
  CHECK(json.str() == "\"q\\\" b\\\\ n\\n t\\t z\\u0000 d\\u007f u\xc3\xa4\"");
}

TEST_CASE("null, text and bytes of a payload are kept apart", "[cli]") {
  JsonWriter json;
  json.BeginObject().Payload("a", std::nullopt).Payload("b", "").Payload("c", "\xff\x00");
  json.End();
  CHECK(json.str() == R"({"a":null,"b":"","c_base64":"/w=="})");
}

TEST_CASE("a number that JSON cannot hold is null", "[cli]") {
  JsonWriter json;
  json.BeginArray().Real(0.5).Real(std::nan("")).Real(INFINITY).End();
  CHECK(json.str() == "[0.5,null,null]");
}

TEST_CASE("what is not UTF-8 is told from what is", "[cli]") {
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
      {"\x80", "\xef\xbf\xbd"},                                  // a stray continuation
      {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                  // over-long
      {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},  // a surrogate
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

}  // namespace
}  // namespace millrace::cli
