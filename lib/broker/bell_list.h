#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "env/bell.h"

namespace millrace::broker {

// The bells that want to hear of one thing. Ringing one wakes who waits for it and does nothing
// else, so they are rung under the lock; where nobody listens it costs one load. Thread-safe.
class BellList {
 public:
  void Add(std::shared_ptr<Bell> bell) {
    MutexLock lock(mu_);
    bells_.push_back(std::move(bell));
    count_.store(bells_.size(), std::memory_order_seq_cst);
  }
  // Needs no memory: destructors call it.
  void Remove(const Bell* bell) {
    MutexLock lock(mu_);
    std::erase_if(bells_, [&](const auto& listed) { return listed.get() == bell; });
    count_.store(bells_.size(), std::memory_order_seq_cst);
  }
  bool empty() const { return count_.load(std::memory_order_seq_cst) == 0; }
  // What a listener looks at must be stored (seq_cst) before: a listener adds its bell, then looks.
  void Ring() {
    if (count_.load(std::memory_order_seq_cst) == 0) return;
    MutexLock lock(mu_);
    for (const auto& bell : bells_) bell->Ring();
  }

 private:
  std::atomic<size_t> count_{0};
  Mutex mu_;
  std::vector<std::shared_ptr<Bell>> bells_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::broker
