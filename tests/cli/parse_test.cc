#include "cli/parse.h"

#include <catch2/catch.hpp>

#include "cli/context.h"
#include "support/or_fail.h"

namespace millrace::cli {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'769'860'800);  // 2026-01-31T12:00:00Z

bool IsUsage(const Status& status) { return ExitCodeOf(status) == kExitUsage; }

TEST_CASE("a duration is a whole number and a unit", "[cli]") {
  CHECK(OrFail(ParseDuration("250ms")) == absl::Milliseconds(250));
  CHECK(OrFail(ParseDuration("90s")) == absl::Seconds(90));
  CHECK(OrFail(ParseDuration("15m")) == absl::Minutes(15));
  CHECK(OrFail(ParseDuration("12h")) == absl::Hours(12));
  CHECK(OrFail(ParseDuration("7d")) == absl::Hours(168));
  for (const char* wrong : {"", "7", "d", "7 d", "-7d", "1.5h", "7days", "99999999999999999999s"}) {
    INFO(wrong);
    CHECK(IsUsage(ParseDuration(wrong).status()));
  }
}

TEST_CASE("a number of bytes takes units of 1024", "[cli]") {
  CHECK(OrFail(ParseByteCount("0")) == 0);
  CHECK(OrFail(ParseByteCount("4096")) == 4096);
  CHECK(OrFail(ParseByteCount("64k")) == 65536);
  CHECK(OrFail(ParseByteCount("64KiB")) == 65536);
  CHECK(OrFail(ParseByteCount("2MB")) == 2 << 20);
  CHECK(OrFail(ParseByteCount("1g")) == int64_t{1} << 30);
  CHECK(OrFail(ParseByteCount("8388607t")) == int64_t{8388607} << 40);
  for (const char* wrong : {"", "k", "-1", "1x", "1kk", "1e9", "8388608t", "9223372036854775808"}) {
    INFO(wrong);
    CHECK(IsUsage(ParseByteCount(wrong).status()));
  }
}

TEST_CASE("a time is a date, an instant, milliseconds, or so long ago", "[cli]") {
  CHECK(OrFail(ParseTime("2026-01-31T12:00:00Z", kNow)) == kNow);
  CHECK(OrFail(ParseTime("2026-01-31T13:00:00+01:00", kNow)) == kNow);
  CHECK(OrFail(ParseTime("2026-01-31T12:00:00", kNow)) == kNow);
  CHECK(OrFail(ParseTime("2026-01-31 12:00", kNow)) == kNow);
  CHECK(OrFail(ParseTime("2026-01-31", kNow)) == kNow - absl::Hours(12));
  CHECK(OrFail(ParseTime("@1769860800123", kNow)) == kNow + absl::Milliseconds(123));
  CHECK(OrFail(ParseTime("15m", kNow)) == kNow - absl::Minutes(15));
  for (const char* wrong : {"", "yesterday", "2026-13-01", "@", "@1x", "2026-01-31T25:00:00Z"}) {
    INFO(wrong);
    const Status status = ParseTime(wrong, kNow).status();
    CHECK(IsUsage(status));
    CHECK_THAT(status.ToString(), Catch::Contains("15m"));
  }
}

TEST_CASE("reading begins at an end, an offset, a tail or a time", "[cli]") {
  using Kind = StartPoint::Kind;
  CHECK(OrFail(ParseStartPoint("beginning", kNow)).kind == Kind::kBeginning);
  CHECK(OrFail(ParseStartPoint("end", kNow)).kind == Kind::kEnd);
  const StartPoint offset = OrFail(ParseStartPoint("42", kNow));
  CHECK((offset.kind == Kind::kOffset && offset.offset == 42));
  const StartPoint tail = OrFail(ParseStartPoint("-3", kNow));
  CHECK((tail.kind == Kind::kTail && tail.offset == 3));
  const StartPoint time = OrFail(ParseStartPoint("2026-01-31T12:00:00Z", kNow));
  CHECK((time.kind == Kind::kTime && time.time == kNow));
  CHECK(IsUsage(ParseStartPoint("start", kNow).status()));
  CHECK(IsUsage(ParseStartPoint("-9223372036854775808", kNow).status()));
}

TEST_CASE("escapes stand for control characters and bytes", "[cli]") {
  CHECK(OrFail(Unescape("a\\tb\\n\\r\\\\")) == "a\tb\n\r\\");
  CHECK(OrFail(Unescape("\\x41\\xfF")) == "A\xff");
  CHECK(OrFail(Unescape("\\0")) == std::string(1, '\0'));
  for (const char* wrong : {"\\", "\\q", "\\x", "\\x4", "\\xg0", "\\x4g"}) {
    INFO(wrong);
    CHECK(IsUsage(Unescape(wrong).status()));
  }
}

TEST_CASE("assignments keep what follows the first equals sign", "[cli]") {
  const auto parsed = OrFail(ParseAssignments({"a=1", "b=", "c=x=y"}));
  CHECK(parsed == std::map<std::string, std::string>{{"a", "1"}, {"b", ""}, {"c", "x=y"}});
  CHECK(IsUsage(ParseAssignments({"a"}).status()));
  CHECK(IsUsage(ParseAssignments({"=1"}).status()));
  CHECK_THAT(ParseAssignments({"a=1", "a=2"}).status().ToString(),
             Catch::Contains("a is given twice"));
}

TEST_CASE("a topic may be followed by some of its partitions", "[cli]") {
  CHECK(OrFail(ParseTopicSelection("orders")).partitions.empty());
  const TopicSelection some = OrFail(ParseTopicSelection("orders:0,3"));
  CHECK(some.topic == "orders");
  CHECK(some.partitions == std::vector<int32_t>{0, 3});
  for (const char* wrong : {"orders:", "orders:-1", "orders:0,", "orders:x"}) {
    INFO(wrong);
    CHECK(IsUsage(ParseTopicSelection(wrong).status()));
  }
}

TEST_CASE("compression and acks take Kafka's words and no others", "[cli]") {
  CHECK(OrFail(ParseCompression("zstd")) == Compression::kZstd);
  CHECK(OrFail(ParseAcks("-1")) == Acks::kAll);
  CHECK(OrFail(ParseAcks("1")) == Acks::kLeader);
  CHECK_THAT(ParseCompression("brotli").status().ToString(), Catch::Contains("snappy"));
  CHECK(IsUsage(ParseAcks("2").status()));
}

}  // namespace
}  // namespace millrace::cli
