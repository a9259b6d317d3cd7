#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "harness/check/checker.h"
#include "harness/crash/expected_state.h"

namespace millrace::harness {

// Everything that is known of one data directory, over all runs of the child on it: takes the
// child's lines, keeps them as one history, and judges them twice: by the expected state, and by
// the history checker.
class Witness {
 public:
  // Where records may legally be lost, the history checker cannot be used: it knows no such loss.
  explicit Witness(bool use_checker);

  void BeginRun(ExpectedState::Durability durability, SteadyClock::duration loss_window = {});
  void Add(std::string_view line);
  // True once this run's child has read everything and begins to work.
  bool ready() const { return ready_; }
  // After this nothing of the run can happen: what is pending ends, and nobody knows how.
  void RunIsOver();
  // What is read of the child from now on may have happened after the power cut, and only what it
  // had set out to do still matters.
  void PowerWasCut();
  bool power_was_cut() const { return cut_; }  // in this run
  void Wrong(std::string_view what);

  void Finish();

  uint64_t lost() const { return state_.lost(); }
  uint64_t wrong() const { return state_.wrong() + wrong_; }
  uint64_t readings() const { return state_.readings(); }
  uint64_t operations() const { return checker_ ? checker_->operations() : 0; }
  // Prints what was found and keeps the history in `directory`.
  void Report(const std::string& directory) const;

 private:
  void AddOp(const check::Op& op);
  void Track(const check::Op& op);
  void EndPending(check::Op op);

  check::Names names_;
  ExpectedState state_{names_};
  std::optional<check::Checker> checker_;
  std::map<int64_t, check::Op> pending_;  // invokes by process, with what was acknowledged of them
  std::string history_;
  std::vector<std::string> problems_;
  uint64_t wrong_ = 0;
  bool ready_ = false;
  bool cut_ = false;
};

}  // namespace millrace::harness
