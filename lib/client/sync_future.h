#pragma once

#include <memory>
#include <utility>

#include "broker/partition.h"
#include "client/context.h"
#include "client/future_state.h"

namespace millrace::client {

// Ready once something of the consumer groups is on stable storage. Where no thread syncs, those
// who wait for it do.
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

 protected:
  absl::Duration Drive(bool) override {
    const std::shared_ptr<Context> context = context_.lock();
    return context == nullptr ? absl::InfiniteDuration() : context->Drive();
  }

 private:
  const std::weak_ptr<Context> context_;
};

}  // namespace millrace::client
