#include "client/embedded_backend.h"

#include <initializer_list>
#include <utility>

#include <fmt/ranges.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "broker/options.h"
#include "client/client_config.h"
#include "client/embedded_admin.h"
#include "client/embedded_consumer.h"
#include "client/embedded_producer.h"
#include "client/topic_options.h"

namespace millrace::client {
namespace {

broker::FlushPolicy PolicyOf(Flush flush) {
  switch (flush) {
    case Flush::kOs:
      return broker::FlushPolicy::kOs;
    case Flush::kInterval:
      return broker::FlushPolicy::kInterval;
    case Flush::kEachBatch:
      return broker::FlushPolicy::kEachBatch;
  }
  return broker::FlushPolicy::kEachBatch;
}

Status CheckFlush(Flush flush) {
  if (flush == Flush::kOs || flush == Flush::kInterval || flush == Flush::kEachBatch)
    return absl::OkStatus();
  return MakeError(
      ErrorId::kInvalidConfig,
      fmt::format("flush: {}; allowed: kOs, kInterval, kEachBatch", static_cast<int>(flush)));
}

LogLevel LevelOf(broker::Severity severity) {
  switch (severity) {
    case broker::Severity::kDebug:
      return LogLevel::kDebug;
    case broker::Severity::kInfo:
      return LogLevel::kInfo;
    case broker::Severity::kWarning:
      return LogLevel::kWarning;
    case broker::Severity::kError:
      return LogLevel::kError;
  }
  return LogLevel::kError;
}

broker::Options OptionsOf(const BrokerOptions& o, broker::ConfigMap topic_defaults,
                          std::shared_ptr<Logger> log) {
  broker::Options options;
  options.directory = o.directory.string();
  options.create_if_missing = o.create_if_missing;
  options.error_if_exists = o.error_if_exists;
  options.read_only = o.read_only;
  options.flush = PolicyOf(o.flush);
  options.flush_interval = o.flush_interval;
  options.topic_defaults = std::move(topic_defaults);
  options.default_partitions = o.topic_defaults.partitions.value_or(1);
  options.auto_create_topics = o.auto_create_topics;
  options.max_total_bytes = o.max_total_bytes;
  options.background_threads = o.background_threads;
  options.env = o.env;
  if (options.env.clock == nullptr) options.env.clock = Clock::Real();
  options.log = [log = std::move(log)](broker::Severity severity, std::string_view message) {
    if (log->enabled(LevelOf(severity))) log->Write(LevelOf(severity), __FILE__, __LINE__, message);
  };
  return options;
}

}  // namespace

StatusOr<std::shared_ptr<EmbeddedBackend>> EmbeddedBackend::Open(BrokerOptions o) {
  auto log = std::make_shared<Logger>(o.client.log, o.client.log_level);
  StatusOr<ParsedConfig> parsed = ParseClientConfig(o.client.config);
  const auto defaults = ConfigOf(o.topic_defaults);
  broker::Options options = OptionsOf(o, defaults.ok() ? *defaults : o.topic_defaults.config, log);
  MILLRACE_RETURN_IF_ERROR(AllProblems(
      {parsed.status(), CheckFlush(o.flush), defaults.status(), broker::CheckOptions(options)}));
  for (const std::string& warning : parsed->warnings) MILLRACE_LOG(*log, kWarning, warning);
  if (parsed->config.client_id.has_value()) o.client.client_id = *parsed->config.client_id;
  MILLRACE_ASSIGN_OR_RETURN(std::shared_ptr<broker::Broker> broker,
                            broker::Broker::Open(std::move(options)));
  return std::make_shared<EmbeddedBackend>(std::make_shared<Context>(
      std::move(o.client), std::move(parsed->config), std::move(log), std::move(broker)));
}

StatusOr<Backend::NewProducer> EmbeddedBackend::MakeProducer(ProducerOptions o) {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  context_->config.ApplyTo(o);
  MILLRACE_RETURN_IF_ERROR(Validate(o));
  auto producer = std::make_shared<EmbeddedProducer>(context_, std::move(o));
  EmbeddedProducer* const embedded = producer.get();
  return NewProducer{.producer = std::move(producer), .embedded = embedded};
}

StatusOr<std::shared_ptr<ConsumerBackend>> EmbeddedBackend::MakeConsumer(ConsumerOptions o) {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  context_->config.ApplyTo(o);
  MILLRACE_RETURN_IF_ERROR(Validate(o));
  std::vector<std::string> topics = o.topics;
  auto consumer = std::make_shared<EmbeddedConsumer>(context_, std::move(o));
  if (!topics.empty()) MILLRACE_RETURN_IF_ERROR(consumer->SubscribeAtStart(std::move(topics)));
  return consumer;
}

std::shared_ptr<AdminBackend> EmbeddedBackend::MakeAdmin() {
  return std::make_shared<EmbeddedAdmin>(context_);
}

Capabilities EmbeddedBackend::capabilities() const {
  return {.in_process = true,
          .durable = !context_->broker->options().directory.empty(),
          .zero_copy_reads = true};
}

void EmbeddedBackend::VisitMetrics(const std::function<void(const MetricPoint&)>& fn) const {
  Visit(*context_->metrics, fn);
  Visit(context_->broker->metrics(), fn);
}

}  // namespace millrace::client
