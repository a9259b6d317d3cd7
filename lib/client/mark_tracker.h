#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "millrace/topic_partition.h"

namespace millrace::client {

// Which of a partition's returned records are done, and how far that reaches without a gap. Of
// records 5 6 7 8 returned and 5, 7 done the prefix ends at 6; when 6 is done it ends at 8.
// Thread-safe.
class MarkTracker {
 public:
  // Poll returned these offsets (ascending), and goes on at `next`.
  void Returned(std::span<const Offset> offsets, Offset next);
  // The latest of them, from `from` on, did not reach the user after all.
  void Unreturn(Offset from);
  void Done(Offset offset);  // unknown and repeated offsets are ignored
  // The next offset to read after the prefix that is done; nullopt when nothing was ever returned.
  std::optional<Offset> prefix() const;
  // The position was set by hand: what was returned before counts no more.
  void Reset();
  size_t outstanding() const;  // returned and not done

 private:
  // Offsets returned together, less those that are done at the front.
  struct Run {
    Offset first = 0;
    Offset next = 0;              // where reading went on
    std::vector<Offset> offsets;  // empty where they are first, first + 1 and on
    std::vector<bool> done;
    size_t begin = 0;  // records before it are done
    Offset OffsetAt(size_t index) const {
      return offsets.empty() ? first + static_cast<Offset>(index) : offsets[index];
    }
  };
  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  std::deque<Run> runs_ ABSL_GUARDED_BY(mu_);
  std::optional<Offset> prefix_ ABSL_GUARDED_BY(mu_);
  size_t outstanding_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace millrace::client
