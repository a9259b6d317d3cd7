#include "client/mark_tracker.h"

#include <algorithm>
#include <iostream>
#include <random>
#include <set>

#include <catch2/catch.hpp>

namespace millrace::client {
namespace {

TEST_CASE("the prefix of marks has no gap", "[client][marks]") {
  MarkTracker marks;
  CHECK_FALSE(marks.prefix().has_value());
  const std::vector<Offset> offsets = {5, 6, 7, 8};
  marks.Returned(offsets, 9);
  CHECK(marks.prefix() == 5);
  marks.Done(5);
  marks.Done(7);
  CHECK(marks.prefix() == 6);
  marks.Done(7);  // again
  marks.Done(100);
  marks.Done(4);
  CHECK(marks.prefix() == 6);
  CHECK(marks.outstanding() == 2);
  marks.Done(6);
  CHECK(marks.prefix() == 8);
  marks.Done(8);
  CHECK(marks.prefix() == 9);
  CHECK(marks.outstanding() == 0);
}

TEST_CASE("the prefix passes over offsets that were never returned", "[client][marks]") {
  MarkTracker marks;
  const std::vector<Offset> offsets = {5, 9, 12};
  marks.Returned(offsets, 20);
  marks.Done(7);  // compacted away: not a record
  marks.Done(9);
  CHECK(marks.prefix() == 5);
  marks.Done(5);
  CHECK(marks.prefix() == 12);
  marks.Done(12);
  CHECK(marks.prefix() == 20);
  marks.Returned({}, 25);  // control records alone
  CHECK(marks.prefix() == 25);
}

TEST_CASE("what did not reach the user is not waited for", "[client][marks]") {
  MarkTracker marks;
  const std::vector<Offset> first = {0, 1};
  const std::vector<Offset> second = {2, 3};
  marks.Returned(first, 2);
  marks.Returned(second, 4);
  marks.Unreturn(2);
  marks.Done(0);
  marks.Done(1);
  CHECK(marks.prefix() == 2);
  marks.Returned(second, 4);
  marks.Done(3);
  CHECK(marks.prefix() == 2);
}

TEST_CASE("marks in any order agree with a set of offsets", "[client][marks]") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  MarkTracker marks;
  std::set<Offset> open;
  Offset next = 0;
  for (int round = 0; round < 200; ++round) {
    std::vector<Offset> offsets;
    for (int i = 0; i < 10; ++i) {
      next += static_cast<Offset>(random() % 3 == 0 ? 2 : 0);
      offsets.push_back(next++);
    }
    marks.Returned(offsets, next);
    open.insert(offsets.begin(), offsets.end());
    for (int i = 0; i < 9 && !open.empty(); ++i) {
      auto at = open.begin();
      std::advance(at, random() % open.size());
      marks.Done(*at);
      open.erase(at);
      REQUIRE(marks.prefix() == (open.empty() ? next : *open.begin()));
      REQUIRE(marks.outstanding() == open.size());
    }
  }
}

}  // namespace
}  // namespace millrace::client
