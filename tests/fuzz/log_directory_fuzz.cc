#include <memory>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/byte_reader.h"
#include "log/log_directory.h"
#include "millrace/testing/manual_clock.h"
#include "millrace/testing/simulated_disk.h"
#include "record/batch_builder.h"

// A small directory whose files the input edits: open, read all, append, close, reopen. Whatever
// the edits, it opens or refuses, nothing that is read fails its checks, and what is appended is
// there again.
//
// Input: edits of five bytes and more: file, kind, position (2), length; for an overwrite the bytes
// follow.
namespace {

using namespace millrace;
using namespace millrace::log;

const Uuid kTopic = Uuid::FromRandom(1, 2);
constexpr LogConfig kConfig{
    .segment_bytes = 600, .index_interval_bytes = 100, .retention = std::nullopt};

BufferPool& Pool() {
  static BufferPool pool;
  return pool;
}

struct Opened {
  std::unique_ptr<LogDirectory> directory;
  std::unique_ptr<PartitionLog> log;
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

bool Append(PartitionLog& log, int i) {
  record::BatchBuilder builder(Pool());
  builder.Append(1000 + i, Bytes("key"), Bytes(std::string(static_cast<size_t>(i % 50), 'x')));
  const auto batch = builder.Finish();
  return batch.ok() &&
         log.Append(batch->bytes(), {.leader_epoch = std::max(0, log.latest_epoch())}, true).ok();
}

std::shared_ptr<testing::SimulatedDisk> Original(bool clean) {
  const auto disk = std::make_shared<testing::SimulatedDisk>(1);
  testing::ManualClock clock;
  Opened at;
  if (!Open(*disk, clock, &at)) __builtin_trap();
  for (int i = 0; i < 16; ++i) Append(*at.log, i);
  at.log->SyncTo(at.log->log_end()).IgnoreError();
  at.directory->WriteMarks().IgnoreError();
  if (clean) at.directory->CloseCleanly({at.log.get()}, absl::InfiniteFuture()).IgnoreError();
  at = {};
  return disk->PowerCut(1, testing::CutMode::kJournalled);
}

void Edit(testing::SimulatedDisk& disk, ByteReader& in) {
  const auto files = disk.AllFiles();
  const std::string path = files[in.Integer<uint8_t>() % files.size()];
  const auto kind = in.Integer<uint8_t>();
  const auto position = in.Integer<uint16_t>();
  const auto length = in.Integer<uint8_t>();
  std::string bytes = *disk.Peek(path);
  const size_t at = bytes.empty() ? 0 : position % bytes.size();
  switch (kind % 5) {
    case 0:
      bytes.resize(at);
      break;
    case 1:
      bytes.erase(at, length);
      break;
    case 2:
      bytes.insert(at, bytes.substr(at, length));
      break;
    case 3:
      bytes.append(length * size_t{16}, '\0');
      break;
    default:
      for (const std::byte b : in.Bytes(std::min<size_t>(length, in.remaining()))) {
        if (at < bytes.size()) bytes.replace(at, 1, 1, static_cast<char>(b));
      }
  }
  disk.Poke(path, bytes).IgnoreError();
}

// Reads on behind each damaged range; the log has to come to its end.
void ReadAll(PartitionLog& log) {
  Offset from = log.log_start();
  for (int rounds = 0; from < log.log_end(); ++rounds) {
    if (rounds > 10'000) __builtin_trap();
    const auto read = log.Read(from, log.log_end(), 1 << 16, Pool());
    if (read.ok() && !read->bytes.empty()) {
      for (auto rest = read->bytes; !rest.empty();) {
        const auto header = record::ParseHeader(rest);
        if (!header.ok() || !record::CheckCrc(*header, rest.first(header->size_bytes())).ok())
          __builtin_trap();
        rest = rest.subspan(header->size_bytes());
      }
      from = read->next_offset;
      continue;
    }
    Offset behind = from;
    for (const DamagedRange& d : log.damage()) {
      if (from >= d.first_offset && from < d.end_offset) behind = d.end_offset;
    }
    if (behind == from) return;  // an error of another kind: reported
    from = behind;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto clean = Original(true);
  static const auto crashed = Original(false);
  ByteReader in({reinterpret_cast<const std::byte*>(data), size});
  const auto disk = (size % 2 == 0 ? clean : crashed)->Clone();
  for (int edits = 0; edits < 8 && in.remaining() >= 5; ++edits) Edit(*disk, in);
  testing::ManualClock clock;
  Opened at;
  if (!Open(*disk, clock, &at)) return 0;
  ReadAll(*at.log);
  at.log->FindTime(1005, at.log->log_end(), Pool()).status().IgnoreError();
  for (int i = 0; i < 100; ++i) {
    const auto done = at.log->Scrub(1 << 20, Pool());
    if (!done.ok() || *done) break;
  }
  const Offset end = at.log->log_end();
  const bool appended = Append(*at.log, 1) && at.log->SyncTo(end + 1).ok();
  if (appended && !at.log->Read(end, end + 1, 1, Pool()).ok()) __builtin_trap();
  at = {};
  if (appended && Open(*disk, clock, &at) && at.log->log_end() != end + 1) __builtin_trap();
  return 0;
}
