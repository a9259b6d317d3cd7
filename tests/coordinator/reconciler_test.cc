#include "coordinator/reconciler.h"

#include <catch2/catch.hpp>

// KIP-848's steps of one member: revoke, then the epoch, then what is new and free.
namespace millrace::coordinator {
namespace {

Partitions P(std::initializer_list<int32_t> numbers) {
  Partitions partitions;
  for (const int32_t n : numbers) partitions.push_back({Uuid{}, n});
  return partitions;
}
const auto kAllFree = [](const PartitionId&) { return true; };
const auto kNoneFree = [](const PartitionId&) { return false; };

}  // namespace

TEST_CASE("a stable member at the target's epoch stays as it is", "[reconciler]") {
  const Holding now{.epoch = 3, .previous_epoch = 2, .assigned = P({1}), .pending_revocation = {}};
  CHECK(Reconcile(now, P({1}), 3, P({1}), kAllFree) == now);
}

TEST_CASE("an unchanged target only raises the epoch", "[reconciler]") {
  const Holding now{.epoch = 3, .previous_epoch = 2, .assigned = P({1}), .pending_revocation = {}};
  const Holding next = Reconcile(now, P({1}), 5, std::nullopt, kNoneFree);
  CHECK(next ==
        Holding{.epoch = 5, .previous_epoch = 3, .assigned = P({1}), .pending_revocation = {}});
}

TEST_CASE("a member first gives up, at its old epoch", "[reconciler]") {
  const Holding now{
      .epoch = 3, .previous_epoch = 2, .assigned = P({1, 2}), .pending_revocation = {}};
  const Holding revoking = Reconcile(now, P({2, 3}), 5, P({1, 2}), kAllFree);
  CHECK(revoking == Holding{.epoch = 3,
                            .previous_epoch = 2,
                            .state = MemberState::kUnrevokedPartitions,
                            .assigned = P({2}),
                            .pending_revocation = P({1})});
  SECTION("it waits while it says nothing, or still owns one of them") {
    CHECK(Reconcile(revoking, P({2, 3}), 5, std::nullopt, kAllFree) == revoking);
    CHECK(Reconcile(revoking, P({2, 3}), 5, P({1, 2}), kAllFree) == revoking);
  }
  SECTION("then it gets the epoch and what is new") {
    CHECK(
        Reconcile(revoking, P({2, 3}), 5, P({2}), kAllFree) ==
        Holding{.epoch = 5, .previous_epoch = 3, .assigned = P({2, 3}), .pending_revocation = {}});
  }
  SECTION("a target that moved on meanwhile may ask for more, one epoch later") {
    CHECK(Reconcile(revoking, P({3}), 9, P({2}), kAllFree) ==
          Holding{.epoch = 4,
                  .previous_epoch = 3,
                  .state = MemberState::kUnrevokedPartitions,
                  .assigned = {},
                  .pending_revocation = P({2})});
  }
  SECTION("a partition that the target gives back is simply its own again") {
    CHECK(Reconcile(revoking, P({1, 2}), 6, P({2}), kAllFree).assigned == P({1, 2}));
  }
}

TEST_CASE("a member that does not own what is taken away goes on at once", "[reconciler]") {
  const Holding now{
      .epoch = 3, .previous_epoch = 2, .assigned = P({1, 2}), .pending_revocation = {}};
  CHECK(Reconcile(now, P({2}), 4, P({2}), kAllFree) ==
        Holding{.epoch = 4, .previous_epoch = 3, .assigned = P({2}), .pending_revocation = {}});
}

TEST_CASE("what others still hold is waited for at the new epoch", "[reconciler]") {
  const Holding now{.epoch = 3, .previous_epoch = 2, .assigned = P({1}), .pending_revocation = {}};
  const auto only_2 = [](const PartitionId& p) { return p.partition == 2; };
  const Holding waiting = Reconcile(now, P({1, 2, 3}), 4, P({1}), only_2);
  CHECK(waiting == Holding{.epoch = 4,
                           .previous_epoch = 3,
                           .state = MemberState::kUnreleasedPartitions,
                           .assigned = P({1, 2}),
                           .pending_revocation = {}});
  CHECK(Reconcile(waiting, P({1, 2, 3}), 4, P({1}), kNoneFree) == waiting);
  const Holding done = Reconcile(waiting, P({1, 2, 3}), 4, std::nullopt, kAllFree);
  CHECK(done.state == MemberState::kStable);
  CHECK(done.assigned == P({1, 2, 3}));
  CHECK(done.previous_epoch == 3);
}

TEST_CASE("an epoch of a damaged log does not overflow", "[reconciler]") {
  CHECK(NextEpoch(INT32_MAX) == INT32_MAX);
  CHECK(NextEpoch(7) == 8);
}

}  // namespace millrace::coordinator
