#include "base/kill_point.h"

#ifdef MILLRACE_KILL_POINTS
#include <csignal>

namespace millrace {
namespace {

std::atomic<int64_t> passes_left = 0;

}  // namespace

void ArmKillPoint(KillPoint point, int64_t count) {
  passes_left = count;
  internal::armed_kill_point = point;
}

void internal::HitArmedKillPoint() {
  if (passes_left.fetch_sub(1) == 1) std::raise(SIGKILL);
}

}  // namespace millrace
#endif
