#pragma once

#include <cstdint>
#include <span>
#include <string_view>

// Bugs that event logs had, or nearly had, each behind a switch: the proof that our harnesses would
// catch them (tests/seeded_bugs). Only a build with MILLRACE_SEEDED_BUGS can switch one on; in
// every other build SeededBug is a constant false, and the compiler removes what stands behind it.
namespace millrace {

// X(identifier, name, what it does)
#define MILLRACE_SEEDED_BUG_LIST(X)                                                              \
  X(kAckBeforeSync, "ack-before-sync", "acknowledges what is only written")                      \
  X(kSkipDirSync, "skip-dir-sync", "does not sync the folder of a new segment")                  \
  X(kNoCrcCheck, "no-crc-check", "reads without comparing the CRC")                              \
  X(kRenameBeforeSync, "rename-before-sync", "renames a side file before its bytes are synced")  \
  X(kRetryFailedSync, "retry-failed-sync", "syncs again after a failed sync and believes it")    \
  X(kIgnoreFailedSync, "ignore-failed-sync", "takes a failed sync for a success")                \
  X(kDedupLostOnRestart, "dedup-lost-on-restart", "forgets producers when it opens")             \
  X(kTornTailIsCorruption, "torn-tail-is-corruption", "reports a torn tail as damage")           \
  X(kCorruptionIsTornTail, "corruption-is-torn-tail", "cuts damage below the durable mark")      \
  X(kTrustIndexAfterCrash, "trust-index-after-crash", "believes an index that was not synced")   \
  X(kMarkBeforeSync, "mark-before-sync", "writes the durable mark before the sync")              \
  X(kBoundaryBeforeSync, "boundary-before-sync", "lets the synced end pass an unsynced segment") \
  X(kCutNotSynced, "cut-not-synced", "appends after a cut that is not durable")                  \
  X(kEpochNotPersisted, "epoch-not-persisted", "appends in an epoch that no file knows")         \
  X(kRetentionBeforeMark, "retention-before-mark", "unlinks before the log start is durable")    \
  X(kOrphanCleanUp, "orphan-clean-up", "deletes folders that the metadata does not know")        \
  X(kZeroTailIsDamage, "zero-tail-is-damage", "does not know zeros as the end of a log")         \
  X(kNoContinuityCheck, "no-continuity-check", "reads without comparing base offsets")           \
  X(kNoEpochCheck, "no-epoch-check", "reads without comparing leader epochs")                    \
  X(kScrubIgnoresSum, "scrub-ignores-sum", "scrubs without comparing segment sums")              \
  X(kFailedWriteStays, "failed-write-stays", "does not cut back a failed write")                 \
  X(kManifestStays, "manifest-stays", "leaves the close manifest when it opens")                 \
  X(kEpochNotBumped, "epoch-not-bumped", "keeps the leader epoch after an unclean open")         \
  X(kCommitNotSynced, "commit-not-synced", "answers an explicit commit before its sync")         \
  X(kMetadataNotSynced, "metadata-not-synced", "answers an admin call before its sync")          \
  X(kVisibleBeforeDurable, "visible-before-durable", "shows readers what is only written")       \
  X(kMissingFolderIsEmpty, "missing-folder-is-empty", "opens a lost partition as an empty one")

enum class Bug : uint8_t {
  kNone,
#define MILLRACE_BUG_ID(id, name, what) id,
  MILLRACE_SEEDED_BUG_LIST(MILLRACE_BUG_ID)
#undef MILLRACE_BUG_ID
};

struct BugInfo {
  Bug bug;
  std::string_view name;
  std::string_view what;
};
inline constexpr BugInfo kAllBugs[] = {
#define MILLRACE_BUG_ROW(id, name, what) {Bug::id, name, what},
    MILLRACE_SEEDED_BUG_LIST(MILLRACE_BUG_ROW)
#undef MILLRACE_BUG_ROW
};

#ifdef MILLRACE_SEEDED_BUGS
namespace internal {
inline Bug bug_that_is_on = Bug::kNone;
}
inline bool SeededBug(Bug bug) { return internal::bug_that_is_on == bug; }
inline void SwitchOnBug(Bug bug) { internal::bug_that_is_on = bug; }  // kNone switches off
#else
constexpr bool SeededBug(Bug) { return false; }
#endif

}  // namespace millrace
