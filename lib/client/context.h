#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "broker/broker.h"
#include "client/callback_queue.h"
#include "client/client_config.h"
#include "client/client_metrics.h"
#include "client/logger.h"
#include "env/fork_guard.h"
#include "millrace/client.h"

namespace millrace::client {

// What everything made from one opened broker shares, and what keeps the broker alive. When the
// last holder goes, the broker is closed (within close_timeout) and then the callbacks that are
// left run. Only the user's own threads and their callbacks hold one: the broker's threads never
// do, so that none of them can come to close the broker it belongs to. Thread-safe.
class Context {
 public:
  Context(ClientOptions options, ClientConfig config, std::shared_ptr<Logger> log,
          std::shared_ptr<broker::Broker> broker);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // OK; or forked, or closed.
  Status usable() const;
  bool forked() const { return fork_guard_.forked(); }

  // ---- driving: with background_threads = 0, and no executor of the user's, waiting threads do it
  bool drives_broker() const { return drives_broker_; }
  bool drives_callbacks() const { return callbacks_ != nullptr && callbacks_->driven(); }
  // Does what is due; returns how long a waiter may sleep before it must call again.
  absl::Duration Drive();
  void RunCallbacks();  // those that wait, where no thread of their own runs them

  // ---- closing: run by Close, in the order of registration, before the broker is closed
  uint64_t AddCloseHook(std::function<void(absl::Duration deadline)> hook);
  void RemoveCloseHook(uint64_t id);  // waits for a hook that has begun, unless it is the caller
  Status Close(absl::Duration timeout);

  const ClientOptions options;
  const ClientConfig config;
  const std::shared_ptr<Logger> log;
  const std::shared_ptr<broker::Broker> broker;
  const std::shared_ptr<Clock> clock;
  const std::shared_ptr<ClientMetrics> metrics = std::make_shared<ClientMetrics>();

  const std::shared_ptr<Executor>& executor() const { return executor_; }
  bool InsideCallback() const { return CallbackScope::Inside(executor_.get()); }

 private:
  struct Hook {
    uint64_t id;
    std::function<void(absl::Duration)> run;
  };

  const bool drives_broker_;
  std::shared_ptr<CallbackQueue> callbacks_;  // null where the user brought an executor
  std::shared_ptr<Executor> executor_;
  const ForkGuard fork_guard_;
  std::atomic<bool> closed_{false};

  Mutex mu_;
  CondVar hook_done_;
  std::vector<Hook> hooks_ ABSL_GUARDED_BY(mu_);
  uint64_t last_hook_id_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t running_hook_ ABSL_GUARDED_BY(mu_) = 0;
  bool hooks_ended_ ABSL_GUARDED_BY(mu_) = false;
};

// The error for an exception that is being handled (call it in a catch block): callback_threw, with
// the exception's text; out_of_memory for bad_alloc.
Status CurrentException(std::string_view what);

}  // namespace millrace::client
