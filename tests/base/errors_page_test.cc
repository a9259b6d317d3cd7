// docs/errors.md is the error table of the library, printed. MILLRACE_WRITE_PAGES=1 writes it anew.
#include <cstdlib>
#include <fstream>
#include <sstream>

#include <absl/status/status.h>
#include <catch2/catch.hpp>
#include <fmt/format.h>

#include "base/errors.h"

namespace millrace {
namespace {

std::string Page() {
  std::string page =
      "# Errors\n\n"
      "Every call that can fail returns an `absl::Status`. Its code says what to do next;\n"
      "`millrace::DetailOf(status)` says what happened: the name and Kafka's number below, whether "
      "the\n"
      "same call may succeed later (retriable), whether the object is finished (fatal), and what "
      "is known of\n"
      "the data (`persistence`). Kafka's number is -1 where its protocol has none. This page is "
      "printed from\n"
      "the table in `lib/base/errors.cc`, and a test compares the two.\n\n"
      "A status that is printed with `<<` ends with the name and what it is about:\n"
      "`NOT_FOUND: ... [millrace='unknown_topic topic=orders']`.\n\n"
      "| name | Abseil code | Kafka code | retriable | fatal |\n|---|---|---|---|---|\n";
  for (const ErrorInfo& info : ErrorTable()) {
    page += fmt::format("| `{}` | `{}` | {} | {} | {} |\n", info.name,
                        absl::StatusCodeToString(info.status), info.kafka,
                        info.retriable ? "yes" : "no", info.fatal ? "yes" : "no");
  }
  return page;
}

TEST_CASE("docs/errors.md shows the error table as it is in the code", "[base][docs]") {
  const std::string path = MILLRACE_SOURCE_DIR "/docs/errors.md";
  if (std::getenv("MILLRACE_WRITE_PAGES") != nullptr) std::ofstream(path) << Page();
  std::ifstream in(path);
  std::stringstream found;
  found << in.rdbuf();
  CHECK(found.str() == Page());
}

}  // namespace
}  // namespace millrace
