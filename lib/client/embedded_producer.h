#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "client/backend.h"
#include "client/context.h"
#include "client/delivery_hub.h"
#include "client/partitioner.h"
#include "client/topic_cache.h"

namespace millrace::client {

// Producer over a broker in this process. Thread-safe.
class EmbeddedProducer final : public ProducerBackend {
 public:
  EmbeddedProducer(std::shared_ptr<Context> context, ProducerOptions options);
  ~EmbeddedProducer() override;

  Future<Delivery> Send(ProducerRecord& r, const SendOptions& o) override;
  Status Send(ProducerRecord& r, DeliveryCallback done, const SendOptions& o, bool wait) override;
  std::vector<StatusOr<Delivery>> SendAll(std::span<ProducerRecord> rs,
                                          const SendOptions& o) override;
  Status Flush(absl::Duration timeout, const std::stop_token& stop) override;
  size_t buffered_bytes() const override { return hub_->buffered_bytes(); }
  size_t buffered_records() const override { return hub_->buffered_records(); }
  Status Close(absl::Duration timeout) override;

 private:
  // A record ready to be added, and where it goes. Views into the ProducerRecord.
  struct Placed {
    std::shared_ptr<const LaneSet> topic;
    Lane* lane = nullptr;
    PreparedRecord record;
    absl::InlinedVector<record::HeaderView, 8> headers;
  };
  class Call;  // SendAll's

  Status usable() const;
  Status Enqueue(ProducerRecord& r, Completion& completion, const SendOptions& o, bool wait);
  void Observe(ProducerRecord& r, Completion& completion);
  Status Prepare(ProducerRecord& r, absl::Time now, Placed* out);
  Status CheckSize(const Placed& placed) const;
  Status CheckTimestamp(const ProducerRecord& r, absl::Time now, Placed* out) const;
  Status Pick(const ProducerRecord& r, Placed* out) const;
  Status Reserve(size_t bytes, const std::stop_token& stop, bool wait);
  void FlushLanes();
  absl::Duration Drive() const;

  const std::shared_ptr<Context> context_;
  const ProducerOptions options_;
  Partitioner* const partitioner_;  // null: the default one, without a virtual call
  const std::shared_ptr<DeliveryHub> hub_;
  const std::shared_ptr<TopicCache> topics_;
  std::atomic<bool> closed_{false};
  uint64_t close_hook_ = 0;
};

}  // namespace millrace::client
