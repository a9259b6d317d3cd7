#pragma once

#include <atomic>
#include <cstdint>

#include "base/mutex.h"

namespace millrace::broker {

// Counts the calls that are inside something, so that whoever takes it away can wait for them
// without a lock around each call. Thread-safe.
class Gate {
 public:
  // False once the gate is shut. True obliges to Leave.
  bool Enter() {
    if ((state_.fetch_add(1, std::memory_order_acq_rel) & kShut) == 0) [[likely]]
      return true;
    Leave();
    return false;
  }
  void Leave() {
    if (state_.fetch_sub(1, std::memory_order_acq_rel) == (kShut | 1)) WakeShutter();
  }
  // Refuses entry from now on, and returns once nobody is inside. May be called again.
  void Shut() {
    MutexLock lock(mu_);
    state_.fetch_or(kShut, std::memory_order_acq_rel);
    while (state_.load(std::memory_order_acquire) != kShut) left_.Wait(mu_);
  }
  bool shut() const { return (state_.load(std::memory_order_acquire) & kShut) != 0; }

 private:
  static constexpr uint64_t kShut = uint64_t{1} << 63;

  void WakeShutter() {
    MutexLock lock(
        mu_);  // so that the wake-up does not fall between the shutter's look and its wait
    left_.NotifyAll();
  }

  std::atomic<uint64_t> state_{0};  // how many are inside, and the bit
  Mutex mu_;
  CondVar left_;
};

// Inside for the length of a scope, if it tests true.
class GateEntry {
 public:
  explicit GateEntry(Gate& gate) : gate_(gate.Enter() ? &gate : nullptr) {}
  ~GateEntry() {
    if (gate_ != nullptr) gate_->Leave();
  }
  GateEntry(const GateEntry&) = delete;
  GateEntry& operator=(const GateEntry&) = delete;
  explicit operator bool() const { return gate_ != nullptr; }

 private:
  Gate* gate_;
};

}  // namespace millrace::broker
