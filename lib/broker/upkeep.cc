#include "broker/upkeep.h"

#include <algorithm>

namespace millrace::broker {
namespace {
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
  std::map<TimerKey, Task> dropped;  // destroyed without the lock
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
  while (!running_.empty() || jobs_running_ > 0) finished_.Wait(mu_);
}

uint64_t Upkeep::CallAt(absl::Duration when, Task task) {
  bool wake = false;
  uint64_t id = 0;
  {
    MutexLock lock(mu_);
    if (stopping_) return 0;
    id = next_id_++;
    tasks_.emplace(TimerKey{when, id}, std::move(task));
    due_of_.emplace(id, when);
    wake = when < sleeps_until_;
    if (wake) sleeps_until_ = when;
  }
  if (wake) bell_.Ring();
  return id;
}

void Upkeep::Cancel(uint64_t id) {
  Task dropped;
  MutexLock lock(mu_);
  if (const auto it = due_of_.find(id); it != due_of_.end()) {
    const auto task = tasks_.find({it->second, id});
    dropped = std::move(task->second);
    tasks_.erase(task);
    due_of_.erase(it);
    return;
  }
  const auto runs_elsewhere = [&](const auto& running) {
    return running.first == id && running.second != std::this_thread::get_id();
  };
  while (std::ranges::any_of(running_, runs_elsewhere)) finished_.Wait(mu_);
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
  Task task;
  uint64_t id = 0;
  {
    MutexLock lock(mu_);
    const absl::Duration due = NextDueLocked();
    if (stopping_ || due > now) return false;
    if (!tasks_.empty() && tasks_.begin()->first.first == due) {
      id = tasks_.begin()->first.second;
      task = std::move(tasks_.begin()->second);
      tasks_.erase(tasks_.begin());
      due_of_.erase(id);
      running_.emplace_back(id, std::this_thread::get_id());
    } else {
      while (jobs_[first_job].running || jobs_[first_job].due != due) ++first_job;
      jobs_[first_job].running = true;
      jobs_[first_job].due = absl::InfiniteDuration();  // Arm during the run counts
      ++jobs_running_;
    }
  }
  if (id != 0) {
    RunTask(id, std::move(task));
  } else {
    RunJob(first_job, now);
  }
  return true;
}

void Upkeep::RunTask(uint64_t id, Task task) {
  task();
  task = nullptr;  // what it owns is gone before Cancel returns
  MutexLock lock(mu_);
  std::erase(running_, std::pair(id, std::this_thread::get_id()));
  finished_.NotifyAll();
}

void Upkeep::RunJob(size_t job, absl::Duration now) {
  Job* run = nullptr;
  {
    MutexLock lock(mu_);
    run = &jobs_[job].run;  // jobs are never added after Start
  }
  const absl::Duration next = (*run)(now);
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
