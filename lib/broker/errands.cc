#include "broker/errands.h"

#include <utility>

namespace millrace::broker {
namespace {
thread_local const Errands* runs_on_this_thread = nullptr;
}  // namespace

Errands::~Errands() { Stop(); }

bool Errands::Run(Task& task) {
  MutexLock lock(mu_);
  if (stopping_) return false;
  tasks_.emplace_back();
  if (!running_) {
    if (thread_.joinable()) thread_.join();  // it has nothing to do any more
    try {
      thread_ = std::thread([this] { Loop(); });
    } catch (...) {
      tasks_.pop_back();
      return false;
    }
    running_ = true;
  }
  tasks_.back() = std::move(task);
  return true;
}

void Errands::Loop() {
  runs_on_this_thread = this;
  for (;;) {
    Task task;
    {
      MutexLock lock(mu_);
      running_ = !tasks_.empty();
      if (!running_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

void Errands::Stop() {
  std::list<Task> left;
  std::thread thread;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    left.swap(tasks_);
    thread.swap(thread_);
  }
  if (thread.joinable()) thread.join();
  for (Task& task : left) task();
}

bool Errands::OnOwnThread() const { return runs_on_this_thread == this; }

}  // namespace millrace::broker
