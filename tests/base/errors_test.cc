// Errors keep what callers branch on, wherever they pass through.
#include "base/errors.h"

#include <set>

#include <catch2/catch.hpp>

#include "base/invariant.h"
#include "base/status_macros.h"

namespace millrace {
namespace {

Status Pass(const Status& status) {
  MILLRACE_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}
StatusOr<int> Twice(StatusOr<int> value) {
  MILLRACE_ASSIGN_OR_RETURN(const int once, std::move(value));
  return 2 * once;
}

}  // namespace

TEST_CASE("an error says its name, code and place", "[base][errors]") {
  const Status status =
      MakeError(ErrorId::kOffsetOutOfRange, "orders-0: offset 7 is not in [0, 5)",
                {.topic = "orders", .partition = 0, .persistence = Persistence::kPersisted});
  CHECK(status.code() == absl::StatusCode::kOutOfRange);
  CHECK(status.message() == "orders-0: offset 7 is not in [0, 5)");
  CHECK(ErrorIdOf(status) == ErrorId::kOffsetOutOfRange);
  const auto detail = DetailOf(status);
  REQUIRE(detail.has_value());
  CHECK(detail->name == "offset_out_of_range");
  CHECK(detail->code == error::kOffsetOutOfRange);
  CHECK(detail->topic == "orders");
  CHECK(detail->partition == 0);
  CHECK(detail->persistence == Persistence::kPersisted);
  CHECK(!IsRetriable(status));
}

TEST_CASE("every row of the table survives a status", "[base][errors]") {
  std::set<std::string_view> names;
  for (const ErrorInfo& row : ErrorTable()) {
    CAPTURE(row.name);
    CHECK(names.insert(row.name).second);
    CHECK(row.status != absl::StatusCode::kOk);
    const Status status = MakeError(row.id, "something", {.topic = "a topic with spaces"});
    CHECK(status.code() == row.status);
    CHECK(ErrorIdOf(status) == row.id);
    CHECK(&InfoOf(row.id) == &row);
    const auto detail = DetailOf(status);
    REQUIRE(detail.has_value());
    CHECK(detail->name == row.name);
    CHECK(detail->code == row.kafka);
    CHECK(detail->retriable == row.retriable);
    CHECK(detail->fatal == row.fatal);
    CHECK(detail->topic == "a topic with spaces");
    CHECK(detail->partition == -1);
    CHECK(detail->persistence == Persistence::kNotPersisted);
  }
}

TEST_CASE("an error of others has no detail", "[base][errors]") {
  CHECK(!DetailOf(absl::OkStatus()).has_value());
  CHECK(!DetailOf(absl::NotFoundError("no")).has_value());
  CHECK(ErrorIdOf(absl::NotFoundError("no")) == ErrorId::kInternal);
  CHECK(!IsRetriable(absl::UnavailableError("no")));
  Status garbled = absl::NotFoundError("no");
  for (const char* payload :
       {"", "no_such_row", "1", "closed maybe", "closed partition=x", "closed partition=1x"}) {
    CAPTURE(payload);
    garbled.SetPayload("millrace", absl::Cord(payload));
    CHECK(!DetailOf(garbled).has_value());
  }
}

TEST_CASE("a status that is printed with all it has names its row and place", "[base][errors]") {
  const auto printed = [](ErrorId id, const ErrorContext& where) {
    const Status status = MakeError(id, "why", where);
    const auto detail = DetailOf(status);
    CHECK(detail->topic == where.topic);
    CHECK(detail->partition == where.partition);
    CHECK(detail->persistence == where.persistence);
    return status.ToString();
  };
  CHECK(printed(ErrorId::kClosed, {}) == "FAILED_PRECONDITION: why [millrace='closed']");
  CHECK(printed(ErrorId::kUnknownTopic, {.topic = "orders"}) ==
        "NOT_FOUND: why [millrace='unknown_topic topic=orders']");
  CHECK(printed(
            ErrorId::kTimedOut,
            {.topic = "orders", .partition = 3, .persistence = Persistence::kPossiblyPersisted}) ==
        "DEADLINE_EXCEEDED: why "
        "[millrace='timed_out possibly_persisted partition=3 topic=orders']");
  printed(ErrorId::kIoError,
          {.topic = "a topic=b partition=4", .persistence = Persistence::kPersisted});
}

TEST_CASE("a prefix keeps code and detail", "[base][errors]") {
  CHECK(Annotate(absl::OkStatus(), "partition orders-0").ok());
  const Status status =
      Annotate(MakeError(ErrorId::kNoSpace, "disk full", {.topic = "orders"}), "append");
  CHECK(status.message() == "append: disk full");
  CHECK(ErrorIdOf(status) == ErrorId::kNoSpace);
  CHECK(DetailOf(status)->topic == "orders");
  CHECK(IsRetriable(status));
}

TEST_CASE("a place is added where none is named", "[base][errors]") {
  const Status placed = InPartition(MakeError(ErrorId::kCorruptLog, "damaged"), "orders", 3);
  CHECK(DetailOf(placed)->topic == "orders");
  CHECK(DetailOf(placed)->partition == 3);
  CHECK(Text(placed) == "DATA_LOSS: damaged");
  CHECK(DetailOf(InPartition(placed, "other", 1))->topic == "orders");
  CHECK(InPartition(absl::OkStatus(), "orders", 3).ok());
  CHECK(InPartition(absl::NotFoundError("no"), "orders", 3) == absl::NotFoundError("no"));
}

TEST_CASE("the macros pass errors on and values through", "[base][errors]") {
  CHECK(Pass(absl::OkStatus()).ok());
  const Status error = MakeError(ErrorId::kClosed, "closed");
  CHECK(Pass(error) == error);
  CHECK(Twice(21).value() == 42);
  CHECK(Twice(error).status() == error);
}

TEST_CASE("a broken invariant of a host's process is an error, not an abort", "[base][errors]") {
  const auto half = [](int n) -> StatusOr<int> {
    MILLRACE_INVARIANT(n % 2 == 0);
    return n / 2;
  };
  SetAbortOnBrokenInvariant(false);
  const StatusOr<int> odd = half(3);
  SetAbortOnBrokenInvariant(true);
  CHECK(half(4).value() == 2);
  CHECK(ErrorIdOf(odd.status()) == ErrorId::kInternalInvariant);
  CHECK_THAT(std::string(odd.status().message().data(), odd.status().message().size()),
             Catch::Contains("errors_test.cc") && Catch::Contains("n % 2 == 0"));
}

}  // namespace millrace
