#include <cstdio>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/crc32c.h"
#include "base/errors.h"
#include "log/close_manifest.h"
#include "log/durable_marks.h"
#include "log/epoch_cache.h"
#include "log/layout.h"
#include "log/log_fixture.h"
#include "log/producer_state.h"
#include "log/segment_sums.h"
#include "log/sparse_index.h"
#include "millrace/testing/simulated_disk.h"

// The files beside the logs: Kafka's to the byte, and our own.
namespace millrace::log {
namespace {

using testing::SimulatedDisk;

std::string ReadGolden(const std::string& name) {
  std::ifstream in(fmt::format("{}/{}", MILLRACE_GOLDEN_DIR, name), std::ios::binary);
  REQUIRE(in.good());
  return {std::istreambuf_iterator<char>(in), {}};
}

record::BatchHeader ProducerBatch(int64_t id, int16_t epoch, int32_t sequence, int32_t records,
                                  Offset base) {
  return {.base_offset = base,
          .last_offset_delta = records - 1,
          .producer_id = id,
          .producer_epoch = epoch,
          .base_sequence = sequence,
          .record_count = records};
}

TEST_CASE("a file name is its offset in twenty digits", "[side-files]") {
  CHECK(OffsetFileName(42, kLogSuffix) == "00000000000000000042.log");
  CHECK(ParseOffsetFileName("00000000000000000042.log", kLogSuffix) == 42);
  for (const char* name : {"42.log", "0000000000000000004x.log", "00000000000000000042.logs",
                           "-0000000000000000042.log", "99999999999999999999.log", ""})
    CHECK_FALSE(ParseOffsetFileName(name, kLogSuffix).has_value());
}

TEST_CASE("the epoch checkpoint is Kafka's", "[side-files][golden]") {
  const std::string golden = ReadGolden("leader-epoch-checkpoint");
  CHECK(OrFail(EpochCache::Parse(golden)).entries() == std::vector<EpochStart>{{0, 0}});
  CHECK(EpochCache({{0, 0}}).Format() == golden);
  for (const char* text : {"", "0", "0\n", "1\n0\n", "0\n2\n0 0\n", "0\n1\n0 0\n1 5\n", "0\n1\n0\n",
                           "0\n2\n0 5\n1 5\n", "0\n2\n1 0\n1 5\n", "0\n1\n-1 0\n", "0\n1\n0 -1\n",
                           "0\n1\n0 0", "0\n4000000000\n0 0\n"}) {
    INFO(text);
    CHECK(ErrorIdOf(EpochCache::Parse(text).status()) == ErrorId::kCorruptLog);
  }
}

TEST_CASE("the epoch cache knows where each epoch ends", "[side-files]") {
  EpochCache epochs;
  CHECK_FALSE(epochs.EndOf(0, 50).has_value());
  epochs.Assign(1, 0);
  epochs.Assign(3, 20);
  epochs.Assign(4, 40);
  CHECK(epochs.EpochAt(0) == 1);
  CHECK(epochs.EpochAt(19) == 1);
  CHECK(epochs.EpochAt(20) == 3);
  CHECK(epochs.EpochAt(99) == 4);
  CHECK(epochs.EndOf(0, 50)->end_offset == 0);  // nothing is left of it
  CHECK(epochs.EndOf(1, 50)->end_offset == 20);
  CHECK(epochs.EndOf(2, 50)->epoch == 1);
  CHECK(epochs.EndOf(4, 50)->end_offset == 50);
  CHECK(epochs.EndOf(9, 50)->epoch == 4);
  SECTION("an epoch without a record is overtaken") {
    epochs.Assign(5, 40);
    CHECK(epochs.entries() == std::vector<EpochStart>{{1, 0}, {3, 20}, {5, 40}});
  }
  SECTION("a cut keeps the number of the last epoch") {
    epochs.CutBack(10);
    CHECK(epochs.entries() == std::vector<EpochStart>{{1, 0}, {4, 10}});
    CHECK(epochs.EndOf(3, 10)->end_offset == 10);
  }
  SECTION("a log that starts later forgets what was before") {
    epochs.CutFront(30);
    CHECK(epochs.entries() == std::vector<EpochStart>{{3, 30}, {4, 40}});
  }
  SECTION("a scan does not believe an epoch that goes back") {
    epochs.Observe(9, 50);
    epochs.Observe(4, 60);
    CHECK(epochs.latest() == 4);
  }
}

TEST_CASE("the producer snapshot is Kafka's", "[side-files][golden]") {
  const std::string golden = ReadGolden("producer-snapshot.bin");
  const ProducerState state = OrFail(ProducerState::FromSnapshot(AsBytes(golden)));
  CHECK(state.size() == 1);
  CHECK(state.NextSequence(27, 3) == 2);
  CHECK(AsText(state.Snapshot()) == golden);
  for (size_t i = 0; i < golden.size(); ++i) {
    std::string damaged = golden;
    damaged[i] = static_cast<char>(damaged[i] ^ 4);
    CHECK_FALSE(ProducerState::FromSnapshot(AsBytes(damaged)).ok());
    CHECK_FALSE(ProducerState::FromSnapshot(AsBytes(golden.substr(0, i))).ok());
  }
}

TEST_CASE("a snapshot keeps all five batches of each producer", "[side-files]") {
  ProducerState state;
  for (int i = 0; i < 8; ++i) state.Update(ProducerBatch(1, 0, i * 2, 2, i * 10));
  state.Update(ProducerBatch(2, 5, 0, 1, 100));
  const auto bytes = state.Snapshot();
  const ProducerState again = OrFail(ProducerState::FromSnapshot(bytes));
  CHECK(again.Snapshot() == bytes);
  for (int i = 3; i < 8; ++i) {
    const auto original = OrFail(again.Check(ProducerBatch(1, 0, i * 2, 2, 0)));
    REQUIRE(original.has_value());
    CHECK(original->base_offset == i * 10);
  }
  CHECK(ErrorIdOf(again.Check(ProducerBatch(1, 0, 4, 2, 0)).status()) ==
        ErrorId::kOutOfOrderSequence);
}

TEST_CASE("a producer's sequences are checked as Kafka checks them", "[producers]") {
  ProducerState state;
  INFO("an unknown producer may begin anywhere");
  CHECK_FALSE(OrFail(state.Check(ProducerBatch(1, 0, 77, 1, 0))).has_value());
  state.Update(ProducerBatch(1, 0, 77, 3, 0));
  CHECK(state.NextSequence(1, 0) == 80);
  CHECK_FALSE(OrFail(state.Check(ProducerBatch(1, 0, 80, 1, 0))).has_value());
  CHECK(ErrorIdOf(state.Check(ProducerBatch(1, 0, 81, 1, 0)).status()) ==
        ErrorId::kOutOfOrderSequence);
  INFO("the same first sequence with another count is no repetition");
  CHECK(ErrorIdOf(state.Check(ProducerBatch(1, 0, 77, 2, 0)).status()) ==
        ErrorId::kOutOfOrderSequence);
  INFO("a new epoch begins at 0, an old one is fenced");
  CHECK(ErrorIdOf(state.Check(ProducerBatch(1, 1, 80, 1, 0)).status()) ==
        ErrorId::kOutOfOrderSequence);
  CHECK_FALSE(OrFail(state.Check(ProducerBatch(1, 1, 0, 1, 0))).has_value());
  state.Update(ProducerBatch(1, 1, 0, 1, 3));
  CHECK(ErrorIdOf(state.Check(ProducerBatch(1, 0, 77, 3, 0)).status()) ==
        ErrorId::kInvalidProducerEpoch);
  INFO("after 2^31-1 comes 0");
  state.Update(ProducerBatch(2, 0, INT32_MAX - 1, 4, 10));
  CHECK(state.NextSequence(2, 0) == 2);
  CHECK(OrFail(state.Check(ProducerBatch(2, 0, INT32_MAX - 1, 4, 0)))->base_offset == 10);
}

TEST_CASE("the producer that wrote longest ago is forgotten first", "[producers]") {
  ProducerState state(3);
  for (int id = 1; id <= 3; ++id) state.Update(ProducerBatch(id, 0, 0, 1, id));
  state.Update(ProducerBatch(1, 0, 1, 1, 4));
  state.Update(ProducerBatch(4, 0, 0, 1, 5));
  CHECK(state.size() == 3);
  CHECK(state.NextSequence(2, 0) == 0);
  CHECK(state.NextSequence(1, 0) == 2);
  const ProducerState again = OrFail(ProducerState::FromSnapshot(state.Snapshot(), 2));
  CHECK(again.size() == 2);
  CHECK(again.NextSequence(3, 0) == 0);
}

TEST_CASE("what is no data of a producer leaves its sequences alone", "[producers]") {
  ProducerState state;
  record::BatchHeader marker = ProducerBatch(1, 3, -1, 1, 0);
  marker.attributes = 32;
  CHECK_FALSE(OrFail(state.Check(marker)).has_value());
  state.Update(marker);
  INFO("a transaction marker tells the epoch and nothing more");
  CHECK(state.NextSequence(1, 3) == 0);
  CHECK(ErrorIdOf(state.Check(ProducerBatch(1, 2, 0, 1, 0)).status()) ==
        ErrorId::kInvalidProducerEpoch);
  state.Update(ProducerBatch(1, 3, 0, 5, 1));
  record::BatchHeader unnumbered = ProducerBatch(1, 3, -1, 1, 6);
  state.Update(unnumbered);
  CHECK(state.NextSequence(1, 3) == 5);
}

TEST_CASE("room for one producer is room for the next one", "[producers]") {
  ProducerState state(1);
  for (int id = 1; id <= 3; ++id) {
    state.Reserve(ProducerBatch(id, 0, 0, 1, id));
    state.Update(ProducerBatch(id, 0, 0, 1, id));
    CHECK(state.size() == 1);
    CHECK(state.NextSequence(id, 0) == 1);
  }
  INFO("a snapshot of more than there is room for");
  ProducerState many;
  for (int id = 1; id <= 3; ++id)
    for (int sequence = 0; sequence < 7; ++sequence)
      many.Update(ProducerBatch(id, 0, sequence, 1, sequence * 3 + id));
  const ProducerState few = OrFail(ProducerState::FromSnapshot(many.Snapshot(), 2));
  CHECK(few.size() == 2);
  for (int id = 2; id <= 3; ++id)
    for (int sequence = 2; sequence < 7; ++sequence)
      CHECK(OrFail(few.Check(ProducerBatch(id, 0, sequence, 1, 0)))->base_offset ==
            sequence * 3 + id);
}

TEST_CASE("an epoch checkpoint is numbers and line ends, nothing else", "[side-files]") {
  CHECK(EpochCache::Parse("0\n1\n5 10\n").ok());
  for (const char* text :
       {"", "0", "0 ", "x\n1\n5 10\n", "0\n1", "0\n1 5 10\n", "0\n1 5 10\n", "0\n1\n5", "0\n1\n5 ",
        "0\n1\n5\n10\n", "0\n1\n5 10", "0\n1\n5 10 ", "0\n1\nx 10\n", "0\n1\n5 x\n"})
    CHECK(ErrorIdOf(EpochCache::Parse(text).status()) == ErrorId::kCorruptLog);
}

TEST_CASE("an epoch that is assigned ends those above it", "[side-files]") {
  EpochCache epochs({{3, 10}, {5, 20}, {7, 30}});
  CHECK(epochs.EpochAt(9) == -1);
  CHECK(epochs.EpochAt(10) == 3);
  epochs.Assign(5, 40);
  CHECK(epochs.entries() == std::vector<EpochStart>{{3, 10}, {5, 40}});
  epochs.Assign(6, 10);
  CHECK(epochs.entries() == std::vector<EpochStart>{{6, 10}});
}

TEST_CASE("a mark survives what a power cut leaves of the newer one", "[side-files]") {
  SimulatedDisk disk(1);
  OrFail(disk.CreateDir("d"));
  SyncGate gate(disk, "");
  const DurableMarks::Key key{kTopic, 3};
  Mark mark{.log_start = 5, .segment_base = 10, .synced_end = 20, .position = 900, .sum = 7};
  mark.checkpoint = {.offset = 15, .position = 450, .sum = 3, .max_timestamp_ms = kT0};
  {
    const auto marks = OrFail(DurableMarks::Open(disk, gate, "d/marks", false));
    marks->Update(key, mark);
    OrFail(marks->Write());
    Mark newer = mark;
    newer.synced_end = 30;
    marks->Update(key, newer);
    OrFail(marks->Write());
    CHECK(marks->Find(key)->synced_end == 30);
  }
  std::string bytes = OrFail(disk.Peek("d/marks"));
  const auto read = [&] {
    OrFail(disk.Poke("d/marks", bytes));
    return OrFail(DurableMarks::Open(disk, gate, "d/marks", true))->Find(key);
  };
  CHECK(read()->synced_end == 30);
  bytes[20] ^= 1;  // the newer one: it has the even number
  CHECK(read() == mark);
  bytes[4096 + 20] ^= 1;
  CHECK_FALSE(read().has_value());
}

TEST_CASE("marks of many partitions share a file, and a removed one makes room", "[side-files]") {
  SimulatedDisk disk(1);
  OrFail(disk.CreateDir("d"));
  SyncGate gate(disk, "");
  {
    const auto marks = OrFail(DurableMarks::Open(disk, gate, "d/marks", false));
    for (int i = 0; i < 100; ++i) marks->Update({kTopic, i}, {.log_start = i});
    OrFail(marks->Write());
    for (int i = 0; i < 50; ++i) marks->Remove({kTopic, i});
    OrFail(marks->Write());
    const size_t size = OrFail(disk.Peek("d/marks")).size();
    for (int i = 100; i < 140; ++i) marks->Update({kTopic, i}, {.log_start = i});
    OrFail(marks->Write());
    OrFail(marks->Write());
    CHECK(OrFail(disk.Peek("d/marks")).size() <= size + 8192);
  }
  const auto marks = OrFail(DurableMarks::Open(disk, gate, "d/marks", false));
  CHECK(marks->Keys().size() == 90);
  CHECK_FALSE(marks->Find({kTopic, 49}).has_value());
  for (int i = 50; i < 140; ++i) CHECK(marks->Find({kTopic, i})->log_start == i);
}

TEST_CASE("an index finds its way between its file and what waits in memory", "[side-files]") {
  SimulatedDisk disk(1);
  SyncGate gate(disk, "");
  OffsetIndex index(disk, "index", false);
  CHECK_FALSE(OrFail(index.Floor(100)).has_value());
  for (int i = 1; i <= 2000; ++i) index.Add({i * 10, i * 4000});
  index.Add({5, 5});  // does not ascend: ignored
  const auto check = [&](OffsetIndex& at) {
    CHECK_FALSE(OrFail(at.Floor(9)).has_value());
    CHECK(OrFail(at.Above(9))->relative_offset == 10);
    CHECK_FALSE(OrFail(at.Above(20'000)).has_value());
    for (int i = 1; i <= 2000; ++i) {
      CHECK(OrFail(at.Floor(i * 10))->position == i * 4000);
      CHECK(OrFail(at.Floor(i * 10 + 9))->position == i * 4000);
      CHECK(OrFail(at.Above(i * 10 - 1))->position == i * 4000);
    }
  };
  check(index);
  OrFail(index.Sync(gate));
  check(index);
  CHECK(OrFail(disk.Peek("index")).size() == 2000 * 8);
  OffsetIndex again(disk, "index", false);
  CHECK(again.Matches(index.extent()));
  again.Adopt(index.extent());
  CHECK(again.FileIsIntact());
  check(again);
  INFO("an adopted index goes on, and cuts what nobody vouches for");
  OffsetIndex shorter(disk, "index", false);
  const std::string bytes = OrFail(disk.Peek("index"));
  shorter.Adopt({1, Crc32c(AsBytes(bytes.substr(0, 8)))});
  shorter.Add({15, 1});
  OrFail(shorter.Flush());
  CHECK(OrFail(disk.Peek("index")).size() == 16);
  CHECK(shorter.FileIsIntact());
}

TEST_CASE("closed segments have Kafka's indexes", "[side-files]") {
  SimulatedDisk disk(1);
  OneLog log(disk, {.segment_bytes = 450, .index_interval_bytes = 100});
  log.Open();
  const int64_t times[] = {5, 3, 9, 9, 20};
  for (int i = 0; i < 5; ++i) Append(*log, {fmt::format("v{:020}", i)}, kT0 + times[i]);
  Append(*log, {"next"});
  OrFail(log->SyncTo(6));
  // An entry once more than 100 bytes have come since the last: at the third and at the fifth
  // batch.
  const std::string index = OrFail(disk.Peek(log.PathOf("00000000000000000000.index")));
  REQUIRE(index.size() == 16);
  const auto at = [](const std::string& b, size_t i) {
    return reinterpret_cast<const std::byte*>(b.data()) + i;
  };
  CHECK(OffsetIndexEntry::Load(at(index, 0)).relative_offset == 2);
  CHECK(OffsetIndexEntry::Load(at(index, 0)).position == 180);
  CHECK(OffsetIndexEntry::Load(at(index, 8)).relative_offset == 4);
  CHECK(OffsetIndexEntry::Load(at(index, 8)).position == 360);
  const std::string times_file = OrFail(disk.Peek(log.PathOf("00000000000000000000.timeindex")));
  REQUIRE(times_file.size() == 24);
  CHECK(TimeIndexEntry::Load(at(times_file, 0)).timestamp_ms == kT0 + 9);
  CHECK(TimeIndexEntry::Load(at(times_file, 0)).relative_offset == 2);
  CHECK(TimeIndexEntry::Load(at(times_file, 12)).timestamp_ms == kT0 + 20);
  CHECK(TimeIndexEntry::Load(at(times_file, 12)).relative_offset == 4);
}

TEST_CASE("records of closed segments are found again, damaged ones are not believed",
          "[side-files]") {
  SimulatedDisk disk(1);
  SyncGate gate(disk, "");
  SegmentRecord first{.base = 0, .end_offset = 10, .size_bytes = 900, .sum = 1};
  SegmentRecord second{.base = 10, .end_offset = 20, .size_bytes = 950, .sum = 2, .damaged = true};
  {
    SegmentSums sums(disk, "sums");
    CHECK(OrFail(sums.Load()).empty());
    OrFail(sums.Append(gate, first));
    OrFail(sums.Append(gate, second));
    first.sum = 3;
    OrFail(sums.Append(gate, first));
  }
  CHECK(OrFail(SegmentSums(disk, "sums").Load()) == std::vector<SegmentRecord>{first, second});
  std::string bytes = OrFail(disk.Peek("sums"));
  bytes[SegmentSums::kEntryBytes + 5] ^= 1;
  OrFail(disk.Poke("sums", bytes + "half an entry"));
  SegmentSums sums(disk, "sums");
  CHECK(OrFail(sums.Load()) == std::vector<SegmentRecord>{first});
  OrFail(sums.Append(gate, second));
  CHECK(OrFail(SegmentSums(disk, "sums").Load()) == std::vector<SegmentRecord>{first, second});
}

TEST_CASE("sums that could not be read are not written over", "[side-files]") {
  SimulatedDisk disk(1);
  SyncGate gate(disk, "");
  const SegmentRecord first{.base = 0, .end_offset = 10, .size_bytes = 900, .sum = 1};
  const SegmentRecord second{.base = 10, .end_offset = 20, .size_bytes = 950, .sum = 2};
  OrFail(SegmentSums(disk, "sums").Append(gate, first));
  SegmentSums sums(disk, "sums");
  disk.SetFaults([](const testing::DiskCall& call) -> std::optional<testing::Fault> {
    if (call.op != testing::DiskOp::kRead) return std::nullopt;
    return testing::Fault{};
  });
  CHECK_FALSE(sums.Append(gate, second).ok());
  disk.SetFaults(nullptr);
  OrFail(sums.Append(gate, second));
  CHECK(OrFail(SegmentSums(disk, "sums").Load()) == std::vector<SegmentRecord>{first, second});
}

TEST_CASE("a manifest says what it was given, and nothing when a bit is wrong", "[side-files]") {
  CloseManifest manifest;
  manifest.directory_id = kTopic;
  manifest.all_clean = false;
  PartitionRecord partition{.name = "orders-7", .topic_id = kTopic, .partition = 7, .log_start = 3};
  partition.epochs = {{0, 0}, {2, 5}};
  partition.leader_epoch = 2;
  partition.segments = {{.base = 0, .end_offset = 10, .size_bytes = 900}, {.base = 10}};
  manifest.partitions[{kTopic, 7}] = partition;
  const auto bytes = manifest.Format();
  const CloseManifest again = OrFail(CloseManifest::Parse(bytes));
  CHECK(again.Format() == bytes);
  CHECK_FALSE(again.all_clean);
  CHECK(again.partitions.at({kTopic, 7}).segments == partition.segments);
  for (size_t i = 0; i < bytes.size(); ++i) {
    auto damaged = bytes;
    damaged[i] ^= std::byte{16};
    CHECK_FALSE(CloseManifest::Parse(damaged).ok());
    CHECK_FALSE(CloseManifest::Parse(std::span(bytes).first(i)).ok());
  }
}

}  // namespace
}  // namespace millrace::log
