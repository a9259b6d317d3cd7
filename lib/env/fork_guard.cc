#include "env/fork_guard.h"

#include <pthread.h>

#include <atomic>

namespace millrace {
namespace {

// How often this process came out of a fork. One word for the whole process, since a fork copies
// all of it; what the guards keep is only the value that they saw.
std::atomic<uint64_t> generation{0};

void CountFork() { generation.fetch_add(1, std::memory_order_relaxed); }

bool WatchForks() {
  // Without memory for one more handler a fork goes unnoticed; nothing better can be done about it.
  return pthread_atfork(nullptr, nullptr, CountFork) == 0;
}

}  // namespace

ForkGuard::ForkGuard() {
  [[maybe_unused]] static const bool watching = WatchForks();
  generation_ = generation.load(std::memory_order_relaxed);
}

bool ForkGuard::forked() const { return generation.load(std::memory_order_relaxed) != generation_; }

}  // namespace millrace
