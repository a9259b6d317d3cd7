#pragma once

#include <memory>

#include "client/backend.h"
#include "client/context.h"
#include "millrace/broker.h"

namespace millrace::client {

// A broker in this process. Thread-safe.
class EmbeddedBackend final : public Backend {
 public:
  // Every problem of the options at once (invalid_config).
  static StatusOr<std::shared_ptr<EmbeddedBackend>> Open(BrokerOptions options);

  explicit EmbeddedBackend(std::shared_ptr<Context> context) : context_(std::move(context)) {}
  StatusOr<NewProducer> MakeProducer(ProducerOptions o) override;
  StatusOr<std::shared_ptr<ConsumerBackend>> MakeConsumer(ConsumerOptions o) override;
  std::shared_ptr<AdminBackend> MakeAdmin() override;
  Capabilities capabilities() const override;
  void VisitMetrics(const std::function<void(const MetricPoint&)>& fn) const override;

  std::shared_ptr<Clock> clock() const override { return context_->clock; }
  std::shared_ptr<Logger> logger() const override { return context_->log; }

  Context& context() const { return *context_; }

 private:
  const std::shared_ptr<Context> context_;
};

}  // namespace millrace::client
