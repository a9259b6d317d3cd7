// A small directory whose files the input edits: open, read all, append, close, reopen. Whatever
// the edits, it opens or refuses; every record that is read is the one that was written there; and
// what is appended is there again.
//
// Input: edits (disk_edits.h).
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/buffer.h"
#include "base/byte_reader.h"
#include "fuzz/disk_edits.h"
#include "fuzz/fuzz.h"
#include "log/log_directory.h"
#include "millrace/testing/manual_clock.h"
#include "millrace/testing/simulated_disk.h"
#include "record/batch_builder.h"
#include "record/record_reader.h"

namespace {

using namespace millrace;
using namespace millrace::log;
using fuzz::Require;

const Uuid kTopic = Uuid::FromRandom(1, 2);
constexpr int kRecords = 16;
// Of the second and of the last segment, after so many records.
constexpr Offset kSecondBase = 6, kActiveBase = 12;
constexpr LogConfig kConfig{
    .segment_bytes = 600, .index_interval_bytes = 100, .retention = std::nullopt};

BufferPool& Pool() {
  static BufferPool pool;
  return pool;
}

struct Opened {
  std::unique_ptr<LogDirectory> directory;
  std::unique_ptr<PartitionLog> log;

  // The log goes before its directory.
  void Close() {
    log.reset();
    directory.reset();
  }
};

bool Open(FileSystem& files, Clock& clock, Opened* out) {
  auto directory = LogDirectory::Open(files, clock, {.path = "d"});
  if (!directory.ok()) return false;
  out->directory = *std::move(directory);
  auto log = out->directory->OpenPartition("t-0", kTopic, 0, kConfig, true);
  if (!log.ok()) return false;
  out->log = *std::move(log);
  return true;
}

size_t ValueBytes(int i) { return static_cast<size_t>(i) * 7 % 50; }

bool Append(PartitionLog& log, int i) {
  record::BatchBuilder builder(Pool());
  const std::string value(ValueBytes(i), 'x');
  builder.Append(1000 + i, Bytes("key"), Bytes(value));
  const auto batch = builder.Finish();
  return batch.ok() &&
         log.Append(batch->bytes(), {.leader_epoch = std::max(0, log.latest_epoch())}, true).ok();
}

std::shared_ptr<testing::SimulatedDisk> Original(bool clean) {
  const auto disk = std::make_shared<testing::SimulatedDisk>(1);
  testing::ManualClock clock;
  Opened at;
  Require(Open(*disk, clock, &at));
  for (int i = 0; i < kRecords; ++i) Require(Append(*at.log, i));
  at.log->SyncTo(at.log->log_end()).IgnoreError();
  at.directory->WriteMarks().IgnoreError();
  if (clean) at.directory->CloseCleanly({at.log.get()}, absl::InfiniteFuture()).IgnoreError();
  at.Close();
  return disk->PowerCut(1, testing::CutMode::kJournalled);
}

// Each is a batch of one record, and `Append` says which stands where. An offset lies outside of
// its batch's CRC: the front of one batch can be followed by the rest of another, and both be in
// order. Adds such offsets to `misplaced`: only the segment sum can tell.
void CheckBatches(std::span<const std::byte> rest, std::vector<Offset>& misplaced) {
  while (!rest.empty()) {
    const auto header = record::ParseHeader(rest);
    Require(header.ok());
    const auto batch = rest.first(header->size_bytes());
    Require(record::CheckCrc(*header, batch).ok());
    record::RecordReader reader(*header, batch.subspan(record::kHeaderBytes));
    record::RecordFields record;
    Require(reader.Next(&record));
    const auto written = record.timestamp_ms - 1000;
    Require(written >= 0 && written < kRecords);
    Require(record.value.size() == ValueBytes(static_cast<int>(written)));
    if (record.offset != written) misplaced.push_back(record.offset);
    rest = rest.subspan(batch.size());
  }
}

// Reads on behind each damaged range; the log has to come to its end. Returns what is misplaced.
std::vector<Offset> ReadAll(PartitionLog& log) {
  std::vector<Offset> misplaced;
  Offset from = log.log_start();
  for (int rounds = 0; from < log.log_end(); ++rounds) {
    Require(rounds < 10'000);
    const auto read = log.Read(from, log.log_end(), 1 << 16, Pool());
    if (read.ok() && !read->bytes.empty()) {
      CheckBatches(read->bytes, misplaced);
      from = read->next_offset;
      continue;
    }
    Offset behind = from;
    for (const DamagedRange& d : log.damage()) {
      if (from >= d.first_offset && from < d.end_offset) behind = d.end_offset;
    }
    if (behind == from) break;  // an error of another kind: reported
    from = behind;
  }
  return misplaced;
}

std::string Sums(const testing::SimulatedDisk& disk) {
  for (const std::string& path : disk.AllFiles()) {
    if (path.find("/sums/") != std::string::npos) return *disk.Peek(path);
  }
  return {};
}

// Whether there is damage in the closed segment that `offset` lies in.
bool Reported(const std::vector<DamagedRange>& damage, Offset offset) {
  const Offset base = offset < kSecondBase ? 0 : kSecondBase;
  return std::ranges::any_of(damage, [base](const DamagedRange& d) {
    return d.file.ends_with(fmt::format("{:020}.log", base));
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto clean = Original(true);
  static const auto crashed = Original(false);
  ByteReader in({reinterpret_cast<const std::byte*>(data), size});
  const auto disk = (size % 2 == 0 ? clean : crashed)->Clone();
  for (int edits = 0; edits < 8 && in.remaining() >= 5; ++edits)
    fuzz::EditOneFile(*disk, in, /*mend=*/false);
  testing::ManualClock clock;
  Opened at;
  if (!Open(*disk, clock, &at)) return 0;
  const auto misplaced = ReadAll(*at.log);
  at.log->FindTime(1005, at.log->log_end(), Pool()).status().IgnoreError();
  for (int i = 0; i < 100; ++i) {
    const auto done = at.log->Scrub(1 << 20, Pool());
    if (!done.ok() || *done) break;
  }
  // The scrub compares the sums of the closed segments.
  if (Sums(*disk) == Sums(*(size % 2 == 0 ? clean : crashed))) {
    for (const Offset offset : misplaced)
      Require(offset >= kActiveBase || Reported(at.log->damage(), offset));
  }
  const Offset end = at.log->log_end();
  const bool appended = Append(*at.log, 1) && at.log->SyncTo(end + 1).ok();
  if (appended) Require(at.log->Read(end, end + 1, 1, Pool()).ok());
  at.Close();
  if (appended) Require(Open(*disk, clock, &at) && at.log->log_end() == end + 1);
  return 0;
}
