#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "env/bell.h"
#include "millrace/env.h"

namespace millrace::broker {

// Timers, and the thread that runs them; or, without a thread, whoever calls RunDue. Tasks run
// once; jobs are named once and armed again and again. An idle instance does not wake up.
// Neither a task nor a job is lost for lack of memory: one that throws bad_alloc runs again a
// little later. Thread-safe.
class Upkeep {
 public:
  using Task = absl::AnyInvocable<void()>;
  // One slice of a job, given the time. Returns when it wants to run next: `now` to go on at once
  // when the others had their turn, InfiniteDuration to rest until it is armed.
  using Job = std::function<absl::Duration(absl::Duration now)>;
  // A slice of a job ends after about this time.
  static constexpr absl::Duration kSlice = absl::Milliseconds(5);

  // Borrows `clock`.
  explicit Upkeep(Clock& clock);
  ~Upkeep();  // Stop

  // Adds a job that rests. Before Start only.
  size_t AddJob(Job job);
  void Start();  // the thread
  // Ends the thread; tasks that have not begun are dropped. Waits for what runs, whoever runs it.
  void Stop();

  uint64_t CallAt(absl::Duration when, Task task);
  void Cancel(uint64_t id);
  // Makes the job due at `when` at the latest. Wakes the thread only if it would sleep longer.
  void Arm(size_t job, absl::Duration when);
  // Wakes the thread to do its extra work.
  void Wake() { bell_.Ring(); }
  // What the thread does each time it wakes, before the timers. Before Start only.
  void SetExtraWork(std::function<void()> extra) { extra_ = std::move(extra); }

  // Runs what is due now, each job until it rests or is due later. What another thread runs is
  // skipped.
  void RunDue();
  absl::Duration NextDue() const;
  bool OnOwnThread() const;  // whether this is the upkeep thread

 private:
  struct JobState {
    Job run;
    absl::Duration due = absl::InfiniteDuration();
    bool running = false;
  };
  using TimerKey = std::pair<absl::Duration, uint64_t>;
  using Tasks = std::map<TimerKey, Task>;
  using Dues = std::map<uint64_t, absl::Duration>;  // id -> its key in the tasks
  // A task under way, on the stack of the thread that runs it.
  struct Running {
    uint64_t id = 0;
    std::thread::id thread;
    bool once = false;  // it was cancelled: not to be tried again
    Running* next = nullptr;
  };

  void Loop();
  // Runs the one task or job that is due first at `now`; false when there is none.
  bool RunOne(absl::Duration now);
  void RunTask(Running& self, Tasks::node_type task, Dues::node_type due_of);
  void RunJob(size_t job, absl::Duration now);
  absl::Duration NextDueLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Clock& clock_;
  Bell bell_;
  std::function<void()> extra_;
  mutable Mutex mu_;
  CondVar finished_;
  Tasks tasks_ ABSL_GUARDED_BY(mu_);
  Dues due_of_ ABSL_GUARDED_BY(mu_);
  Running* running_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::vector<JobState> jobs_ ABSL_GUARDED_BY(mu_);
  int jobs_running_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 1;
  absl::Duration sleeps_until_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::broker
