#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/broker.h"
#include "millrace/testing/manual_clock.h"
#include "millrace/testing/simulated_disk.h"
#include "record/batch_builder.h"
#include "support/or_fail.h"

namespace millrace::broker {

// A simulated machine: a disk, a clock that stands still, numbers from a seed. Brokers come and go
// on it.
struct Machine {
  std::shared_ptr<testing::SimulatedDisk> disk = std::make_shared<testing::SimulatedDisk>(1);
  std::shared_ptr<testing::ManualClock> clock =
      std::make_shared<testing::ManualClock>(absl::FromUnixSeconds(1700000000));
  std::shared_ptr<Random> random = testing::SeededRandom(1);
  std::vector<std::string> warnings;  // what brokers logged, warnings and errors

  // Without threads of its own, so that nothing happens unless the test says so.
  Options options();
  std::shared_ptr<Broker> Open() { return OrFail(Broker::Open(options())); }
  std::shared_ptr<Broker> Open(Options changed) { return OrFail(Broker::Open(std::move(changed))); }
  // What the disk holds after the power, or the process alone, was cut off.
  void PowerCut(uint64_t seed = 1) { disk = disk->PowerCut(seed, testing::CutMode::kJournalled); }
  void ProcessKill() { disk = disk->ProcessKill(); }
};

// The machine goes on from another disk; the broker is left behind as a killed process leaves it.
void Abandon(std::shared_ptr<Broker>& broker);

record::EncodedBatch MakeBatch(BufferPool& pool, const std::vector<std::string>& values,
                               int64_t timestamp_ms, std::optional<std::string> key = "key");

// Appends one batch and waits for its answer by syncing on this thread.
StatusOr<Appended> Append(Broker& broker, Partition& partition,
                          const std::vector<std::string>& values, AppendOptions options = {});
// The answer is kept until somebody looks.
struct Answer {
  std::optional<StatusOr<Appended>> result;
  bool given() const { return result.has_value(); }
};
std::shared_ptr<Answer> AppendLater(Broker& broker, Partition& partition,
                                    const std::vector<std::string>& values,
                                    AppendOptions options = {});

// The call, and where it was accepted what it has synced, on this thread. `durable` or not.
Status CommitOffsets(Broker& broker, const coordinator::OffsetCommit& commit, bool durable);
StatusOr<coordinator::HeartbeatReply> GroupHeartbeat(Broker& broker,
                                                     const coordinator::Heartbeat& beat,
                                                     std::shared_ptr<Bell> bell);

// The values of all records that can be fetched from `from` on.
std::vector<std::string> Values(Partition& partition, Offset from = 0);

std::shared_ptr<Partition> MakeTopic(Broker& broker, const std::string& name,
                                     ConfigMap config = {});

}  // namespace millrace::broker
