#pragma once

#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "client/logger.h"
#include "millrace/client.h"
#include "millrace/env.h"

// The seam of the client: what Producer, Consumer and Admin need of a backend. `embedded` stands on
// broker::Broker; another one may speak to a Kafka cluster. It is cut at whole producers and
// consumers and not lower, because a client library for the network brings batching, partitioning
// and group membership of its own. The two calls that are made once a record (Send, TrySend) are
// made on EmbeddedProducer itself, which is final.
namespace millrace::client {

// Thread-safe, as Producer. Destruction closes within the client's close_timeout.
class ProducerBackend {
 public:
  virtual ~ProducerBackend() = default;
  virtual Future<Delivery> Send(ProducerRecord& r, const SendOptions& o) = 0;
  virtual Status Send(ProducerRecord& r, DeliveryCallback done, const SendOptions& o,
                      bool wait) = 0;
  virtual std::vector<StatusOr<Delivery>> SendAll(std::span<ProducerRecord> rs,
                                                  const SendOptions& o) = 0;
  virtual Status Flush(absl::Duration timeout, const std::stop_token& stop) = 0;
  virtual size_t buffered_bytes() const = 0;
  virtual size_t buffered_records() const = 0;
  virtual Status Close(absl::Duration timeout) = 0;
};

// Threads as Consumer. `self` is the public object, for the rebalance listener.
class ConsumerBackend {
 public:
  virtual ~ConsumerBackend() = default;
  virtual Status Subscribe(Consumer& self, std::vector<std::string> topics) = 0;
  virtual Status SubscribePattern(Consumer& self, std::string re2) = 0;
  virtual Status Unsubscribe(Consumer& self) = 0;
  virtual Status Assign(std::vector<TopicPartition> partitions) = 0;
  virtual StatusOr<RecordBatch> Poll(Consumer& self, absl::Duration timeout,
                                     const std::stop_token& stop) = 0;
  virtual void Wake() = 0;
  virtual int event_fd() = 0;
  virtual Status Commit(const OffsetMap* next,
                        absl::Duration timeout) = 0;  // null: what was polled
  virtual Future<OffsetMap> CommitAsync(const OffsetMap* next) = 0;
  virtual void MarkDone(const RecordView& r) = 0;
  virtual Status Seek(const TopicPartition& tp, Offset next) = 0;
  virtual Status SeekToBeginning(const std::vector<TopicPartition>& tps) = 0;
  virtual Status SeekToEnd(const std::vector<TopicPartition>& tps) = 0;
  virtual Status SeekToTime(absl::Time t, const std::vector<TopicPartition>& tps) = 0;
  virtual Status Pause(const std::vector<TopicPartition>& tps) = 0;
  virtual Status Resume(const std::vector<TopicPartition>& tps) = 0;
  virtual std::vector<TopicPartition> assignment() const = 0;
  virtual std::optional<Offset> position(const TopicPartition& tp) const = 0;
  virtual StatusOr<OffsetMap> Committed(const std::vector<TopicPartition>& tps) = 0;
  virtual StatusOr<OffsetMap> BeginningOffsets(const std::vector<TopicPartition>& tps) = 0;
  virtual StatusOr<OffsetMap> EndOffsets(const std::vector<TopicPartition>& tps) = 0;
  virtual StatusOr<std::map<TopicPartition, OffsetAndTime>> OffsetsForTimes(
      const std::map<TopicPartition, absl::Time>& when) = 0;
  virtual StatusOr<std::map<TopicPartition, int64_t>> Lag() = 0;
  virtual StatusOr<std::map<TopicPartition, absl::Duration>> LagTime() = 0;
  virtual Status Close(Consumer& self, absl::Duration timeout) = 0;
  virtual void Abandon() = 0;  // the destructor's part: leaves the group, commits nothing
};

// Thread-safe, as Admin.
class AdminBackend {
 public:
  virtual ~AdminBackend() = default;
  virtual Status CreateTopic(std::string_view name, const TopicOptions& o, OnExists e) = 0;
  virtual Status DeleteTopic(std::string_view name) = 0;
  virtual Status AddPartitions(std::string_view name, int32_t total) = 0;
  virtual Status SetTopicConfig(std::string_view name,
                                const std::map<std::string, std::optional<std::string>>& c) = 0;
  virtual StatusOr<std::vector<std::string>> ListTopics(bool include_internal) = 0;
  virtual StatusOr<TopicInfo> DescribeTopic(std::string_view name) = 0;
  virtual StatusOr<std::vector<TopicConfigInfo>> DescribeTopicConfig(std::string_view name) = 0;
  virtual Status DeleteRecords(const OffsetMap& before) = 0;
  virtual StatusOr<std::vector<std::string>> ListGroups() = 0;
  virtual StatusOr<GroupInfo> DescribeGroup(std::string_view group) = 0;
  virtual Status AlterGroupOffsets(std::string_view group, const OffsetMap& next) = 0;
  virtual Status DeleteGroup(std::string_view group) = 0;
  virtual Status DeleteGroupOffsets(std::string_view group,
                                    const std::vector<TopicPartition>& partitions) = 0;
};

class EmbeddedProducer;

// Thread-safe, as Client.
class Backend {
 public:
  virtual ~Backend() = default;
  struct NewProducer {
    std::shared_ptr<ProducerBackend> producer;
    EmbeddedProducer* embedded = nullptr;  // the same object, if that is what it is
  };
  virtual StatusOr<NewProducer> MakeProducer(ProducerOptions o) = 0;
  virtual StatusOr<std::shared_ptr<ConsumerBackend>> MakeConsumer(ConsumerOptions o) = 0;
  virtual std::shared_ptr<AdminBackend> MakeAdmin() = 0;
  virtual Capabilities capabilities() const = 0;
  virtual void VisitMetrics(const std::function<void(const MetricPoint&)>& fn) const = 0;
  virtual std::shared_ptr<Clock> clock() const = 0;
  virtual std::shared_ptr<Logger> logger() const = 0;
};

}  // namespace millrace::client
