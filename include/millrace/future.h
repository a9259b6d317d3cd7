// millrace/future.h - a small result object, and where callbacks run.
#pragma once
#include <memory>
#include <stop_token>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "millrace/status.h"

namespace millrace {

// Runs callbacks. Millrace calls Post from its own threads; tasks must not block for long.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual void Post(absl::AnyInvocable<void()> task) = 0;
};
// Callbacks run on whichever thread calls Run*: for event loops and for tests.
class ManualExecutor : public Executor {
 public:
  ManualExecutor();
  ~ManualExecutor() override;
  void Post(absl::AnyInvocable<void()> task) override;
  size_t RunAll();
  int event_fd() const;  // readable while tasks wait; for epoll/libuv/asio

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Shared result of an asynchronous call. Dropping it does not cancel the call, but does lose its
// error, so it is nodiscard. Thread-safe.
template <typename T>
class [[nodiscard]] Future {
 public:
  bool ready() const;
  // Waits. kDeadlineExceeded or kCancelled end the wait, not the operation.
  StatusOr<T> Get(absl::Duration timeout = absl::InfiniteDuration(), std::stop_token stop = {}) const;
  // Called once, on the client's executor (at once, on this thread, if already ready).
  void OnReady(absl::AnyInvocable<void(const StatusOr<T>&)> fn) const;

 private:
  std::shared_ptr<void> state_;
};

}  // namespace millrace
