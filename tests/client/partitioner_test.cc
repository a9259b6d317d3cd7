#include "client/partitioner.h"

#include <catch2/catch.hpp>

namespace millrace {
namespace {

// Values of org.apache.kafka.common.utils.Utils.murmur2, as its own UtilsTest has them.
TEST_CASE("murmur2 is the Java client's", "[client][partitioner]") {
  CHECK(static_cast<int32_t>(Murmur2("21")) == -973932308);
  CHECK(static_cast<int32_t>(Murmur2("foobar")) == -790332482);
  CHECK(static_cast<int32_t>(Murmur2("a-little-bit-long-string")) == -985981536);
  CHECK(static_cast<int32_t>(Murmur2("a-little-bit-longer-string")) == -1486304829);
  CHECK(static_cast<int32_t>(Murmur2("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8")) ==
        -58897971);
  CHECK(static_cast<int32_t>(Murmur2("abc")) == 479470107);
}

TEST_CASE("the default partitioner sends a key to one partition and goes round without",
          "[client][partitioner]") {
  const auto partitioner = DefaultPartitioner();
  CHECK(partitioner->Pick("t", "foobar", {}, 7) == (-790332482 & 0x7fffffff) % 7);
  CHECK(partitioner->Pick("t", Bytes(), {}, 2) != partitioner->Pick("t", Bytes(), {}, 2));
  CHECK(partitioner->Pick("t", "", {}, 1) == 0);
}

TEST_CASE("the round-robin partitioner counts for each topic apart", "[client][partitioner]") {
  const auto partitioner = RoundRobinPartitioner();
  std::vector<int32_t> a;
  std::vector<int32_t> b;
  for (int i = 0; i < 4; ++i) {
    a.push_back(partitioner->Pick("a", {}, {}, 2));
    b.push_back(partitioner->Pick("b", {}, {}, 2));
  }
  CHECK(a == std::vector<int32_t>{0, 1, 0, 1});
  CHECK(b == std::vector<int32_t>{0, 1, 0, 1});
}

}  // namespace
}  // namespace millrace
