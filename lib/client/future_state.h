#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "env/fork_guard.h"
#include "millrace/env.h"
#include "millrace/future.h"
#include "millrace/record.h"

namespace millrace::client {

// What a Future shares with whoever brings its result about. Thread-safe.
template <typename T>
class FutureState {
 public:
  using ReadyFn = absl::AnyInvocable<void(const StatusOr<T>&)>;

  FutureState(std::shared_ptr<Clock> clock, std::weak_ptr<Executor> executor)
      : clock_(std::move(clock)), executor_(std::move(executor)) {}
  // Already answered.
  explicit FutureState(StatusOr<T> result) : result_(std::move(result)) {}
  virtual ~FutureState() = default;

  // The first result counts.
  void Set(StatusOr<T> result);
  bool ready() const {
    MutexLock lock(mu_);
    return result_.has_value();
  }
  StatusOr<T> Get(absl::Duration timeout, const std::stop_token& stop);
  void OnReady(ReadyFn fn);

 protected:
  // What a waiter can do to bring the result about. Called without locks; `unbounded`: the waiter
  // has no deadline. Returns how long it may sleep before it must call again.
  virtual absl::Duration Drive(bool unbounded) {
    static_cast<void>(unbounded);
    return absl::InfiniteDuration();
  }
  // The result is there: nothing will be driven any more.
  virtual void Settled() {}

 private:
  static void Call(ReadyFn& fn, const StatusOr<T>& value) noexcept;
  void Post(ReadyFn& fn);
  // Once it is there. Without a copy, since that may need memory.
  const StatusOr<T>& result() const {
    MutexLock lock(mu_);
    return *result_;
  }

  const std::shared_ptr<Clock> clock_;  // null where it was answered from the start
  const ForkGuard fork_guard_;
  // Not owned: a task that waits in it may hold this future. Where it is gone, callbacks run at
  // once.
  const std::weak_ptr<Executor> executor_;
  mutable Mutex mu_;
  CondVar ready_;
  std::optional<StatusOr<T>> result_ ABSL_GUARDED_BY(mu_);  // never changes once it is there
  std::vector<ReadyFn> fns_ ABSL_GUARDED_BY(mu_);
};

extern template class FutureState<Delivery>;
extern template class FutureState<OffsetMap>;

}  // namespace millrace::client

namespace millrace {

struct FutureAccess {
  template <typename T>
  static Future<T> Make(std::shared_ptr<client::FutureState<T>> state) {
    Future<T> future;
    future.state_ = std::move(state);
    return future;
  }
  template <typename T>
  static Future<T> Ready(StatusOr<T> result) {
    return Make<T>(std::make_shared<client::FutureState<T>>(std::move(result)));
  }
  // Answered: out of memory. Needs none.
  template <typename T>
  static Future<T> NoMemory();
};

}  // namespace millrace
