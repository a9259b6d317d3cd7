#include "millrace/future.h"

#include <algorithm>
#include <deque>
#include <new>
#include <string>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/no_throw.h"
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
  for (ReadyFn& fn : fns) Post(fn);
}

template <typename T>
void FutureState<T>::Post(ReadyFn& fn) {
  struct Task {
    ReadyFn fn;
    StatusOr<T> value;
  };
  const std::shared_ptr<Executor> executor = executor_.lock();
  if (executor == nullptr) return Call(fn, result());
  std::shared_ptr<Task> task;  // held here too: an executor that throws must not take it along
  try {
    task = std::make_shared<Task>(Task{.fn = nullptr, .value = result()});
    task->fn = std::move(fn);
    executor->Post([task] { Call(task->fn, task->value); });
  } catch (...) {
    // Accepted means called, here if it must be.
    Call(task != nullptr ? task->fn : fn, result());
  }
}

template <typename T>
void FutureState<T>::OnReady(ReadyFn fn) {
  try {
    MutexLock lock(mu_);
    if (!result_.has_value()) {
      fns_.push_back(std::move(fn));
      return;
    }
  } catch (const std::bad_alloc&) {
    return Call(fn, OutOfMemory());  // it could not be kept until the result is there
  }
  Call(fn, result());
}

template <typename T>
StatusOr<T> FutureState<T>::Get(absl::Duration timeout, const std::stop_token& stop) {
  // Before the lock: a thread that is not in the child may have held it.
  if (clock_ != nullptr && fork_guard_.forked())
    return MakeError(ErrorId::kForked, "the call was made before fork(), by the parent");
  if (ready()) return result();
  // Nothing ends a sync that a waiter has begun.
  const bool unbounded = timeout == absl::InfiniteDuration() && !stop.stop_possible();
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

// The futures of calls for which there was no memory, made before it runs out.
template <typename T>
const std::shared_ptr<FutureState<T>>& NoMemoryState() {
  static const auto* const state =
      new std::shared_ptr<FutureState<T>>(std::make_shared<FutureState<T>>(OutOfMemory()));
  return *state;
}
[[maybe_unused]] const auto& delivery_made_at_start = NoMemoryState<Delivery>();
[[maybe_unused]] const auto& offsets_made_at_start = NoMemoryState<OffsetMap>();

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
  return NoThrow([&] { return client::StateOf<T>(state_)->Get(timeout, stop); });
}

template <typename T>
void Future<T>::OnReady(absl::AnyInvocable<void(const StatusOr<T>&)> fn) const {
  if (state_ != nullptr && fn) client::StateOf<T>(state_)->OnReady(std::move(fn));
}

template class Future<Delivery>;
template class Future<OffsetMap>;

template <typename T>
Future<T> FutureAccess::NoMemory() {
  return Make<T>(client::NoMemoryState<T>());
}
template Future<Delivery> FutureAccess::NoMemory();
template Future<OffsetMap> FutureAccess::NoMemory();

// ---- ManualExecutor

struct ManualExecutor::Impl {
  Mutex mu;
  std::deque<absl::AnyInvocable<void()>> waiting ABSL_GUARDED_BY(mu);
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

// One by one: a task that throws leaves the others where they are.
size_t ManualExecutor::RunAll() {
  const client::CallbackScope scope(this);
  for (size_t count = 0;; ++count) {
    absl::AnyInvocable<void()> task;
    {
      MutexLock lock(impl_->mu);
      if (impl_->waiting.empty()) {
        impl_->bell.ClearFd();
        return count;
      }
      task = std::move(impl_->waiting.front());
      impl_->waiting.pop_front();
    }
    task();
  }
}

int ManualExecutor::event_fd() const {
  const int fd = impl_->bell.fd();
  MutexLock lock(impl_->mu);
  if (!impl_->waiting.empty()) impl_->bell.Ring();  // what came before there was a descriptor
  return fd;
}

}  // namespace millrace
