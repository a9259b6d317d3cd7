#include "log/segment_scanner.h"

#include "base/byte_writer.h"
#include "log/log_fixture.h"
#include "millrace/testing/simulated_disk.h"

// Walking a file that holds what no writer has written, and the way on behind it.
namespace millrace::log {
namespace {

using testing::SimulatedDisk;
using Outcome = SegmentScanner::Outcome;

std::string BatchAt(Offset base, size_t records = 1, size_t value_bytes = 20) {
  auto batch = MakeBatch(std::vector<std::string>(records, std::string(value_bytes, 'v')));
  record::AssignOffset(batch.data(), base, 0);
  return std::string(AsText(batch));
}

struct OneFile {
  explicit OneFile(const std::string& bytes) : size(bytes.size()) {
    OrFail(disk.Poke("f", bytes));
    file = OrFail(disk.Open("f", OpenMode::kRead));
  }
  SimulatedDisk disk{1};
  uint64_t size;
  std::unique_ptr<File> file;
};

TEST_CASE("a batch behind a hole of zeros does not pass for one in it", "[scanner]") {
  const size_t buffer_bytes = size_t{64} << 10;
  OneFile f(std::string(buffer_bytes, '\0') + BatchAt(0) + std::string(200, '\0'));
  SegmentScanner scanner(
      *f.file, TestPool(),
      {.end = f.size, .expected = 0, .check_crc = false, .buffer_bytes = buffer_bytes});
  CHECK(OrFail(scanner.Next()) == Outcome::kBad);
  CHECK(scanner.next_position() == 0);
}

TEST_CASE("zeros to the end are the end, however many", "[scanner]") {
  OneFile f(BatchAt(0) + std::string(300'000, '\0'));
  SegmentScanner scanner(*f.file, TestPool(),
                         {.end = f.size, .expected = 0, .buffer_bytes = size_t{64} << 10});
  CHECK(OrFail(scanner.Next()) == Outcome::kBatch);
  SECTION("they are looked at") { CHECK(OrFail(scanner.Next()) == Outcome::kZeros); }
  SECTION("a file that is cut meanwhile is over too") {
    OrFail(f.disk.Poke("f", BatchAt(0) + std::string(100'000, '\0')));
    CHECK(OrFail(scanner.Next()) == Outcome::kZeros);
  }
  SECTION("and a disk that fails says so") {
    f.disk.SetFaults([](const testing::DiskCall&) { return testing::Fault{}; });
    CHECK_FALSE(scanner.Next().ok());
  }
}

TEST_CASE("a large batch that fails its CRC fails it again", "[scanner]") {
  std::string bytes = BatchAt(0, 1, 300'000);
  bytes[200'000] ^= 1;
  OneFile f(bytes);
  SegmentScanner scanner(*f.file, TestPool(), {.end = f.size, .buffer_bytes = size_t{64} << 10});
  CHECK(OrFail(scanner.Next()) == Outcome::kBad);
  CHECK(OrFail(scanner.Next()) == Outcome::kBad);
}

// Where the log goes on behind the damaged batch 1; also after each read has failed once.
Resumption Resume(const std::string& bytes, uint64_t position, Offset known_end,
                  const std::vector<OffsetIndexEntry>& entries = {}) {
  OneFile f(bytes);
  std::string index_bytes(entries.size() * OffsetIndexEntry::kBytes, '\0');
  for (size_t i = 0; i < entries.size(); ++i)
    entries[i].Store(reinterpret_cast<std::byte*>(index_bytes.data()) +
                     i * OffsetIndexEntry::kBytes);
  OrFail(f.disk.Poke("index", index_bytes));
  OffsetIndex index(f.disk, "index", /*read_only=*/true);
  index.Adopt({static_cast<uint32_t>(entries.size()), 0});
  const auto find = [&] {
    return FindResumption(*f.file, TestPool(), {index, 0}, {position, 1}, {f.size, known_end});
  };
  for (int call = 1, reads = 0;; ++call, reads = 0) {
    f.disk.SetFaults([&](const testing::DiskCall& c) -> std::optional<testing::Fault> {
      if (c.op != testing::DiskOp::kRead || ++reads != call) return std::nullopt;
      return testing::Fault{};
    });
    find().status().IgnoreError();
    if (reads < call) break;  // it needs no more
  }
  f.disk.SetFaults(nullptr);
  return OrFail(find());
}

TEST_CASE("behind damage the log goes on where two things agree", "[scanner]") {
  std::string damaged = BatchAt(1);
  damaged[70] ^= 1;
  const uint64_t at = BatchAt(0).size();
  const auto size = static_cast<int32_t>(at);
  const std::string front = BatchAt(0) + damaged;
  const auto check = [](const Resumption& found, uint64_t position, Offset offset) {
    CHECK(found.position == position);
    CHECK(found.offset == offset);
  };
  SECTION("the next batch follows at once") { check(Resume(front + BatchAt(2), at, 3), 2 * at, 2); }
  SECTION("it leaves a gap, and is the last one") {
    check(Resume(front + BatchAt(4), at, 5), 2 * at, 4);
    check(Resume(front + BatchAt(4), at, 9), 3 * at, 9);  // not the end that is known
  }
  SECTION("it leaves a gap, and one that follows it says so too") {
    check(Resume(front + BatchAt(4) + BatchAt(5), at, 6), 2 * at, 4);
    check(Resume(front + BatchAt(4) + BatchAt(7), at, 8), 4 * at, 8);
    check(Resume(front + BatchAt(4) + damaged, at, 6), 4 * at, 6);
  }
  SECTION("it lies beyond the end, or before the damage") {
    check(Resume(front + BatchAt(4) + BatchAt(5), at, 3), 4 * at, 3);
    check(Resume(front + BatchAt(0) + BatchAt(1), at, 3), 4 * at, 3);
  }
  SECTION("an index leads there where the damaged batch does not") {
    damaged[11] ^= 1;  // its length
    const std::string bytes = BatchAt(0) + damaged + BatchAt(2) + BatchAt(3);
    check(Resume(bytes, at, 4, {{3, 3 * size}}), 3 * at, 3);
    check(Resume(bytes, at, 4, {{2, -1}, {3, 3 * size}}), 3 * at, 3);
    check(Resume(bytes, at, 4, {{2, 3 * size}, {4, 2 * size}}), 4 * at, 4);  // other batches
    // Not below the damage, and a list that does not ascend is none.
    check(Resume(BatchAt(0) + damaged + BatchAt(1, 2), at, 3, {{2, 2 * size}}),
          2 * at + BatchAt(1, 2).size(), 3);
  }
}

TEST_CASE("an index that changes under its reader does not lead him in circles", "[scanner]") {
  std::string damaged = BatchAt(1);
  damaged[11] ^= 1;
  const uint64_t at = BatchAt(0).size();
  OneFile f(BatchAt(0) + damaged + BatchAt(2));
  OrFail(f.disk.Poke("index", std::string(8, '\x01')));
  OffsetIndex index(f.disk, "index", /*read_only=*/true);
  index.Adopt({1, 0});
  f.disk.SetFaults(
      [&, reads = 0](const testing::DiskCall& c) mutable -> std::optional<testing::Fault> {
        if (c.op == testing::DiskOp::kRead && c.path == "index" && ++reads == 2)
          OrFail(f.disk.Poke("index", std::string(8, '\0')));
        return std::nullopt;
      });
  const Resumption found =
      OrFail(FindResumption(*f.file, TestPool(), {index, 0}, {at, 1}, {f.size, 3}));
  CHECK(found.offset == 3);
}

}  // namespace
}  // namespace millrace::log
