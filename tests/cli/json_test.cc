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

}  // namespace
}  // namespace millrace::cli
