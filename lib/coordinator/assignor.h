#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/uuid.h"
#include "coordinator/partitions.h"

// Who shall get which partition: pure functions of the members and the topics.
namespace millrace::coordinator {

struct AssignorMember {
  std::string_view id;
  std::string_view instance_id;  // empty: a dynamic member
  std::vector<Uuid> topics;      // subscribed and existing; sorted
  Partitions current;            // its target so far
};

struct AssignorInput {
  std::vector<AssignorMember> members;  // sorted by id
  std::map<Uuid, int32_t> topics;       // the count of partitions of each
};

// The target of each member, in the order of the input. Every partition of a topic with a
// subscriber is in exactly one of them.
using Assignment = std::vector<Partitions>;
using Assignor = Assignment (*)(const AssignorInput&);

// Balanced: no partition could go to another subscriber so that the two would differ by less. Where
// all subscribe to the same, the counts differ by one at most. Sticky: what a member has, it keeps,
// unless that would break the balance.
Assignment AssignUniform(const AssignorInput& input);

// Each topic in ranges of consecutive partitions over its subscribers, who stand in one order (the
// instance id, else the member id): partition i of two topics with as many partitions and the same
// subscribers goes to the same member, so that they can be joined. Not sticky but by that order.
Assignment AssignRange(const AssignorInput& input);

inline constexpr std::string_view kDefaultAssignor = "uniform";
// Null for a name that is not known.
Assignor FindAssignor(std::string_view name);
std::string KnownAssignors();  // "range, uniform"

}  // namespace millrace::coordinator
