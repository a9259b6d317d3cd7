#include "millrace/consumer.h"

#include <new>
#include <utility>

#include "base/errors.h"
#include "base/no_throw.h"
#include "client/future_state.h"
#include "client/public_impl.h"

namespace millrace {
namespace {

Status MovedFrom() { return MakeError(ErrorId::kInvalidArgument, "the consumer was moved from"); }

// A call holds on to the backend: a rebalance listener may destroy the consumer inside of it.
using Held = std::shared_ptr<client::ConsumerBackend>;
template <typename Impl>
Held Hold(const std::shared_ptr<Impl>& impl) {
  return impl == nullptr ? nullptr : impl->consumer;
}

template <typename Call>
Future<OffsetMap> Asynchronous(Call call) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return FutureAccess::NoMemory<OffsetMap>();
  }
}

}  // namespace

Consumer::Consumer() = default;
Consumer::Consumer(Consumer&&) noexcept = default;
Consumer& Consumer::operator=(Consumer&& other) noexcept {
  if (this == &other) return *this;
  if (impl_ != nullptr) impl_->consumer->Abandon();
  impl_ = std::move(other.impl_);
  return *this;
}
Consumer::~Consumer() {
  if (impl_ != nullptr) impl_->consumer->Abandon();
}

Status Consumer::Subscribe(std::vector<std::string> topics) {
  return NoThrow([&]() -> Status {
    const Held held = Hold(impl_);
    return held == nullptr ? MovedFrom() : held->Subscribe(*this, std::move(topics));
  });
}
Status Consumer::SubscribePattern(std::string re2) {
  return NoThrow([&]() -> Status {
    const Held held = Hold(impl_);
    return held == nullptr ? MovedFrom() : held->SubscribePattern(*this, std::move(re2));
  });
}
Status Consumer::Unsubscribe() {
  return NoThrow([&]() -> Status {
    const Held held = Hold(impl_);
    return held == nullptr ? MovedFrom() : held->Unsubscribe(*this);
  });
}
Status Consumer::Assign(std::vector<TopicPartition> partitions) {
  return NoThrow([&]() -> Status {
    return impl_ == nullptr ? MovedFrom() : impl_->consumer->Assign(std::move(partitions));
  });
}
StatusOr<RecordBatch> Consumer::Poll(absl::Duration timeout, std::stop_token stop) {
  return NoThrow([&]() -> StatusOr<RecordBatch> {
    const Held held = Hold(impl_);
    if (held == nullptr) return MovedFrom();
    return held->Poll(*this, timeout, stop);
  });
}
void Consumer::Wake() {
  if (impl_ != nullptr) impl_->consumer->Wake();
}
int Consumer::event_fd() const { return impl_ == nullptr ? -1 : impl_->consumer->event_fd(); }

Status Consumer::Commit(absl::Duration timeout) {
  return NoThrow([&]() -> Status {
    return impl_ == nullptr ? MovedFrom() : impl_->consumer->Commit(nullptr, timeout);
  });
}
Status Consumer::Commit(const OffsetMap& next, absl::Duration timeout) {
  return NoThrow([&]() -> Status {
    return impl_ == nullptr ? MovedFrom() : impl_->consumer->Commit(&next, timeout);
  });
}
Future<OffsetMap> Consumer::CommitAsync() {
  return Asynchronous([&] {
    if (impl_ == nullptr) return FutureAccess::Ready<OffsetMap>(MovedFrom());
    return impl_->consumer->CommitAsync(nullptr);
  });
}
Future<OffsetMap> Consumer::CommitAsync(OffsetMap next) {
  return Asynchronous([&] {
    if (impl_ == nullptr) return FutureAccess::Ready<OffsetMap>(MovedFrom());
    return impl_->consumer->CommitAsync(&next);
  });
}
void Consumer::MarkDone(const RecordView& r) {
  if (impl_ != nullptr) impl_->consumer->MarkDone(r);
}

