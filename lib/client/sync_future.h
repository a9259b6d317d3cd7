#pragma once

#include <memory>
#include <utility>

#include "base/no_throw.h"
#include "broker/partition.h"
#include "client/context.h"
#include "client/future_state.h"
#include "env/bell.h"

namespace millrace::client {

// Ready once the broker has done something that waits for the disk, or something of the consumer
// groups is on stable storage. Where no thread works at that, those who wait for it do.
class SyncFuture : public FutureState<OffsetMap>, public std::enable_shared_from_this<SyncFuture> {
 public:
  SyncFuture(const std::shared_ptr<Context>& context, std::shared_ptr<Clock> clock)
      : FutureState(std::move(clock), context->executor()), context_(context) {}

  // What the broker is given to call; the future's value is then `offsets`.
  broker::SyncDone done(OffsetMap offsets) {
    return [self = shared_from_this(), offsets = std::move(offsets)](const Status& status) mutable {
      if (status.ok())
        self->Set(std::move(offsets));
      else
        self->Set(status);
    };
  }

  // Has `call`, a Status(broker::Broker&) that owns what it needs, run apart. `bell` (may be null)
  // rings when the future is ready.
  template <typename Call>
  static std::shared_ptr<SyncFuture> RunApart(const std::shared_ptr<Context>& context,
                                              std::shared_ptr<Clock> clock, Call call,
                                              std::shared_ptr<Bell> bell = nullptr) {
    const auto future = std::make_shared<SyncFuture>(context, std::move(clock));
    // The broker outlives its own threads.
    context->broker->RunApart([done = future->done({}), call = std::move(call),
                               bell = std::move(bell), broker = context->broker.get()]() mutable {
      done(NoThrow([&]() -> Status { return call(*broker); }));
      if (bell != nullptr) bell->Ring();
    });
    return future;
  }

 protected:
  absl::Duration Drive(bool) override {
    const std::shared_ptr<Context> context = context_.lock();
    return context == nullptr ? absl::InfiniteDuration() : context->Drive();
  }

 private:
  const std::weak_ptr<Context> context_;
};

}  // namespace millrace::client
