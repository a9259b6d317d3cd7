#pragma once

#include <cstddef>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "millrace/future.h"

namespace millrace::client {

// Marks this thread as running callbacks of `executor` while it lives. Whoever would wait for that
// executor asks Inside first: it would wait for itself.
class CallbackScope {
 public:
  explicit CallbackScope(const Executor* executor);
  ~CallbackScope();
  CallbackScope(const CallbackScope&) = delete;
  CallbackScope& operator=(const CallbackScope&) = delete;
  static bool Inside(const Executor* executor);

 private:
  const Executor* const executor_;
  CallbackScope* const outer_;
};

// The executor of clients that bring none. Tasks run one at a time, in the order of posting: on one
// background thread, started with the first task, or (kDriven) on the threads that call RunPending.
// Thread-safe.
class CallbackQueue : public Executor {
 public:
  enum class Mode { kThread, kDriven };
  explicit CallbackQueue(Mode mode);
  ~CallbackQueue() override;  // Stop

  void Post(absl::AnyInvocable<void()> task) override;
  // Runs what waits, on this thread, unless another thread is at it. Returns how many tasks ran.
  size_t RunPending();
  bool driven() const { return mode_ == Mode::kDriven; }
  // Runs what is left and ends the thread. Called from one of the tasks it only asks the thread to
  // end. Tasks posted later run at once.
  void Stop();

 private:
  struct Core;
  // False: it was stopped, and `task` is as it was.
  bool Enqueue(absl::AnyInvocable<void()>& task);
  const Mode mode_;
  std::shared_ptr<Core> core_;
};

}  // namespace millrace::client