Status Consumer::Seek(const TopicPartition& tp, Offset next) {
  return NoThrow(
      [&]() -> Status { return impl_ == nullptr ? MovedFrom() : impl_->consumer->Seek(tp, next); });
}
Status Consumer::SeekToBeginning(const std::vector<TopicPartition>& tps) {
  return NoThrow([&]() -> Status {
    return impl_ == nullptr ? MovedFrom() : impl_->consumer->SeekToBeginning(tps);
  });
}
Status Consumer::SeekToEnd(const std::vector<TopicPartition>& tps) {
  return NoThrow(
      [&]() -> Status { return impl_ == nullptr ? MovedFrom() : impl_->consumer->SeekToEnd(tps); });
}
Status Consumer::SeekToTime(absl::Time t, const std::vector<TopicPartition>& tps) {
  return NoThrow([&]() -> Status {
    return impl_ == nullptr ? MovedFrom() : impl_->consumer->SeekToTime(t, tps);
  });
}
Status Consumer::Pause(const std::vector<TopicPartition>& tps) {
  return NoThrow(
      [&]() -> Status { return impl_ == nullptr ? MovedFrom() : impl_->consumer->Pause(tps); });
}
Status Consumer::Resume(const std::vector<TopicPartition>& tps) {
  return NoThrow(
      [&]() -> Status { return impl_ == nullptr ? MovedFrom() : impl_->consumer->Resume(tps); });
}

std::vector<TopicPartition> Consumer::assignment() const try {
  return impl_ == nullptr ? std::vector<TopicPartition>() : impl_->consumer->assignment();
} catch (const std::bad_alloc&) {
  return {};
}
std::optional<Offset> Consumer::position(const TopicPartition& tp) const {
  return impl_ == nullptr ? std::nullopt : impl_->consumer->position(tp);
}
StatusOr<OffsetMap> Consumer::Committed(const std::vector<TopicPartition>& tps) {
  return NoThrow([&]() -> StatusOr<OffsetMap> {
    if (impl_ == nullptr) return MovedFrom();
    return impl_->consumer->Committed(tps);
  });
}
StatusOr<OffsetMap> Consumer::BeginningOffsets(const std::vector<TopicPartition>& tps) {
  return NoThrow([&]() -> StatusOr<OffsetMap> {
    if (impl_ == nullptr) return MovedFrom();
    return impl_->consumer->BeginningOffsets(tps);
  });
}
StatusOr<OffsetMap> Consumer::EndOffsets(const std::vector<TopicPartition>& tps) {
  return NoThrow([&]() -> StatusOr<OffsetMap> {
    if (impl_ == nullptr) return MovedFrom();
    return impl_->consumer->EndOffsets(tps);
  });
}
StatusOr<std::map<TopicPartition, OffsetAndTime>> Consumer::OffsetsForTimes(
    const std::map<TopicPartition, absl::Time>& when) {
  return NoThrow([&]() -> StatusOr<std::map<TopicPartition, OffsetAndTime>> {
    if (impl_ == nullptr) return MovedFrom();
    return impl_->consumer->OffsetsForTimes(when);
  });
}
StatusOr<std::map<TopicPartition, int64_t>> Consumer::Lag() {
  return NoThrow([&]() -> StatusOr<std::map<TopicPartition, int64_t>> {
    if (impl_ == nullptr) return MovedFrom();
    return impl_->consumer->Lag();
  });
}
StatusOr<std::map<TopicPartition, absl::Duration>> Consumer::LagTime() {
  return NoThrow([&]() -> StatusOr<std::map<TopicPartition, absl::Duration>> {
    if (impl_ == nullptr) return MovedFrom();
    return impl_->consumer->LagTime();
  });
}

Status Consumer::Close(absl::Duration timeout) {
  return NoThrow([&]() -> Status {
    const Held held = Hold(impl_);
    return held == nullptr ? MovedFrom() : held->Close(*this, timeout);
  });
}

}  // namespace millrace
