#pragma once

#include <cstdint>
#include <optional>

#include <absl/functional/function_ref.h>

#include "coordinator/partitions.h"

namespace millrace::coordinator {

// Kafka's values: they stand in the records.
enum class MemberState : int8_t {
  kStable = 0,
  kUnrevokedPartitions = 1,  // the member has to give up partitions before it may go on
  kUnreleasedPartitions =
      2,  // it is at the target's epoch, but others hold partitions of its target
};

// 2^31 rebalances away; a damaged log must not overflow it.
constexpr int32_t NextEpoch(int32_t epoch) { return epoch == INT32_MAX ? epoch : epoch + 1; }

// What one member holds, as the coordinator knows it.
struct Holding {
  int32_t epoch = 0;
  int32_t previous_epoch = 0;  // of the answer before, which the member may not have seen pass
  MemberState state = MemberState::kStable;
  Partitions assigned;            // it may own these
  Partitions pending_revocation;  // it must give these up; nobody else gets them until it has
  bool operator==(const Holding&) const = default;
};

// The member's next step towards `target` (KIP-848): first it gives up what is not its own any
// more, then its epoch moves on, then it gets what is new to it, as far as `is_free`. `owned` is
// what the member said that it owns; unset when it said nothing.
Holding Reconcile(const Holding& now, const Partitions& target, int32_t target_epoch,
                  const std::optional<Partitions>& owned,
                  absl::FunctionRef<bool(const PartitionId&)> is_free);

}  // namespace millrace::coordinator
