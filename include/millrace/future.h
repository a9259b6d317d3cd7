// millrace/future.h - a small result object, and where callbacks run.
#pragma once
#include <cstddef>
#include <map>
#include <memory>
#include <stop_token>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "millrace/status.h"
#include "millrace/topic_partition.h"

namespace millrace {

struct Delivery;

// Runs callbacks. Millrace calls Post from its own threads and from those that call Send; Post must
// queue the task and return, not run it. Each task must be run once, and tasks posted later must
// not overtake earlier ones if deliveries are to come in order. A task blocks as long as the user's
// callbacks in it do.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual void Post(absl::AnyInvocable<void()> task) = 0;
};
// Callbacks run on whichever thread calls RunAll: for event loops and for tests. Thread-safe.
class ManualExecutor : public Executor {
 public:
  ManualExecutor();
  ~ManualExecutor() override;  // tasks that were not run are run here: accepted means called
  void Post(absl::AnyInvocable<void()> task) override;
  // Runs what waits, and what that posts; returns how many tasks it ran. What a task throws comes
  // out here, and those behind it wait for the next call.
  size_t RunAll();
  int event_fd() const;  // readable while tasks wait; for epoll/libuv/asio; -1: out of descriptors

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Shared result of an asynchronous call; T is Delivery or OffsetMap. Copies share it. Dropping it
// does not cancel the call, but does lose its error, so it is nodiscard. Thread-safe.
template <typename T>
class [[nodiscard]] Future {
 public:
  Future() = default;  // never ready; Get answers invalid_argument
  bool ready() const;
  // Waits. kDeadlineExceeded or kCancelled end the wait, not the operation. A caller that waits
  // without a bound and without a stop token syncs an embedded log itself, on this thread, in place
  // of waking another one.
  StatusOr<T> Get(absl::Duration timeout = absl::InfiniteDuration(),
                  std::stop_token stop = {}) const;
  // Called once, on the client's executor (at once, on this thread, if already ready).
  void OnReady(absl::AnyInvocable<void(const StatusOr<T>&)> fn) const;

 private:
  friend struct FutureAccess;
  std::shared_ptr<void> state_;
};
extern template class Future<Delivery>;
extern template class Future<OffsetMap>;

}  // namespace millrace
