#include "base/no_throw.h"

#include <string>

#include <catch2/catch.hpp>

namespace millrace {

TEST_CASE("a call without memory answers that, and any other what it returns", "[base]") {
  CHECK(NoThrow([] { return absl::OkStatus(); }).ok());
  CHECK(*NoThrow([] { return StatusOr<int>(7); }) == 7);
  const Status status = NoThrow([]() -> Status { throw std::bad_alloc(); });
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK_THAT(std::string(status.message()), Catch::StartsWith("out of memory"));
  CHECK(DetailOf(status)->name == "out_of_memory");
  CHECK(IsRetriable(status));
  CHECK(NoThrow([]() -> StatusOr<int> { throw std::bad_alloc(); }).status() == OutOfMemory());
}

}  // namespace millrace
