#pragma once

#include <optional>
#include <set>
#include <string>
#include <tuple>

#include <absl/time/time.h>

#include "coordinator/group_table.h"

namespace millrace::coordinator {

// When members are to be looked at: one entry a member at most. A member's deadline may move back
// without a word here (Touch is to be cheap); its timer then rings too early and is set again.
class Timers {
 public:
  struct Due {
    std::string group;
    std::string member;
  };
  // Has the member looked at by its deadline, or by when it must have given up partitions.
  void Arm(const std::string& group, Member& member);
  void Cancel(const std::string& group, Member& member);
  // Takes one whose timer rings by `now`. The caller removes the member or arms it again.
  std::optional<Due> TakeDue(absl::Time now);
  absl::Time Next() const;

 private:
  std::set<std::tuple<absl::Time, std::string, std::string>> entries_;
};

}  // namespace millrace::coordinator
