#include "cli/output.h"

#include <catch2/catch.hpp>

#include "support/or_fail.h"

namespace millrace::cli {
namespace {

TEST_CASE("a table aligns numbers right and text left, by what is seen", "[cli]") {
  Table table({"TOPIC", "RECORDS"});
  table.Row({"orders", "1,234"});
  table.Row({"s\xc3\xbc\xc3\x9f", "5"});
  CHECK(table.Text() ==
        "TOPIC   RECORDS\n"
        "orders    1,234\n"
        "s\xc3\xbc\xc3\x9f           5\n");
}

TEST_CASE("numbers and sizes are written to be read", "[cli]") {
  CHECK(WithThousands(0) == "0");
  CHECK(WithThousands(999) == "999");
  CHECK(WithThousands(1000) == "1,000");
  CHECK(WithThousands(-1234567) == "-1,234,567");
  CHECK(WithThousands(INT64_MIN) == "-9,223,372,036,854,775,808");
  CHECK(Bytes10(0) == "0 B");
  CHECK(Bytes10(999) == "999 B");
  CHECK(Bytes10(1000) == "1.0 kB");
  CHECK(Bytes10(999'999) == "1.0 MB");
  CHECK(Bytes10(2.5e9) == "2.5 GB");
}

TEST_CASE("a full disk under the output is an error, once and for good", "[cli]") {
  std::FILE* full = std::fopen("/dev/full", "w");
  REQUIRE(full != nullptr);
  Output out(full);
  out.Line("lost");
  const Status status = out.Flush();
  CHECK_THAT(status.ToString(), Catch::Contains("No space left on device"));
  CHECK_FALSE(IsBrokenPipe(status));
  CHECK(out.failed());
  out.Line("not tried");
  CHECK(out.Flush() == status);
  std::fclose(full);
}

}  // namespace
}  // namespace millrace::cli
