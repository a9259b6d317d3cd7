// millrace/client.h - one handle, whichever backend is behind it.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "millrace/admin.h"
#include "millrace/consumer.h"
#include "millrace/future.h"
#include "millrace/observe.h"
#include "millrace/producer.h"
#include "millrace/status.h"

namespace millrace {

struct ClientOptions {
  std::string client_id = "millrace";  // seen in group descriptions
  // Where delivery callbacks and Future::OnReady run. Null: one background thread, started when the
  // first callback is due. With BrokerOptions::background_threads = 0 and no executor they run on
  // the threads that wait: in Flush, Get, SendAll, Poll, Close and Broker::RunMaintenance.
  std::shared_ptr<Executor> executor = nullptr;
  std::shared_ptr<LogSink> log = nullptr;  // null: lines on stderr
  LogLevel log_level = LogLevel::kWarning;
  std::shared_ptr<Observer> observer = nullptr;
  absl::Duration admin_timeout = absl::Seconds(30);  // of each call of Admin that changes something
  absl::Duration close_timeout = absl::Seconds(5);   // what a destructor may wait
  // Kafka client properties by name ("linger.ms", "auto.offset.reset"...); they win over the fields
  // of ProducerOptions and ConsumerOptions. invalid_config lists every value that does not parse; a
  // name that is not known is a warning that says the nearest one. docs/configuration.md has them.
  std::map<std::string, std::string> config = {};
};

// What the backend can do, so that code may ask rather than fail.
struct Capabilities {
  bool in_process = false;       // the log is in this process: no network, no broker to lose
  bool durable = false;          // records survive the process
  bool zero_copy_reads = false;  // Poll returns views into what was read from the file
};

// A cheap, copyable, thread-safe handle (a shared reference). Producers and consumers keep the
// backend alive; it shuts down when the last of them and the last Client are gone, or at
// Broker::Close. After fork() the child may only destroy these objects: calls return `forked`
// (kFailedPrecondition) and destructors do nothing.
class Client {
 public:
  // invalid_config lists every field that is out of range.
  StatusOr<Producer> NewProducer(ProducerOptions o = {}) const;
  StatusOr<Consumer> NewConsumer(ConsumerOptions o = {}) const;
  Admin admin() const;
  Capabilities capabilities() const;

  // Calls `fn` with each metric, on this thread.
  void VisitMetrics(const std::function<void(const MetricPoint&)>& fn) const;
  std::string PrometheusText() const;  // the same, in Prometheus' text format 0.0.4

 private:
  friend class Broker;
  friend struct ClientAccess;
  friend StatusOr<Client> Open(std::string_view, ClientOptions);
  struct Impl;
  explicit Client(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

// Opens a backend by address:
//   "memory:"                          embedded, nothing on disk
//   "file:DIR"                         embedded, in DIR (created when missing), for one process
//   "kafka://host:port,host:port"      any Kafka-protocol cluster (needs the kafka component)
// already_open: another process has DIR. invalid_argument: no such address. unimplemented: the
// component for it is not linked in.
StatusOr<Client> Open(std::string_view address, ClientOptions o = {});

}  // namespace millrace
