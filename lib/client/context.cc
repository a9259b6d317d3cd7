#include "client/context.h"

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/no_throw.h"

namespace millrace::client {
namespace {

// How long a waiter that drives the broker sleeps between two looks at what is due.
constexpr absl::Duration kDriveEvery = absl::Milliseconds(2);

}  // namespace

Context::Context(ClientOptions client_options, ClientConfig client_config,
                 std::shared_ptr<Logger> logger, std::shared_ptr<broker::Broker> opened)
    : options(std::move(client_options)),
      config(std::move(client_config)),
      log(std::move(logger)),
      broker(std::move(opened)),
      clock(broker->options().env.clock),
      drives_broker_(broker->options().background_threads == 0),
      callbacks_(options.executor != nullptr ? nullptr
                                             : std::make_shared<CallbackQueue>(
                                                   drives_broker_ ? CallbackQueue::Mode::kDriven
                                                                  : CallbackQueue::Mode::kThread)),
      executor_(options.executor != nullptr ? options.executor : callbacks_) {}

Context::~Context() {
  if (forked()) {
    // The child has the objects, but not their threads; ending them here would wait for ever.
    new std::shared_ptr<broker::Broker>(broker);
    new std::shared_ptr<CallbackQueue>(callbacks_);
    return;
  }
  // Whoever closed it before has waited as long as was asked.
  const Status closed =
      closed_.load() ? absl::OkStatus() : NoThrow([&] { return Close(options.close_timeout); });
  if (!closed.ok())
    MILLRACE_LOG(*log, kWarning, fmt::format("closing the broker: {}", Text(closed)));
  // After the broker: everything accepted has its answer now, and its callback runs.
  if (callbacks_ != nullptr) callbacks_->Stop();
}

Status Context::usable() const {
  if (forked())
    return MakeError(ErrorId::kForked,
                     "opened before fork(); a child process must open its own or use none");
  if (closed_.load(std::memory_order_relaxed))
    return MakeError(ErrorId::kClosed, "the broker was closed");
  return absl::OkStatus();
}

absl::Duration Context::Drive() {
  if (drives_broker_) {
    // What is wrong with the broker shows in the calls that need it.
    NoThrow([&] { return broker->RunMaintenance(); }).IgnoreError();
  }
  RunCallbacks();
  return drives_broker_ ? kDriveEvery : absl::InfiniteDuration();
}

void Context::RunCallbacks() {
  if (drives_callbacks()) callbacks_->RunPending();
}

uint64_t Context::AddCloseHook(std::function<void(absl::Duration)> hook) {
  MutexLock lock(mu_);
  hooks_.push_back({last_hook_id_ + 1, std::move(hook)});
  return ++last_hook_id_;
}

void Context::RemoveCloseHook(uint64_t id) {
  MutexLock lock(mu_);
  std::erase_if(hooks_, [&](const Hook& hook) { return hook.id == id; });
  // A callback that a hook waits for may be what destroys the object: it must not wait in turn.
  if (InsideCallback()) return;
  while (running_hook_ == id) hook_done_.Wait(mu_);
}

Status Context::Close(absl::Duration timeout) {
  if (forked()) return usable();
  const absl::Duration deadline = clock->Elapsed() + timeout;
  if (closed_.exchange(true)) {
    MutexLock lock(mu_);
    // Whoever came first sends what lingers; not to be waited for by a callback that it may wait
    // for.
    while (!hooks_ended_ && !InsideCallback() && clock->Elapsed() < deadline)
      hook_done_.WaitWith(mu_, [&](auto& cv, auto& held) { clock->WaitUntil(cv, held, deadline); });
    if (!hooks_ended_) return absl::OkStatus();
  }
  for (;;) {
    std::function<void(absl::Duration)> run;
    {
      MutexLock lock(mu_);
      running_hook_ = 0;
      hook_done_.NotifyAll();
      hooks_ended_ = hooks_.empty();
      if (hooks_ended_) break;
      running_hook_ = hooks_.front().id;
      run = std::move(hooks_.front().run);
      hooks_.erase(hooks_.begin());
    }
    // Whether there is memory for them or not: the broker closes.
    NoThrow([&] {
      run(deadline);
      return absl::OkStatus();
    }).IgnoreError();
  }
  return broker->Close(std::max(deadline - clock->Elapsed(), absl::ZeroDuration()));
}

Status CurrentException(std::string_view what) {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  } catch (const std::exception& e) {
    return MakeError(ErrorId::kCallbackThrew, fmt::format("{} threw: {}", what, e.what()));
  } catch (...) {
    return MakeError(ErrorId::kCallbackThrew, fmt::format("{} threw", what));
  }
}

}  // namespace millrace::client
