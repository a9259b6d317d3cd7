// millrace/client.h - one handle for all three backends.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "millrace/admin.h"
#include "millrace/consumer.h"
#include "millrace/observe.h"
#include "millrace/producer.h"

namespace millrace {

struct ClientOptions {
  std::string client_id = "millrace";
  std::shared_ptr<Executor> executor = nullptr;  // null: one background thread for callbacks
  std::shared_ptr<LogSink> log = nullptr;        // null: warnings and errors to stderr
  LogLevel log_level = LogLevel::kWarning;
  std::shared_ptr<Observer> observer = nullptr;
  absl::Duration admin_timeout = absl::Seconds(30);
  absl::Duration close_timeout = absl::Seconds(5);  // what a destructor may wait
  std::map<std::string, std::string> config = {};   // librdkafka / Kafka client properties by name
};

// What the backend can do, so that code may ask rather than fail.
struct Capabilities {
  bool in_process = false, durable = false, replicated = false;
  bool transactions = false, share_groups = false, zero_copy_reads = false, serves_network = false;
};

// A cheap, copyable, thread-safe handle (a shared reference). Producers and consumers keep the backend
// alive; it shuts down when the last of them and the last Client are gone, or at Broker::Close.
// After fork() the child may only destroy these objects: calls return kFailedPrecondition and
// destructors do nothing.
class Client {
 public:
  StatusOr<Producer> NewProducer(ProducerOptions o = {}) const;
  StatusOr<Consumer> NewConsumer(ConsumerOptions o = {}) const;
  StatusOr<ShareConsumer> NewShareConsumer(ShareConsumerOptions o) const;
  Admin admin() const;
  Capabilities capabilities() const;

  void VisitMetrics(const std::function<void(const MetricPoint&)>& fn) const;
  std::string PrometheusText() const;

 private:
  friend class Broker;
  friend StatusOr<Client> Open(std::string_view, ClientOptions);
  std::shared_ptr<void> impl_;
};

// Opens a backend by address:
//   "memory:"                          embedded, nothing on disk
//   "file:DIR"                         embedded, in DIR (created when missing; one process at a time)
//   "kafka://host:port,host:port"      any Kafka-protocol cluster (needs the kafka component)
StatusOr<Client> Open(std::string_view address, ClientOptions o = {});

}  // namespace millrace
