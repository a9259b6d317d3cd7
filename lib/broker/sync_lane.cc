#include "broker/sync_lane.h"

#include <new>
#include <utility>

namespace millrace::broker {
namespace {
thread_local const SyncLane* runs_on_this_thread = nullptr;
}  // namespace

void SyncLane::Queue::Push(std::shared_ptr<Syncable> item) {
  Syncable* const raw = item.get();
  (last != nullptr ? last->behind_ : first) = std::move(item);
  last = raw;
  ++size;
}

std::shared_ptr<Syncable> SyncLane::Queue::Pop() {
  std::shared_ptr<Syncable> item = std::move(first);
  first = std::move(item->behind_);
  if (first == nullptr) last = nullptr;
  --size;
  return item;
}

void SyncLane::Queue::Append(Queue other) {
  while (!other.empty()) Push(other.Pop());
}

void SyncLane::Queue::Clear() {
  while (!empty()) Pop();  // one by one: no recursion of destructors
}

SyncLane::SyncLane(std::function<void()> idle_wake, std::function<void()> on_rest)
    : idle_wake_(std::move(idle_wake)), on_rest_(std::move(on_rest)) {}

SyncLane::~SyncLane() { Stop(); }

void SyncLane::Start(int threads) {
  MutexLock lock(mu_);
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Loop(); });
}

void SyncLane::Enqueue(const std::shared_ptr<Syncable>& item) {
  using enum Syncable::Lane;
  Syncable::Lane seen = item->lane_.load(std::memory_order_relaxed);
  while (true) {
    const Syncable::Lane next = seen == kIdle ? kQueued : seen == kRunning ? kRunningAgain : seen;
    // Written even where it changes nothing: the thread that takes the item next then reads from
    // this write, and so sees all that came before the call.
    if (item->lane_.compare_exchange_weak(seen, next, std::memory_order_acq_rel)) break;
  }
  if (seen == kIdle) Push(item);
}

void SyncLane::Push(std::shared_ptr<Syncable> item) {
  bool nobody = false;
  {
    MutexLock lock(mu_);
    queue_.Push(std::move(item));
    nobody = threads_.empty();
    if (waiting_ > 0) {
      --waiting_;  // taken off here, so that a second item wakes a second thread
      work_.NotifyOne();
    }
  }
  if (nobody && idle_wake_) idle_wake_();
}

std::shared_ptr<Syncable> SyncLane::Take() {
  std::shared_ptr<Syncable> item = queue_.Pop();
  ++running_;
  return item;
}

void SyncLane::Run(const std::shared_ptr<Syncable>& item) {
  using enum Syncable::Lane;
  item->lane_.exchange(kRunning, std::memory_order_acq_rel);
  bool rests = false;
  try {
    item->RunSync();
  } catch (const std::bad_alloc&) {
    rests = true;  // whoever waits for it goes on waiting
  }
  Syncable::Lane expected = kRunning;
  const bool again =
      rests || !item->lane_.compare_exchange_strong(expected, kIdle, std::memory_order_acq_rel);
  {
    MutexLock lock(mu_);
    --running_;
    if (again) {
      // Behind the others: one busy partition must not keep the rest waiting. This thread, or
      // whoever looks first, takes it; nobody needs to be woken for it.
      item->lane_.exchange(kQueued, std::memory_order_acq_rel);
      (rests ? resting_ : queue_).Push(item);
    }
    if (running_ == 0) idle_.NotifyAll();
  }
  if (rests && on_rest_) on_rest_();
}

void SyncLane::RunResting() {
  bool nobody = false;
  {
    MutexLock lock(mu_);
    if (resting_.empty()) return;
    queue_.Append(std::exchange(resting_, {}));
    nobody = threads_.empty();
    waiting_ = 0;
    work_.NotifyAll();
  }
  if (nobody && idle_wake_) idle_wake_();
}

void SyncLane::RunQueued() {
  size_t left = 0;
  {
    MutexLock lock(mu_);
    left = queue_.size;
  }
  while (left-- > 0 && RunFirst()) {
  }
}

bool SyncLane::RunFirst() {
  std::shared_ptr<Syncable> item;
  {
    MutexLock lock(mu_);
    if (queue_.empty()) return false;
    item = Take();
  }
  Run(item);
  return true;
}

void SyncLane::Drain(Clock& clock, absl::Duration deadline) {
  RunResting();
  while (true) {
    while (clock.Elapsed() < deadline && RunFirst()) {
    }
    MutexLock lock(mu_);
    if (clock.Elapsed() >= deadline) queue_.Clear();
    if (!queue_.empty()) continue;
    // What rests now had its turn here: whoever waits for it is told that it was not synced.
    if (running_ == 0) return resting_.Clear();
    idle_.Wait(mu_);
  }
}

void SyncLane::Loop() {
  runs_on_this_thread = this;
  while (true) {
    std::shared_ptr<Syncable> item;
    {
      MutexLock lock(mu_);
      while (queue_.empty() && !stopping_) {
        ++waiting_;
        work_.Wait(mu_);
      }
      if (queue_.empty()) return;
      item = Take();
    }
    Run(item);
  }
}

void SyncLane::Stop() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    threads.swap(threads_);
    work_.NotifyAll();
  }
  for (std::thread& thread : threads) thread.join();
  MutexLock lock(mu_);
  queue_.Clear();
  resting_.Clear();
}

bool SyncLane::OnOwnThread() const { return runs_on_this_thread == this; }

}  // namespace millrace::broker
