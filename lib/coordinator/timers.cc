#include "coordinator/timers.h"

#include <algorithm>
#include <utility>

namespace millrace::coordinator {

void Timers::Arm(const std::string& group, Member& member) {
  const absl::Time due = std::min(member.deadline, member.revoke_by);
  if (due >= member.armed) return;
  Cancel(group, member);
  member.armed = due;
  entries_.emplace(due, group, member.id);
}

void Timers::Cancel(const std::string& group, Member& member) {
  if (member.armed == absl::InfiniteFuture()) return;
  entries_.erase({member.armed, group, member.id});
  member.armed = absl::InfiniteFuture();
}

std::optional<Timers::Due> Timers::TakeDue(absl::Time now) {
  if (entries_.empty() || std::get<0>(*entries_.begin()) > now) return std::nullopt;
  auto node = entries_.extract(entries_.begin());
  auto& [time, group, member] = node.value();
  return Due{std::move(group), std::move(member)};
}

absl::Time Timers::Next() const {
  return entries_.empty() ? absl::InfiniteFuture() : std::get<0>(*entries_.begin());
}

}  // namespace millrace::coordinator
