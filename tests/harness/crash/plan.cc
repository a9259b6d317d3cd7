#include "harness/crash/plan.h"

#include <utility>

#include <fmt/format.h>

#include "harness/support/arguments.h"
#include "harness/support/rng.h"

namespace millrace::harness {
namespace {

constexpr std::pair<std::string_view, Lie> kLies[] = {
    {"none", Lie::kNone},
    {"ack-first", Lie::kAckFirst},
    {"send-twice", Lie::kSendTwice},
    {"other-bytes", Lie::kOtherBytes},
    {"commit-first", Lie::kCommitFirst},
    {"swap", Lie::kSwap},
};

Lie LieOf(std::string_view name) {
  for (const auto& [text, lie] : kLies) {
    if (text == name) return lie;
  }
  Fatal("--lie {}: no such lie", name);
}

KillPoint KillPointOf(std::string_view name) {
  if (name.empty()) return KillPoint::kNone;
  for (const KillPointInfo& info : kAllKillPoints) {
    if (info.name == name) return info.point;
  }
  Fatal("--kill-at {}: no such kill point", name);
}

Flush DrawFlush(Rng& rng, std::string_view wanted) {
  constexpr Flush kPolicies[] = {Flush::kEachBatch, Flush::kEachBatch, Flush::kOs,
                                 Flush::kInterval};
  if (wanted == "any") return rng.Pick(kPolicies);
  if (wanted == "each-batch") return Flush::kEachBatch;
  if (wanted == "interval") return Flush::kInterval;
  if (wanted == "os") return Flush::kOs;
  Fatal("--flush {}: wanted each-batch, interval, os or any", wanted);
}

void DrawWorkload(Rng& rng, Plan* plan) {
  constexpr int kThreads[] = {0, 1, 2, 3, 3, 3};
  constexpr Compression kCodecs[] = {Compression::kNone,   Compression::kNone, Compression::kGzip,
                                     Compression::kSnappy, Compression::kLz4,  Compression::kZstd};
  constexpr size_t kBatchBytes[] = {512, 4'096, 64 << 10, 256 << 10};
  constexpr int64_t kSegmentBytes[] = {4'096, 4'096, 8'192, 20'000, 1 << 20};
  plan->background_threads = rng.Pick(kThreads);
  // Without threads nobody syncs while no call is made, and the interval's bound does not hold.
  if (plan->flush == Flush::kInterval) plan->background_threads = 3;
  plan->producer.compression = rng.Pick(kCodecs);
  plan->producer.batch_bytes = rng.Pick(kBatchBytes);
  plan->producer.linger = absl::Milliseconds(rng.OneIn(3) ? rng.Between(1, 3) : 0);
  plan->segment_bytes = rng.Pick(kSegmentBytes);
  plan->producers = static_cast<int>(rng.Between(1, 3));
  plan->sends_per_producer = static_cast<int>(rng.Between(1, 15));
  plan->records_per_send = rng.OneIn(4) ? 30 : 4;
  plan->members = static_cast<int>(rng.Between(0, 2));
  plan->automatic_member = rng.OneIn(3);
  plan->uses_admin = rng.OneIn(3);
  const uint64_t dice = rng.Below(10);
  plan->end = dice < 3 ? Plan::End::kClose : dice < 5 ? Plan::End::kAbandon : Plan::End::kExit;
}

}  // namespace

Plan MakePlan(int argc, char** argv) {
  Arguments arguments(argc, argv);
  Plan plan;
  plan.directory = arguments.Text("dir", "");
  plan.seed = arguments.Number("seed", 1);
  plan.first_process = static_cast<int64_t>(arguments.Number("first-process", 0));
  plan.verify_only = arguments.Number("verify-only", 0) != 0;
  plan.lie = LieOf(arguments.Text("lie", "none"));
  plan.kill_point = KillPointOf(arguments.Text("kill-at", ""));
  plan.kill_at = static_cast<int64_t>(arguments.Number("kill-count", 1));
  const std::string flush = arguments.Text("flush", "any");
  const uint64_t busy = arguments.Number("busy", 1);
  arguments.RefuseOthers();
  if (plan.directory.empty()) Fatal("--dir is needed");
  Rng rng(plan.seed);
  plan.flush = DrawFlush(rng, flush);
  DrawWorkload(rng, &plan);
  plan.sends_per_producer *= static_cast<int>(busy);
  return plan;
}

std::string Describe(const Plan& plan) {
  constexpr std::string_view kPolicies[] = {"os", "interval", "each-batch"};
  constexpr std::string_view kCodecs[] = {"none", "gzip", "snappy", "lz4", "zstd"};
  constexpr std::string_view kEnds[] = {"close", "exit", "abandon"};
  return fmt::format(
      "seed={} flush={} interval={} threads={} codec={} batch={} linger={} segment={} producers={} "
      "sends={}x{} members={} automatic={} admin={} end={}",
      plan.seed, kPolicies[static_cast<size_t>(plan.flush)],
      absl::FormatDuration(plan.flush_interval), plan.background_threads,
      kCodecs[static_cast<size_t>(plan.producer.compression)], plan.producer.batch_bytes,
      absl::FormatDuration(plan.producer.linger), plan.segment_bytes, plan.producers,
      plan.sends_per_producer, plan.records_per_send, plan.members, plan.automatic_member,
      plan.uses_admin, kEnds[static_cast<size_t>(plan.end)]);
}

}  // namespace millrace::harness
