#include "client/callback_queue.h"

#include <algorithm>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "env/bell.h"
#include "millrace/env.h"

namespace millrace::client {
namespace {

thread_local CallbackScope* innermost = nullptr;

// Where tasks come in a stream the thread naps instead of sleeping until it is woken: a wake-up
// costs the producer more than its append.
constexpr absl::Duration kNap = absl::Microseconds(50);

// Learns by trying whether a nap pays, that is, gathers some tasks. Where it does not, as for a
// caller who waits for each callback, the next try comes after twice as many short sleeps.
class NapRule {
 public:
  // After `ran` tasks that were found when the thread had slept (or napped) for so long.
  bool ShouldNap(size_t ran, absl::Duration slept) {
    if (napped_) {
      napped_ = ran >= kWorthANap;
      patience_ = napped_ ? 1 : std::min(2 * patience_, kMostPatience);
      left_ = patience_;
      return napped_;
    }
    if (slept < kNap) --left_;
    return napped_ = left_ <= 0;
  }

 private:
  static constexpr size_t kWorthANap = 4;
  static constexpr int kMostPatience = 1024;
  bool napped_ = false;
  int patience_ = 1;
  int left_ = 1;
};

}  // namespace

CallbackScope::CallbackScope(const Executor* executor) : executor_(executor), outer_(innermost) {
  innermost = this;
}

CallbackScope::~CallbackScope() { innermost = outer_; }

bool CallbackScope::Inside(const Executor* executor) {
  for (const CallbackScope* scope = innermost; scope != nullptr; scope = scope->outer_)
    if (scope->executor_ == executor) return true;
  return false;
}

// Shared with the thread, which may outlive the queue: the last reference to a client may go in one
// of its own callbacks.
struct CallbackQueue::Core {
  size_t RunPending(const Executor* owner);
  void ThreadMain(const Executor* owner);

  Mutex mu;
  CondVar idle;
  std::vector<absl::AnyInvocable<void()>> waiting ABSL_GUARDED_BY(mu);
  bool running ABSL_GUARDED_BY(mu) = false;  // some thread runs tasks
  bool asleep ABSL_GUARDED_BY(mu) = false;
  bool stopped ABSL_GUARDED_BY(mu) = false;
  std::thread thread ABSL_GUARDED_BY(mu);
  Bell bell;
  Bell nap;                                       // never rung: a nap ends by time alone
  std::vector<absl::AnyInvocable<void()>> batch;  // of the thread that set `running`
};

size_t CallbackQueue::Core::RunPending(const Executor* owner) {
  {
    MutexLock lock(mu);
    if (running || waiting.empty()) return 0;
    running = true;
    batch.swap(waiting);
  }
  const size_t count = batch.size();
  {
    CallbackScope scope(owner);
    for (auto& task : batch) {
      task();
      task = nullptr;  // what it captured goes before the next one runs
    }
  }
  batch.clear();
  MutexLock lock(mu);
  running = false;
  idle.NotifyAll();
  return count;
}

void CallbackQueue::Core::ThreadMain(const Executor* owner) {
  const std::shared_ptr<Clock> clock = Clock::Real();  // naps and sleeps follow no test's clock
  NapRule rule;
  absl::Duration slept = absl::InfiniteDuration();
  for (;;) {
    const size_t ran = RunPending(owner);
    if (rule.ShouldNap(ran, slept)) {
      nap.Wait(*clock, nap.count(), clock->Elapsed() + kNap);
      continue;
    }
    const uint32_t seen = bell.count();
    {
      MutexLock lock(mu);
      if (!waiting.empty()) continue;
      if (stopped) return;
      asleep = true;
    }
    const absl::Duration began = clock->Elapsed();
    bell.Wait(*clock, seen, absl::InfiniteDuration());
    slept = clock->Elapsed() - began;
  }
}

CallbackQueue::CallbackQueue(Mode mode) : mode_(mode), core_(std::make_shared<Core>()) {}

CallbackQueue::~CallbackQueue() { Stop(); }

void CallbackQueue::Post(absl::AnyInvocable<void()> task) {
  if (Enqueue(task)) return;
  CallbackScope scope(this);
  task();
}

bool CallbackQueue::Enqueue(absl::AnyInvocable<void()>& task) {
  bool wake = false;
  {
    MutexLock lock(core_->mu);
    if (core_->stopped) return false;
    core_->waiting.push_back(std::move(task));
    wake = std::exchange(core_->asleep, false);
    if (mode_ == Mode::kThread && !core_->thread.joinable()) {
      try {
        core_->thread = std::thread([core = core_, this] { core->ThreadMain(this); });
      } catch (const std::system_error&) {
        // No thread to be had now: the next Post tries again, and those who wait for a callback
        // run it (RunPending).
      }
    }
  }
  if (wake) core_->bell.Ring();
  return true;
}

size_t CallbackQueue::RunPending() { return core_->RunPending(this); }

void CallbackQueue::Stop() {
  std::thread thread;
  {
    MutexLock lock(core_->mu);
    core_->stopped = true;
    core_->asleep = false;
    thread = std::move(core_->thread);
  }
  core_->bell.Ring();
  if (thread.joinable()) {
    if (thread.get_id() == std::this_thread::get_id())
      thread.detach();
    else
      thread.join();
    return;
  }
  // Without a thread, what is left runs here; behind a task on another thread, or not at all inside
  // of one, whose thread comes back to it.
  if (CallbackScope::Inside(this)) return;
  while (core_->RunPending(this) > 0) {
  }
}

}  // namespace millrace::client
