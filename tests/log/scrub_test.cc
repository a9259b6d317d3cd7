#include <fmt/format.h>

#include "log/log_fixture.h"
#include "log/log_model.h"
#include "millrace/testing/simulated_disk.h"

// The scrub reads every stored byte from the device and says what is wrong.
namespace millrace::log {
namespace {

using testing::SimulatedDisk;

constexpr LogConfig kFive{.segment_bytes = 450, .retention = std::nullopt};

void Fill(PartitionLog& log, char letter) {
  for (int i = 0; i < 23; ++i) Append(log, {fmt::format("{}{:020}", letter, i)}, kT0 + i);
  OrFail(log.SyncTo(23));
}

int Rounds(PartitionLog& log, size_t max_bytes) {
  int calls = 1;
  while (!OrFail(log.Scrub(max_bytes, TestPool()))) {
    ++calls;
    REQUIRE(calls < 1000);
  }
  return calls;
}

TEST_CASE("a scrub of a good log finds nothing, a piece at a time", "[scrub]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFive);
  log.Open();
  Fill(*log, 'a');
  CHECK(Rounds(*log, 1 << 20) <= 6);
  CHECK(Rounds(*log, 90) >= 23);
  CHECK(log->damage().empty());
  INFO("and begins again");
  CHECK(Rounds(*log, 1 << 20) <= 6);
}

TEST_CASE("a scrub finds a flipped bit, reads on behind it, and readers are told", "[scrub]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFive);
  log.Open();
  Fill(*log, 'a');
  for (const Offset broken : {7, 22}) {
    const std::string path = log.PathOf(fmt::format("{:020}.log", broken == 7 ? 5 : 20));
    std::string bytes = OrFail(disk.Peek(path));
    bytes[2 * 90 + 80] ^= 1;
    OrFail(disk.Poke(path, bytes));
  }
  Rounds(*log, 200);
  const auto damage = log->damage();
  REQUIRE(damage.size() == 2);
  CHECK(damage[0].first_offset == 7);
  CHECK(damage[0].end_offset == 8);
  CHECK(damage[1].first_offset == 22);
  CHECK(damage[1].end_offset == 23);
  CHECK_FALSE(log->Read(7, 23, 1, TestPool()).ok());
  CHECK(log->Read(8, 23, 1, TestPool()).ok());
}

TEST_CASE("damage at the front of a segment is none of the segments before it", "[scrub]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFive);
  log.Open();
  Fill(*log, 'a');
  const std::string path = log.PathOf("00000000000000000005.log");
  std::string bytes = OrFail(disk.Peek(path));
  bytes[80] ^= 1;
  OrFail(disk.Poke(path, bytes));
  Rounds(*log, 1 << 20);
  const auto damage = log->damage();
  REQUIRE(damage.size() == 1);
  CHECK(damage[0].first_offset == 5);
  CHECK(damage[0].end_offset == 6);
  CHECK(log->Read(3, 23, 1, TestPool()).ok());
}

// An offset lies outside of its batch's CRC, so the front of one batch can go on as another.
TEST_CASE("a batch in another's place claims nothing of the next segment", "[scrub]") {
  SimulatedDisk disk(1);
  OneLog log(disk);
  log.Open();
  std::vector<std::string> first{"a"};
  SECTION("shorter than what it replaces, the scrub finds bytes that no offset is left for") {}
  SECTION("with more records than there is room for, it is not even read") {
    first.emplace_back("b");
  }
  Append(*log, first);
  const Offset last = log->log_end();
  Append(*log, {"longer than the first one"});
  OrFail(log->Roll());
  Append(*log, {"z"});
  OrFail(log->SyncTo(last + 2));
  const std::string path = log.PathOf("00000000000000000000.log");
  std::string bytes = OrFail(disk.Peek(path));
  const size_t second = MakeBatch(first).size();
  bytes.replace(second + 8, second - 8, bytes.substr(8, second - 8));
  OrFail(disk.Poke(path, bytes));

  CHECK(log->Read(last, last + 2, 1, TestPool()).ok() == (first.size() == 1));
  Rounds(*log, 1 << 20);
  REQUIRE(log->damage().size() == 1);
  CHECK(log->damage()[0].first_offset == last);
  CHECK(log->damage()[0].end_offset == last + 1);
  CHECK_FALSE(log->Read(last, last + 2, 1, TestPool()).ok());
  CHECK(Values(ReadAll(*log, last + 1)) == "z");
}

TEST_CASE("a segment of another partition is told by its sum", "[scrub]") {
  SimulatedDisk disk(1);
  OneLog log(disk, kFive);
  log.Open();
  Fill(*log, 'a');
  // The same offsets, sizes and epochs, good CRCs: as a write that went to the wrong place.
  auto other =
      OrFail(log.directory->OpenPartition("other-0", Uuid::FromRandom(4, 4), 0, kFive, true));
  Fill(*other, 'b');
  const std::string name = "00000000000000000005.log";
  OrFail(disk.Poke(log.PathOf(name), OrFail(disk.Peek("data/other-0/" + name))));
  Rounds(*log, 1 << 20);
  const auto damage = log->damage();
  REQUIRE(damage.size() == 1);
  CHECK(damage[0].first_offset == 5);
  CHECK(damage[0].end_offset == 10);
  CHECK_THAT(damage[0].what, Catch::Contains("sum"));
  CHECK_FALSE(log->Read(6, 23, 1, TestPool()).ok());
}

}  // namespace
}  // namespace millrace::log
