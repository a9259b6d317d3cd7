#include <fmt/format.h>

#include "crash_model.h"
#include "env/split_mix.h"

namespace millrace::broker {
namespace {

void GroupCommit(BrokerDriver& d) {
  if (!d.Open()) return;
  d.Create("a", 2);
  d.Create("b");
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 3; ++i) {
      d.AppendLater("a", i % 2);
      d.AppendLater("b", 0);
    }
    d.Read("a", 0);
    d.Maintain();
    d.Read("a", 1);
  }
}

void Rolls(BrokerDriver& d) {
  if (!d.Open()) return;
  d.Create("a", 1, {{"segment.bytes", "300"}});
  for (int i = 0; i < 8; ++i) d.Append("a", 0, 80);
  d.DeleteBefore("a", 0, 3);
  d.Maintain(absl::Milliseconds(100));
  for (int i = 0; i < 4; ++i) d.Append("a", 0, 80);
  d.DeleteBefore("a", 0, 9);
  d.Read("a", 0);
}

void Retention(BrokerDriver& d) {
  if (!d.Open()) return;
  d.Create("a", 1, {{"segment.bytes", "300"}, {"retention.ms", "60000"}});
  for (int i = 0; i < 6; ++i) d.Append("a", 0, 80);
  d.Retain("a", 0);
  d.Maintain(absl::Hours(1));
  for (int i = 0; i < 4; ++i) d.Append("a", 0, 80);
  d.Read("a", 0);
  d.Maintain(absl::Milliseconds(200));
}

void Commits(BrokerDriver& d) {
  if (!d.Open()) return;
  d.Create("a");
  for (int i = 0; i < 5; ++i) d.Append("a", 0);
  d.Commit("g", "a", 1, true);
  d.Commit("g", "a", 2, false);
  d.Commit("h", "a", 3, false);
  d.Maintain(absl::Milliseconds(100));
  d.Commit("g", "a", 4, true);
  d.Commit("h", "a", 5, true);
  d.Commit("g", "a", 0, true);
}

void Deletion(BrokerDriver& d) {
  if (!d.Open()) return;
  d.Create("a", 2);
  d.Create("kept");
  d.Append("a", 0);
  d.Append("a", 1);
  d.Append("kept", 0);
  d.Commit("g", "a", 1, true);
  d.Delete("a");
  d.Create("a", 1);
  d.Append("a", 0);
  d.Read("a", 0);
  d.Delete("a");
  d.Append("kept", 0);
}

void Changes(BrokerDriver& d) {
  if (!d.Open()) return;
  d.Create("a", 1, {{"retention.ms", "1000000"}});
  d.Alter("a", "2000000");
  d.Grow("a", 3);
  d.Append("a", 2);
  d.Alter("a", "3000000");
  d.Append("a", 0);
  d.Create("b", 4);
  d.Grow("a", 4);
}

void CloseAndOpen(BrokerDriver& d) {
  if (!d.Open()) return;
  d.Create("a", 2, {{"segment.bytes", "300"}});
  for (int i = 0; i < 4; ++i) d.Append("a", i % 2, 80);
  d.AppendLater("a", 0);
  d.Commit("g", "a", 1, false);
  d.Close();
  if (!d.Open()) return;
  d.Append("a", 0, 80);
  d.AppendLater("a", 1);
  d.Close();
}

void Unsynced(BrokerDriver& d) {
  if (!d.Open()) return;
  d.Create("a", 2, {{"segment.bytes", "400"}});
  for (int i = 0; i < 6; ++i) {
    d.Append("a", i % 2, 80);
    if (i == 3) d.SyncAll();
    d.Maintain(absl::Milliseconds(400));
  }
  d.Commit("g", "a", 2, true);
}

// Most of what makes a snapshot due is written before the cuts begin.
void FillMetadata(BrokerDriver& d) {
  if (!d.Open()) return;
  d.Create("a");
  d.Append("a", 0);
  while (d.MetadataLogBytes() < (1 << 20) - 3000) d.AlterEverything("a");
}
void MetadataSnapshot(BrokerDriver& d) {
  for (int i = 0; i < 4; ++i) {
    d.AlterEverything("a");
    d.Alter("a", std::to_string(1000000 + i));
  }
  d.Append("a", 0);
}

void FillOffsets(BrokerDriver& d) {
  if (!d.Open()) return;
  d.Create("a");
  for (int i = 0; i < 3; ++i) d.Append("a", 0);
  for (int i = 0; i < 255; ++i) d.Commit("g", "a", i % 3, true, 4000);
}
void OffsetsCompaction(BrokerDriver& d) {
  for (int i = 0; i < 6; ++i) {
    d.Commit("g", "a", i % 3, true, 4000);
    d.Commit("h", "a", i % 2, i % 2 == 0);
    d.Maintain(absl::Milliseconds(100));
  }
}

void Mixed(BrokerDriver& d) {
  SplitMix64 random(d.seed());
  const auto below = [&](uint64_t n) { return random.Next() % n; };
  if (!d.Open()) return;
  d.Create("t0", 2, {{"segment.bytes", "400"}});
  for (int i = 0; i < 30; ++i) {
    const std::string topic = fmt::format("t{}", below(3));
    switch (below(11)) {
      case 0:
        d.Create(topic, 1 + static_cast<int32_t>(below(3)), {{"segment.bytes", "400"}});
        break;
      case 1:
        d.Delete(topic);
        break;
      case 2:
        d.Maintain(absl::Milliseconds(static_cast<int64_t>(below(200))));
        break;
      case 3:
        d.Commit("g", topic, static_cast<Offset>(below(3)), below(2) == 0);
        break;
      case 4:
        d.Read(topic, 0);
        break;
      case 5:
        d.DeleteBefore(topic, 0, static_cast<Offset>(below(3)));
        break;
      case 6:
        d.Close();
        d.Open();
        break;
      case 7:
        d.Append(topic, 0, below(150));
        break;
      case 8:
        d.Alter(topic, std::to_string(1000000 + below(1000)));
        break;
      default:
        d.AppendLater(topic, static_cast<int32_t>(below(2)), below(150));
        break;
    }
  }
}

}  // namespace

const std::vector<Workload>& AllWorkloads() {
  using enum FlushPolicy;
  static const auto& workloads = *new std::vector<Workload>{
      {.name = "group-commit", .prepare = {}, .run = GroupCommit},
      {.name = "rolls", .prepare = {}, .run = Rolls},
      {.name = "retention", .prepare = {}, .run = Retention},
      {.name = "commits", .prepare = {}, .run = Commits},
      {.name = "deletion", .prepare = {}, .run = Deletion},
      {.name = "changes", .prepare = {}, .run = Changes},
      {.name = "close-and-open", .prepare = {}, .run = CloseAndOpen},
      {.name = "interval", .flush = kInterval, .prepare = {}, .run = Unsynced},
      {.name = "os", .flush = kOs, .prepare = {}, .run = Unsynced},
      {.name = "metadata-snapshot", .prepare = FillMetadata, .run = MetadataSnapshot},
      {.name = "offsets-compaction", .prepare = FillOffsets, .run = OffsetsCompaction},
      {.name = "mixed", .prepare = {}, .run = Mixed},
  };
  return workloads;
}

}  // namespace millrace::broker
