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
#define MILLRACE_KILL_POINT_LIST(X)                                                               \
  X(kAppendWritten, "append-written", "a batch is written, and nobody can see it yet")            \
  X(kSyncDone, "sync-done", "a log is synced, and its synced end has not moved")                  \
  X(kEpochWritten, "epoch-written",                                                               \
    "a new leader epoch is durable, and nothing is appended in it")                               \
  X(kSegmentCreated, "segment-created", "the file of the next segment is there, and empty")       \
  X(kSegmentSynced, "segment-synced", "the log of a full segment is synced, its indexes are not") \
  X(kSnapshotWritten, "snapshot-written", "the producers at its end are known, its sum is not")   \
  X(kSumWritten, "sum-written", "a full segment is finished, and the mark lies before its end")   \
  X(kMarksWritten, "marks-written", "durable marks are written, and not yet synced")              \
  X(kReplacementWritten, "replacement-written", "a side file is safe under its temporary name")   \
  X(kReplacementRenamed, "replacement-renamed", "it has its name, which is not yet durable")      \
  X(kLogStartMarked, "log-start-marked", "a new log start is durable, the old records are there") \
  X(kSegmentFileGone, "segment-file-gone", "one file of a segment that is deleted is gone")       \
  X(kRecovered, "recovered", "a log is recovered, and what was left unsynced still is")           \
  X(kManifestTaken, "manifest-taken", "the close manifest is removed, not yet durably")           \
  X(kFolderRenamed, "folder-renamed", "the folder of a deleted partition has its last name")      \
  X(kMarkRemoved, "mark-removed", "the mark of a deleted partition is gone, its files are not")   \
  X(kMetadataWritten, "metadata-written", "a change of the metadata is written, and not synced")  \
  X(kTopicCreated, "topic-created", "a topic is durable, and nobody can use it yet")              \
  X(kTopicRemoved, "topic-removed",                                                               \
    "a topic is deleted for the metadata, its partitions are open")                               \
  X(kOffsetsWritten, "offsets-written", "committed offsets are written, and not yet synced")

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
