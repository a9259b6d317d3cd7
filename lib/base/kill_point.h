#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

// Places at which a test may have this process killed: between two steps that must not be seen
// apart after a restart. The kill loop (tests/harness) hits each of them many times. Only a build
// with MILLRACE_KILL_POINTS has them, and there they cost one relaxed load until one is armed; in
// every other build they are nothing.
namespace millrace {

// X(identifier, name, where it is)
#define MILLRACE_KILL_POINT_LIST(X)                                             \
  X(kAppendWritten, "append-written", "a batch is written, and not yet synced") \
  X(kSyncDone, "sync-done", "a file is synced, and nobody is answered yet")

enum class KillPoint : uint8_t {
  kNone,
#define MILLRACE_KILL_POINT_ID(id, name, where) id,
  MILLRACE_KILL_POINT_LIST(MILLRACE_KILL_POINT_ID)
#undef MILLRACE_KILL_POINT_ID
};

struct KillPointInfo {
  KillPoint point;
  std::string_view name;
  std::string_view where;
};
inline constexpr KillPointInfo kAllKillPoints[] = {
#define MILLRACE_KILL_POINT_ROW(id, name, where) {KillPoint::id, name, where},
    MILLRACE_KILL_POINT_LIST(MILLRACE_KILL_POINT_ROW)
#undef MILLRACE_KILL_POINT_ROW
};

#ifdef MILLRACE_KILL_POINTS
namespace internal {
inline std::atomic<KillPoint> armed_kill_point = KillPoint::kNone;
void HitArmedKillPoint();
}  // namespace internal

// The `count`th time from now, from 1, that this process passes `point` is its end.
void ArmKillPoint(KillPoint point, int64_t count);

#define MILLRACE_KILL_POINT(id)                                                   \
  do {                                                                            \
    if (::millrace::internal::armed_kill_point.load(std::memory_order_relaxed) == \
        ::millrace::KillPoint::id) [[unlikely]]                                   \
      ::millrace::internal::HitArmedKillPoint();                                  \
  } while (false)
#else
#define MILLRACE_KILL_POINT(id) static_cast<void>(0)
#endif

}  // namespace millrace
