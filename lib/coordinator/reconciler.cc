#include "coordinator/reconciler.h"

#include <utility>

namespace millrace::coordinator {
namespace {

bool StillOwnsOneOf(const Partitions& partitions, const std::optional<Partitions>& owned) {
  return !owned.has_value() || !Both(*owned, partitions).empty();
}

}  // namespace

Holding Reconcile(const Holding& now, const Partitions& target, int32_t target_epoch,
                  const std::optional<Partitions>& owned,
                  absl::FunctionRef<bool(const PartitionId&)> is_free) {
  int32_t epoch = now.epoch;
  switch (now.state) {
    case MemberState::kStable:
      if (now.epoch == target_epoch) return now;
      break;
    case MemberState::kUnrevokedPartitions:
      if (StillOwnsOneOf(now.pending_revocation, owned)) return now;
      epoch = NextEpoch(now.epoch);
      break;
    case MemberState::kUnreleasedPartitions:
      break;
  }
  Holding next;
  next.assigned = Both(now.assigned, target);
  next.pending_revocation = Minus(now.assigned, target);
  if (!next.pending_revocation.empty() && StillOwnsOneOf(next.pending_revocation, owned)) {
    next.epoch = epoch;
    next.state = MemberState::kUnrevokedPartitions;
  } else {
    next.pending_revocation.clear();
    Partitions added;
    for (const PartitionId& partition : Minus(target, next.assigned)) {
      if (is_free(partition)) {
        added.push_back(partition);
      } else {
        next.state = MemberState::kUnreleasedPartitions;
      }
    }
    next.assigned = Either(next.assigned, added);
    next.epoch = target_epoch;
  }
  next.previous_epoch = next.epoch == now.epoch ? now.previous_epoch : now.epoch;
  return next;
}

}  // namespace millrace::coordinator
