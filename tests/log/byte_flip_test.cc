#include <fmt/format.h>

#include "base/errors.h"
#include "log/log_model.h"

// Every byte of a small directory, data and side files, is flipped, zeroed, cut off at, doubled,
// swapped with another: each is detected or harmless, and no wrong record is ever returned.
// MILLRACE_FLIP_STRIDE takes every n-th byte only.
namespace millrace::log {
namespace {

using testing::SimulatedDisk;

const LogConfig kConfig{
    .segment_bytes = 1200, .index_interval_bytes = 150, .retention = std::nullopt};

// Four closed segments and an active one, two epochs, three producers.
void Fill(LogDriver& driver, bool close) {
  REQUIRE(driver.Open());
  for (int i = 0; i < 14; ++i) REQUIRE(driver.AppendFrom(1 + i % 3, 2));
  REQUIRE(driver.Sync());
  REQUIRE(driver.Kill());
  for (int i = 0; i < 12; ++i) REQUIRE(driver.Append(1, 100));
  REQUIRE(driver.Sync());
  REQUIRE(driver.WriteMarks());
  if (close) {
    REQUIRE(driver.Close());
  } else {
    driver.log().Drop();
  }
}

struct Damage {
  std::string name;
  std::function<void(std::string& bytes, size_t at)> apply;
};

const std::vector<Damage>& AllDamages() {
  static const std::vector<Damage> all = {
      {"flipped",
       [](std::string& b, size_t at) { b[at] = static_cast<char>(b[at] ^ (1 << (at % 8))); }},
      {"inverted", [](std::string& b, size_t at) { b[at] = static_cast<char>(~b[at]); }},
      {"zeroed", [](std::string& b, size_t at) { b[at] = 0; }},
      {"cut", [](std::string& b, size_t at) { b.resize(at); }},
      {"doubled", [](std::string& b, size_t at) { b.insert(at, b.substr(at, 64)); }},
      {"removed", [](std::string& b, size_t at) { b.erase(at, 16); }},
      {"swapped",
       [](std::string& b, size_t at) {
         for (size_t i = 0; i < 32 && at + 64 + i < b.size(); ++i)
           std::swap(b[at + i], b[at + 64 + i]);
       }},
      {"overwritten",
       [](std::string& b, size_t at) {
         for (size_t i = at; i < std::min(b.size(), at + 128); ++i)
           b[i] = static_cast<char>(i * 37);
       }},
  };
  return all;
}

bool IsLogFile(const std::string& path) { return path.ends_with(".log"); }
// What says whose the directory and the folder are: without it they do not open, and nothing is
// changed.
bool IsIdentity(const std::string& path) {
  return path.ends_with("/format") || path.ends_with("partition.metadata");
}

Finding Scrub(PartitionLog& log) {
  for (int i = 0; i < 1000; ++i) {
    const auto done = log.Scrub(1 << 20, TestPool());
    if (!done.ok()) return {.what = done.status().ToString()};
    if (*done) return {};
  }
  return {.what = "the scrub does not come to an end"};
}

struct Case {
  std::string path;
  bool changed;      // bytes that belonged to the file are others now: somebody has to notice
  bool scrub_first;  // the scrub meets the damage before a reader does
};

Finding CheckDamaged(SimulatedDisk& disk, const Case& damaged, const Journal& journal) {
  const auto& [path, changed, scrub_first] = damaged;
  OneLog log(disk, kConfig);
  if (const Status status = log.TryOpen(); !status.ok()) {
    const ErrorId id = ErrorIdOf(status);
    const bool refused = id == ErrorId::kCorruptLog || id == ErrorId::kUnsupportedVersion ||
                         id == ErrorId::kOrphanData;
    if (IsIdentity(path) && refused) return {};
    return {.what = fmt::format("open: {}", status.ToString())};
  }
  int64_t unreadable = 0;
  if (!scrub_first)
    if (Finding f = CheckContents(*log, journal, true, nullptr); !f.ok()) return f;
  if (Finding f = Scrub(*log); !f.ok()) return f;
  if (Finding f = CheckContents(*log, journal, true, &unreadable); !f.ok()) return f;
  if (!IsLogFile(path)) {
    if (unreadable > 0 || !log->damage().empty())
      return {.lost = true, .what = "a damaged side file makes records unreadable"};
    if (Finding f = CheckTimes(*log, journal); !f.ok()) return f;
    if (Finding f = CheckProducers(*log); !f.ok()) return f;
  } else {
    // All of it lies below the durable mark.
    if (changed && log->recovery().cut_bytes > 0)
      return {.lost = true, .what = "damage was cut as if it were a torn tail"};
    if (changed && log->damage().empty()) return {.what = "the damage is not noticed"};
    // One damaged place costs at most its segment.
    const auto segments = log->segments();
    int64_t largest = 0;
    for (const SegmentInfo& s : segments) largest = std::max(largest, s.end_offset - s.base_offset);
    if (unreadable > largest)
      return {.lost = true, .what = fmt::format("{} offsets cannot be read", unreadable)};
  }
  // The log takes more, and gives it back.
  const auto appended = TryAppend(*log, {"after"}, kT0, log->latest_epoch() + 1);
  if (!appended.ok()) return {.what = appended.status().ToString()};
  if (appended->base_offset < journal.acknowledged)
    return {.lost = true,
            .what = fmt::format("offset {} is given out again", appended->base_offset)};
  if (const Status s = log->SyncTo(appended->next_offset); !s.ok()) return {.what = s.ToString()};
  const auto read = log->Read(appended->base_offset, appended->next_offset, 1 << 20, TestPool());
  if (!read.ok()) return {.what = read.status().ToString()};
  return {};
}

void Sweep(bool clean, uint64_t stride, Totals& totals) {
  SimulatedDisk original(1);
  LogDriver driver(original, kConfig, 1);
  Fill(driver, clean);
  // A machine that lost its power: else only the last batch could be torn.
  const auto rested =
      clean ? original.Clone() : original.PowerCut(1, testing::CutMode::kJournalled);
  uint64_t turn = 0;
  for (const std::string& path : rested->AllFiles()) {
    const std::string bytes = OrFail(rested->Peek(path));
    for (size_t at = 0; at < bytes.size(); ++at) {
      for (const Damage& damage : AllDamages()) {
        if (turn++ % stride != 0) continue;
        std::string damaged = bytes;
        damage.apply(damaged, at);
        if (damaged == bytes) continue;
        Case checked{path, !damaged.starts_with(bytes), false};
        Finding found;
        for (const bool scrub_first : {false, true}) {
          if (!found.ok()) break;
          checked.scrub_first = scrub_first;
          const auto disk = rested->Clone();
          OrFail(disk->Poke(path, damaged));
          found = CheckDamaged(*disk, checked, driver.journal());
        }
        totals.Count(found, fmt::format("{} {} at byte {} of {}, {}", path, damage.name, at,
                                        bytes.size(), clean ? "after a close" : "after a crash"));
      }
    }
  }
}

TEST_CASE("no damaged byte of a directory makes a wrong record", "[byte-flip]") {
  const uint64_t stride = FromEnvironment("MILLRACE_FLIP_STRIDE", 23);
  Totals totals;
  Sweep(/*clean=*/true, stride, totals);
  Sweep(/*clean=*/false, stride, totals);
  totals.Print("byte-flip");
  CAPTURE(totals.first);
  CHECK(totals.checked > 0);
  CHECK(totals.lost == 0);
  CHECK(totals.wrong == 0);
}

}  // namespace
}  // namespace millrace::log
