#include "millrace/client.h"

#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/no_throw.h"
#include "base/status_macros.h"
#include "client/client_metrics.h"
#include "client/embedded_backend.h"
#include "client/public_impl.h"

namespace millrace {
namespace {

Status MovedFrom() { return MakeError(ErrorId::kInvalidArgument, "the client was moved from"); }

}  // namespace

Client::Client(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

StatusOr<Producer> Client::NewProducer(ProducerOptions o) const {
  return NoThrow([&]() -> StatusOr<Producer> {
    if (impl_ == nullptr) return MovedFrom();
    MILLRACE_ASSIGN_OR_RETURN(client::Backend::NewProducer made,
                              impl_->backend->MakeProducer(std::move(o)));
    Producer producer;
    producer.impl_ = std::make_unique<Producer::Impl>(
        Producer::Impl{.producer = std::move(made.producer), .embedded = made.embedded});
    return producer;
  });
}

StatusOr<Consumer> Client::NewConsumer(ConsumerOptions o) const {
  return NoThrow([&]() -> StatusOr<Consumer> {
    if (impl_ == nullptr) return MovedFrom();
    MILLRACE_ASSIGN_OR_RETURN(auto made, impl_->backend->MakeConsumer(std::move(o)));
    Consumer consumer;
    consumer.impl_ = std::make_shared<Consumer::Impl>(Consumer::Impl{.consumer = std::move(made)});
    return consumer;
  });
}

Admin Client::admin() const {
  Admin admin;
  if (impl_ != nullptr) admin.impl_ = impl_->admin;
  return admin;
}

Capabilities Client::capabilities() const {
  return impl_ == nullptr ? Capabilities() : impl_->backend->capabilities();
}

void Client::VisitMetrics(const std::function<void(const MetricPoint&)>& fn) const {
  if (impl_ != nullptr) impl_->backend->VisitMetrics(fn);
}

std::string Client::PrometheusText() const {
  try {
    return client::PrometheusText([this](const auto& fn) { VisitMetrics(fn); });
  } catch (const std::bad_alloc&) {
    return {};
  }
}

StatusOr<Client> Open(std::string_view address, ClientOptions o) {
  return NoThrow([&]() -> StatusOr<Client> {
    constexpr std::string_view kFile = "file:";
    if (address.starts_with("kafka:"))
      return MakeError(ErrorId::kUnimplemented,
                       fmt::format("'{}' needs the kafka component (millrace::kafka), which is not "
                                   "linked in",
                                   address));
    BrokerOptions options;
    if (address.starts_with(kFile) && address.size() > kFile.size())
      options.directory = std::string(address.substr(kFile.size()));
    else if (address != "memory:")
      return MakeError(ErrorId::kInvalidArgument,
                       fmt::format("'{}' is no address; there are memory:, file:DIR and "
                                   "kafka://host:port,...",
                                   address));
    options.client = std::move(o);
    MILLRACE_ASSIGN_OR_RETURN(auto backend, client::EmbeddedBackend::Open(std::move(options)));
    return Client(std::make_shared<Client::Impl>(std::move(backend)));
  });
}

}  // namespace millrace
