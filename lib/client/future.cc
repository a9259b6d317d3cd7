#include "millrace/future.h"

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "base/errors.h"
#include "client/callback_queue.h"
#include "client/future_state.h"
#include "env/bell.h"
#include "millrace/record.h"

namespace millrace {
namespace client {

template <typename T>
void FutureState<T>::Set(StatusOr<T> result) {
  std::vector<ReadyFn> fns;
  {
    MutexLock lock(mu_);
    if (result_.has_value()) return;
    result_ = std::move(result);
    fns.swap(fns_);
  }
  ready_.NotifyAll();
  Settled();
  for (ReadyFn& fn : fns)
    executor_->Post([fn = std::move(fn), value = Peek()]() mutable { Call(fn, value); });
}

template <typename T>
void FutureState<T>::OnReady(ReadyFn fn) {
  {
    MutexLock lock(mu_);
    if (!result_.has_value()) {
      fns_.push_back(std::move(fn));
      return;
    }
  }
  const StatusOr<T> value = Peek();
  Call(fn, value);
}

template <typename T>
StatusOr<T> FutureState<T>::Get(absl::Duration timeout, const std::stop_token& stop) {
  if (ready()) return Peek();
  const bool unbounded = timeout == absl::InfiniteDuration();
  const absl::Duration deadline = clock_->Elapsed() + timeout;
  // The lock makes the wake-up come after the waiter's last look at `stop`.
  const std::stop_callback wake(stop, [this] {
    {
      MutexLock lock(mu_);
    }
    ready_.NotifyAll();
  });
  for (;;) {
    const absl::Duration nap = Drive(unbounded);
    MutexLock lock(mu_);
    if (result_.has_value()) return *result_;
    if (stop.stop_requested())
      return MakeError(ErrorId::kCancelled, "the wait was stopped; the call itself goes on");
    const absl::Duration now = clock_->Elapsed();
    if (now >= deadline)
      return MakeError(ErrorId::kTimedOut,
                       fmt::format("no result within {}; the call itself goes on",
                                   absl::FormatDuration(timeout)),
                       {.persistence = Persistence::kPossiblyPersisted});
    const absl::Duration until = std::min(deadline, now + nap);
    ready_.WaitWith(mu_, [&](auto& cv, auto& held) { clock_->WaitUntil(cv, held, until); });
  }
}

template <typename T>
void FutureState<T>::Call(ReadyFn& fn, const StatusOr<T>& value) noexcept {
  try {
    fn(value);
  } catch (...) {
    // A callback's exception is its own affair: the result was there, and stays.
  }
}

template class FutureState<Delivery>;
template class FutureState<OffsetMap>;

namespace {

template <typename T>
FutureState<T>* StateOf(const std::shared_ptr<void>& state) {
  return static_cast<FutureState<T>*>(state.get());
}

}  // namespace
}  // namespace client

template <typename T>
bool Future<T>::ready() const {
  return state_ != nullptr && client::StateOf<T>(state_)->ready();
}

template <typename T>
StatusOr<T> Future<T>::Get(absl::Duration timeout, std::stop_token stop) const {
  if (state_ == nullptr)
    return MakeError(ErrorId::kInvalidArgument, "the future belongs to no call (moved from?)");
  return client::StateOf<T>(state_)->Get(timeout, stop);
}

template <typename T>
void Future<T>::OnReady(absl::AnyInvocable<void(const StatusOr<T>&)> fn) const {
  if (state_ != nullptr && fn) client::StateOf<T>(state_)->OnReady(std::move(fn));
}

template class Future<Delivery>;
template class Future<OffsetMap>;

// ---- ManualExecutor

struct ManualExecutor::Impl {
  Mutex mu;
  std::vector<absl::AnyInvocable<void()>> waiting ABSL_GUARDED_BY(mu);
  Bell bell;
};

ManualExecutor::ManualExecutor() : impl_(std::make_unique<Impl>()) {}

ManualExecutor::~ManualExecutor() { RunAll(); }

void ManualExecutor::Post(absl::AnyInvocable<void()> task) {
  {
    MutexLock lock(impl_->mu);
    impl_->waiting.push_back(std::move(task));
  }
  impl_->bell.Ring();
}

size_t ManualExecutor::RunAll() {
  size_t count = 0;
  for (;;) {
    std::vector<absl::AnyInvocable<void()>> batch;
    {
      MutexLock lock(impl_->mu);
      if (impl_->waiting.empty()) impl_->bell.ClearFd();
      batch.swap(impl_->waiting);
    }
    if (batch.empty()) return count;
    count += batch.size();
    client::CallbackScope scope(this);
    for (auto& task : batch) task();
  }
}

int ManualExecutor::event_fd() const { return impl_->bell.fd(); }

}  // namespace millrace
