// Records that were not written by our builder: by compaction, by others, by nobody.
#include "record/record_reader.h"

#include <catch2/catch.hpp>

#include "base/errors.h"
#include "batch_helpers.h"

namespace millrace::record {
namespace {

// A record's bytes with chosen fields, right or wrong. Sizes are written as given.
struct RawRecord {
  std::optional<int32_t> length = {};  // unset: what the body has
  int64_t timestamp_delta = 0;
  int32_t offset_delta = 0;
  int32_t key_size = 1;
  std::string key = "k";
  int32_t value_size = 1;
  std::string value = "v";
  int32_t header_count = 0;
  std::string headers = "";
  std::string trailer = "";
};

void Put(ByteWriter& out, const RawRecord& record) {
  ByteWriter body;
  body.Integer<int8_t>(0);
  body.Varlong(record.timestamp_delta);
  body.Varint(record.offset_delta);
  body.Varint(record.key_size);
  body.Text(record.key);
  body.Varint(record.value_size);
  body.Text(record.value);
  body.Varint(record.header_count);
  body.Text(record.headers);
  body.Text(record.trailer);
  out.Varint(record.length.value_or(static_cast<int32_t>(body.size())));
  out.Bytes(body.bytes());
}

struct Outcome {
  std::vector<int64_t> offsets;
  Status status;
};
Outcome Read(const BatchHeader& header, std::span<const std::byte> bytes) {
  Outcome outcome;
  RecordReader reader(header, bytes);
  for (RecordFields fields; reader.Next(&fields);) outcome.offsets.push_back(fields.offset);
  outcome.status = reader.status();
  RecordFields fields;
  CHECK(!reader.Next(&fields));  // the end stays the end
  CHECK(reader.status() == outcome.status);
  return outcome;
}
Outcome Read(const std::vector<RawRecord>& records, int32_t last_offset_delta) {
  ByteWriter out;
  for (const RawRecord& record : records) Put(out, record);
  return Read({.base_offset = 100,
               .last_offset_delta = last_offset_delta,
               .record_count = static_cast<int32_t>(records.size())},
              out.bytes());
}

}  // namespace

TEST_CASE("compaction may leave gaps between offsets", "[record][reader]") {
  const Outcome outcome = Read({{.offset_delta = 1}, {.offset_delta = 5}, {.offset_delta = 6}}, 9);
  OrFail(outcome.status);
  CHECK(outcome.offsets == std::vector<int64_t>{101, 105, 106});
}

TEST_CASE("offsets that do not rise within the batch are corrupt", "[record][reader]") {
  const auto check = [](const Outcome& outcome, size_t good) {
    CHECK(ErrorIdOf(outcome.status) == ErrorId::kCorruptMessage);
    CHECK_THAT(Says(outcome.status), Catch::Contains(fmt::format("record {} of", good + 1)) &&
                                         Catch::Contains("offset 100"));
    CHECK(outcome.offsets.size() == good);
  };
  check(Read({{.offset_delta = 0}, {.offset_delta = 0}}, 9), 1);
  check(Read({{.offset_delta = 4}, {.offset_delta = 3}}, 9), 1);
  check(Read({{.offset_delta = -1}}, 9), 0);
  check(Read({{.offset_delta = 9}, {.offset_delta = 10}}, 9), 1);
}

TEST_CASE("a record whose fields do not fit is corrupt and named", "[record][reader]") {
  const auto check = [](const RawRecord& bad, const std::string& says) {
    const Outcome outcome = Read({{}, bad}, 1);
    CHECK(outcome.offsets.size() == 1);
    CHECK(ErrorIdOf(outcome.status) == ErrorId::kCorruptMessage);
    CHECK_THAT(Says(outcome.status), Catch::Contains("record 2 of 2") && Catch::Contains(says));
  };
  check({.length = 0, .offset_delta = 1}, "length");
  check({.length = -1, .offset_delta = 1}, "length");
  check({.length = 1, .offset_delta = 1}, "timestamp");
  check({.length = 2, .offset_delta = 1}, "offset");
  check({.length = 100, .offset_delta = 1}, "length");
  check({.length = INT32_MAX, .offset_delta = 1}, "length");
  check({.offset_delta = 1, .key_size = -2}, "key");
  check({.offset_delta = 1, .key_size = 50}, "key");
  check({.offset_delta = 1, .key_size = INT32_MAX}, "key");
  check({.offset_delta = 1, .value_size = -2}, "value");
  check({.offset_delta = 1, .value_size = INT32_MIN}, "value");
  check({.offset_delta = 1, .value_size = 2}, "header count");
  check({.offset_delta = 1, .header_count = -1}, "header count");
  check({.offset_delta = 1, .header_count = 1}, "headers");
  check({.offset_delta = 1, .header_count = INT32_MAX}, "headers");
  check({.offset_delta = 1, .header_count = 1, .headers = "\x01\x01"}, "headers");   // null name
  check({.offset_delta = 1, .header_count = 1, .headers = "\x02h\x03"}, "headers");  // value of -2
  check({.offset_delta = 1, .header_count = 1, .headers = "\x02h\x02v!"}, "headers");
  check({.offset_delta = 1, .trailer = "!"}, "headers");
}

TEST_CASE("the count of a batch and its bytes must agree", "[record][reader]") {
  ByteWriter out;
  Put(out, {});
  Put(out, {.offset_delta = 1});
  const BatchHeader header = {.last_offset_delta = 2, .record_count = 2};
  OrFail(Read(header, out.bytes()).status);
  SECTION("bytes after the last record") {
    out.Integer<int8_t>(0);
    const Status status = Read(header, out.bytes()).status;
    CHECK(ErrorIdOf(status) == ErrorId::kCorruptMessage);
    CHECK_THAT(Says(status), Catch::Contains("1 bytes follow the last of its 2 records"));
  }
  SECTION("fewer records than the count") {
    const BatchHeader three = {.last_offset_delta = 2, .record_count = 3};
    CHECK(ErrorIdOf(Read(three, out.bytes()).status) == ErrorId::kCorruptMessage);
  }
  SECTION("a batch that compaction emptied") {
    const BatchHeader none = {.last_offset_delta = 2, .record_count = 0};
    OrFail(Read(none, {}).status);
    CHECK(ErrorIdOf(Read(none, out.bytes()).status) == ErrorId::kCorruptMessage);
  }
}

TEST_CASE("a timestamp beyond 64 bits wraps and harms nobody", "[record][reader]") {
  ByteWriter out;
  Put(out, {.timestamp_delta = INT64_MAX});
  const BatchHeader header = {.base_timestamp_ms = INT64_MAX, .record_count = 1};
  RecordReader reader(header, out.bytes());
  RecordFields fields;
  REQUIRE(reader.Next(&fields));
  CHECK(fields.timestamp_ms == -2);
}

TEST_CASE("varints longer than they need be are read, longer than they may be are not",
          "[record][reader]") {
  const BatchHeader header = {.record_count = 1};
  const auto read = [&](std::string_view bytes) { return Read(header, AsBytes(bytes)).status; };
  OrFail(read({"\x0c\0\0\0\1\1\0", 7}));
  OrFail(read({"\x0e\0\0\x80\0\1\1\0", 8}));
  OrFail(read({"\x8c\x80\x80\x80\0\0\0\0\1\1\0", 11}));
  CHECK(!read({"\x8c\x80\x80\x80\x80\0\0\0\0\1\1\0", 12}).ok());
  CHECK(!read({"\x8c\x80\x80\x80\x10\0\0\0\1\1\0", 11}).ok());
}

TEST_CASE("headers are walked as they were written", "[record][reader]") {
  BufferPool pool;
  const std::vector<TestRecord> records = {
      {1, "k", "v", {{"a", "1"}, {"", ""}, {"a", std::nullopt}}}};
  const EncodedBatch batch = Encode(pool, records);
  RecordReader reader(OrFail(ParseHeader(batch.bytes())), batch.bytes().subspan(kHeaderBytes));
  RecordFields fields;
  REQUIRE(reader.Next(&fields));
  CHECK(fields.header_count == 3);
  HeaderReader headers(fields);
  std::string_view key;
  Bytes value;
  REQUIRE(headers.Next(&key, &value));
  CHECK((key == "a" && value == Bytes("1")));
  REQUIRE(headers.Next(&key, &value));
  CHECK((key.empty() && value == Bytes("")));
  REQUIRE(headers.Next(&key, &value));
  CHECK((key == "a" && value.is_null()));
  CHECK(!headers.Next(&key, &value));

  SECTION("and bytes that are no headers end the walk") {
    HeaderReader bad(AsBytes("\x7f"), 5);
    CHECK(!bad.Next(&key, &value));
    CHECK(!bad.Next(&key, &value));
    HeaderReader none({}, 5);
    CHECK(!none.Next(&key, &value));
    HeaderReader no_key(AsBytes({"\1\0", 2}), 1);
    CHECK(!no_key.Next(&key, &value));
    HeaderReader cut_off(AsBytes("\2a\x08v"), 1);
    CHECK(!cut_off.Next(&key, &value));
  }
}

}  // namespace millrace::record
