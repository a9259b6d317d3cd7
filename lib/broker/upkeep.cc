#include "broker/upkeep.h"

#include <algorithm>
#include <new>
#include <utility>

namespace millrace::broker {
namespace {
// What had no memory to run is tried again.
constexpr absl::Duration kRetryAfter = absl::Milliseconds(10);

thread_local const Upkeep* runs_on_this_thread = nullptr;
}  // namespace

Upkeep::Upkeep(Clock& clock) : clock_(clock) {}

Upkeep::~Upkeep() { Stop(); }

size_t Upkeep::AddJob(Job job) {
  MutexLock lock(mu_);
  jobs_.push_back({.run = std::move(job)});
  return jobs_.size() - 1;
}

void Upkeep::Start() {
  MutexLock lock(mu_);
  thread_ = std::thread([this] { Loop(); });
}

void Upkeep::Stop() {
  Tasks dropped;  // destroyed without the lock
  std::thread thread;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    dropped.swap(tasks_);
    due_of_.clear();
    thread.swap(thread_);
  }
  bell_.Ring();
  if (thread.joinable()) thread.join();
  MutexLock lock(mu_);
  while (running_ != nullptr || jobs_running_ > 0) finished_.Wait(mu_);
}

uint64_t Upkeep::CallAt(absl::Duration when, Task task) {
  bool wake = false;
  uint64_t id = 0;
  {
    MutexLock lock(mu_);
    if (stopping_) return 0;
    id = next_id_++;
    due_of_.emplace(id, when);
    try {
      tasks_.emplace(TimerKey{when, id}, std::move(task));
    } catch (const std::bad_alloc&) {
      due_of_.erase(id);
      throw;
    }
    wake = when < sleeps_until_;
    if (wake) sleeps_until_ = when;
  }
  if (wake) bell_.Ring();
  return id;
}

void Upkeep::Cancel(uint64_t id) {
  Task dropped;
  MutexLock lock(mu_);
  while (true) {
    if (const auto it = due_of_.find(id); it != due_of_.end()) {
      const auto task = tasks_.find({it->second, id});
      dropped = std::move(task->second);
      tasks_.erase(task);
      due_of_.erase(it);
      return;
    }
    Running* running = running_;
    while (running != nullptr && running->id != id) running = running->next;
    if (running == nullptr) return;
    running->once = true;
    if (running->thread == std::this_thread::get_id()) return;
    finished_.Wait(mu_);
  }
}

void Upkeep::Arm(size_t job, absl::Duration when) {
  bool wake = false;
  {
    MutexLock lock(mu_);
    JobState& state = jobs_[job];
    if (when >= state.due) return;
    state.due = when;
    wake = when < sleeps_until_;
    if (wake) sleeps_until_ = when;
  }
  if (wake) bell_.Ring();
}

absl::Duration Upkeep::NextDueLocked() const {
  absl::Duration next = tasks_.empty() ? absl::InfiniteDuration() : tasks_.begin()->first.first;
  for (const JobState& job : jobs_) {
    if (!job.running) next = std::min(next, job.due);
  }
  return next;
}

absl::Duration Upkeep::NextDue() const {
  MutexLock lock(mu_);
  return NextDueLocked();
}

bool Upkeep::RunOne(absl::Duration now) {
  size_t first_job = 0;
  Running self{.id = 0, .thread = std::this_thread::get_id()};
  Tasks::node_type task;
  Dues::node_type due_of;
  {
    MutexLock lock(mu_);
    const absl::Duration due = NextDueLocked();
    if (stopping_ || due > now) return false;
    if (!tasks_.empty() && tasks_.begin()->first.first == due) {
      task = tasks_.extract(tasks_.begin());
      self.id = task.key().second;
      due_of = due_of_.extract(self.id);
      self.next = std::exchange(running_, &self);
    } else {
      while (jobs_[first_job].running || jobs_[first_job].due != due) ++first_job;
      jobs_[first_job].running = true;
      jobs_[first_job].due = absl::InfiniteDuration();  // Arm during the run counts
      ++jobs_running_;
    }
  }
  if (self.id != 0) {
    RunTask(self, std::move(task), std::move(due_of));
  } else {
    RunJob(first_job, now);
  }
  return true;
}

void Upkeep::RunTask(Running& self, Tasks::node_type task, Dues::node_type due_of) {
  bool again = false;
  try {
    task.mapped()();
  } catch (const std::bad_alloc&) {
    again = true;
  }
  if (!again) task.mapped() = nullptr;  // what it owns is gone before Cancel returns
  MutexLock lock(mu_);
  Running** place = &running_;
  while (*place != &self) place = &(*place)->next;
  *place = self.next;
  if (again && !self.once && !stopping_) {
    // As it was, so this needs no memory.
    due_of.mapped() = task.key().first = clock_.Elapsed() + kRetryAfter;
    tasks_.insert(std::move(task));
    due_of_.insert(std::move(due_of));
  }
  finished_.NotifyAll();
}

void Upkeep::RunJob(size_t job, absl::Duration now) {
  Job* run = nullptr;
  {
    MutexLock lock(mu_);
    run = &jobs_[job].run;  // jobs are never added after Start
  }
  absl::Duration next;
  try {
    next = (*run)(now);
  } catch (const std::bad_alloc&) {
    next = clock_.Elapsed() + kRetryAfter;
  }
  bool wake = false;
  {
    MutexLock lock(mu_);
    JobState& state = jobs_[job];
    state.running = false;
    state.due = std::min(state.due, next);
    wake = state.due < sleeps_until_;  // the thread went to sleep while another one ran the job
    --jobs_running_;
    finished_.NotifyAll();
  }
  if (wake) bell_.Ring();
}

void Upkeep::RunDue() {
  const absl::Duration now = clock_.Elapsed();
  while (RunOne(now)) {
  }
}

void Upkeep::Loop() {
  runs_on_this_thread = this;
  while (true) {
    const uint32_t seen = bell_.count();
    if (extra_) extra_();
    while (RunOne(clock_.Elapsed())) {
    }
    absl::Duration until;
    {
      MutexLock lock(mu_);
      if (stopping_) return;
      until = NextDueLocked();
      sleeps_until_ = until;
    }
    bell_.Wait(clock_, seen, until);
    MutexLock lock(mu_);
    sleeps_until_ = -absl::InfiniteDuration();  // awake: nobody needs to ring
  }
}

bool Upkeep::OnOwnThread() const { return runs_on_this_thread == this; }

}  // namespace millrace::broker
