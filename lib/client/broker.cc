#include "millrace/broker.h"

#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/no_throw.h"
#include "base/status_macros.h"
#include "client/embedded_backend.h"
#include "client/public_impl.h"

namespace millrace {

// The broker's own end is the Context's (client/context.h), which its clients share.
struct Broker::Impl {
  std::shared_ptr<client::EmbeddedBackend> backend;
  std::shared_ptr<Client::Impl> client;

  client::Context& context() const { return backend->context(); }
  Status usable() const { return context().usable(); }
};

namespace {

Status MovedFrom() { return MakeError(ErrorId::kInvalidArgument, "the broker was moved from"); }

std::vector<std::string> Words(const std::vector<log::DamagedRange>& damage) {
  std::vector<std::string> words;
  for (const log::DamagedRange& range : damage) words.push_back(log::Describe(range));
  return words;
}

}  // namespace

Broker::Broker() = default;
Broker::Broker(Broker&&) noexcept = default;
Broker& Broker::operator=(Broker&& other) noexcept {
  if (this == &other) return *this;
  const Broker before = std::move(*this);  // closes when this returns
  impl_ = std::move(other.impl_);
  return *this;
}

Broker::~Broker() {
  if (impl_ == nullptr || impl_->context().forked()) return;
  const client::Context& context = impl_->context();
  const Status status =
      NoThrow([&] { return impl_->context().Close(context.options.close_timeout); });
  if (!status.ok())
    MILLRACE_LOG(*context.log, kWarning, fmt::format("closing the broker: {}", Text(status)));
}

StatusOr<Broker> Broker::Open(BrokerOptions o) {
  return NoThrow([&]() -> StatusOr<Broker> {
    MILLRACE_ASSIGN_OR_RETURN(auto backend, client::EmbeddedBackend::Open(std::move(o)));
    Broker broker;
    auto client = std::make_shared<Client::Impl>(backend);
    broker.impl_ =
        std::make_unique<Impl>(Impl{.backend = std::move(backend), .client = std::move(client)});
    return broker;
  });
}

Client Broker::client() const { return Client(impl_ == nullptr ? nullptr : impl_->client); }

Status Broker::Sync() {
  return NoThrow([&]() -> Status {
    if (impl_ == nullptr) return MovedFrom();
    MILLRACE_RETURN_IF_ERROR(impl_->usable());
    return impl_->context().broker->Sync();
  });
}

Status Broker::RunMaintenance() {
  return NoThrow([&]() -> Status {
    if (impl_ == nullptr) return MovedFrom();
    MILLRACE_RETURN_IF_ERROR(impl_->usable());
    const Status status = impl_->context().broker->RunMaintenance();
    impl_->context().RunCallbacks();
    return status;
  });
}

Status Broker::Checkpoint(const std::filesystem::path& dir) {
  return NoThrow([&]() -> Status {
    if (impl_ == nullptr) return MovedFrom();
    MILLRACE_RETURN_IF_ERROR(impl_->usable());
    return impl_->context().broker->Checkpoint(dir.string());
  });
}

std::vector<RecoveryInfo> Broker::recovery() const try {
  std::vector<RecoveryInfo> all;
  if (impl_ == nullptr || !impl_->usable().ok()) return all;
  for (const auto& [partition, report] : impl_->context().broker->recovery_reports())
    all.push_back({.partition = partition,
                   .cut_bytes = report.cut_bytes,
                   .cut_offset = report.cut_offset,
                   .cut_file = report.cut_file,
                   .damage = Words(report.damage),
                   .notes = report.notes});
  return all;
} catch (const std::bad_alloc&) {
  return {};
}

Status Broker::Close(absl::Duration timeout) {
  return NoThrow(
      [&]() -> Status { return impl_ == nullptr ? MovedFrom() : impl_->context().Close(timeout); });
}

}  // namespace millrace
