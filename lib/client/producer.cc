#include "millrace/producer.h"

#include <new>
#include <utility>

#include "base/errors.h"
#include "base/no_throw.h"
#include "client/embedded_producer.h"
#include "client/public_impl.h"

namespace millrace {
namespace {

Status MovedFrom() { return MakeError(ErrorId::kInvalidArgument, "the producer was moved from"); }

}  // namespace

Producer::Producer() = default;
Producer::Producer(Producer&&) noexcept = default;
Producer& Producer::operator=(Producer&&) noexcept = default;
Producer::~Producer() = default;

Future<Delivery> Producer::Send(ProducerRecord r, SendOptions o) {
  try {
    if (impl_ == nullptr) return FutureAccess::Ready<Delivery>(MovedFrom());
    if (impl_->embedded != nullptr) return impl_->embedded->Send(r, o);
    return impl_->producer->Send(r, o);
  } catch (const std::bad_alloc&) {
    return FutureAccess::NoMemory<Delivery>();  // and nothing was accepted
  }
}

Status Producer::Send(ProducerRecord r, DeliveryCallback done, SendOptions o) {
  return NoThrow([&]() -> Status {
    if (impl_ == nullptr) return MovedFrom();
    if (impl_->embedded != nullptr) return impl_->embedded->Send(r, std::move(done), o, true);
    return impl_->producer->Send(r, std::move(done), o, true);
  });
}

Status Producer::TrySend(ProducerRecord r, DeliveryCallback done) {
  return NoThrow([&]() -> Status {
    if (impl_ == nullptr) return MovedFrom();
    if (impl_->embedded != nullptr) return impl_->embedded->Send(r, std::move(done), {}, false);
    return impl_->producer->Send(r, std::move(done), {}, false);
  });
}

std::vector<StatusOr<Delivery>> Producer::SendAll(std::span<ProducerRecord> rs, SendOptions o) {
  try {
    if (impl_ == nullptr) return std::vector<StatusOr<Delivery>>(rs.size(), MovedFrom());
    return impl_->producer->SendAll(rs, o);
  } catch (const std::bad_alloc&) {
    return {};  // no memory for the answers; nothing was sent
  }
}

Status Producer::Flush(absl::Duration timeout, std::stop_token stop) {
  return NoThrow(
      [&] { return impl_ == nullptr ? MovedFrom() : impl_->producer->Flush(timeout, stop); });
}

size_t Producer::buffered_bytes() const {
  return impl_ == nullptr ? 0 : impl_->producer->buffered_bytes();
}

size_t Producer::buffered_records() const {
  return impl_ == nullptr ? 0 : impl_->producer->buffered_records();
}

Status Producer::Close(absl::Duration timeout) {
  return NoThrow([&] { return impl_ == nullptr ? MovedFrom() : impl_->producer->Close(timeout); });
}

}  // namespace millrace
