#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "env/bell.h"

namespace millrace::broker {

// The bells that want to hear of one thing. The list is copied on every change, so that ringing
// holds no lock; where nobody listens it costs one load. Thread-safe.
class BellList {
 public:
  void Add(std::shared_ptr<Bell> bell) {
    MutexLock lock(mu_);
    auto changed = bells_ ? std::make_shared<Bells>(*bells_) : std::make_shared<Bells>();
    changed->push_back(std::move(bell));
    Replace(std::move(changed));
  }
  void Remove(const Bell* bell) {
    MutexLock lock(mu_);
    if (bells_ == nullptr) return;
    auto changed = std::make_shared<Bells>(*bells_);
    std::erase_if(*changed, [&](const auto& listed) { return listed.get() == bell; });
    Replace(changed->empty() ? nullptr : std::move(changed));
  }
  // What a listener looks at must be stored (seq_cst) before: a listener adds its bell, then looks.
  void Ring() {
    if (count_.load(std::memory_order_seq_cst) == 0) return;
    std::shared_ptr<const Bells> bells;
    {
      MutexLock lock(mu_);
      bells = bells_;
    }
    if (bells == nullptr) return;
    for (const auto& bell : *bells) bell->Ring();
  }

 private:
  using Bells = std::vector<std::shared_ptr<Bell>>;

  void Replace(std::shared_ptr<const Bells> bells) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    bells_ = std::move(bells);
    count_.store(bells_ ? bells_->size() : 0, std::memory_order_seq_cst);
  }

  std::atomic<size_t> count_{0};
  Mutex mu_;
  std::shared_ptr<const Bells> bells_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::broker
