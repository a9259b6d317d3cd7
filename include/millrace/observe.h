// millrace/observe.h - logs, metrics and tracing hooks. All optional; none adds a dependency.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "millrace/record.h"
#include "millrace/status.h"

namespace millrace {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };
class LogSink {
 public:
  virtual ~LogSink() = default;
  // `fields` are key-value context (topic, partition, group...). May be called from any thread;
  // must not block or call back into Millrace.
  virtual void Write(LogLevel level, std::string_view file, int line, std::string_view message,
                     const std::vector<std::pair<std::string_view, std::string>>& fields) = 0;
};

struct MetricPoint {
  std::string_view name;  // Prometheus form: millrace_records_appended_total
  std::string_view help;
  enum class Kind { kCounter, kGauge, kHistogram } kind = Kind::kCounter;
  std::vector<std::pair<std::string_view, std::string_view>> labels;
  double value = 0;                                  // counter, gauge
  std::vector<std::pair<double, uint64_t>> buckets;  // histogram: upper bound, cumulative count
  double sum = 0;
};

// Called on the hot path, from any thread: keep it short, never block, never call back into
// Millrace. What it throws is caught and counted.
class Observer {
 public:
  virtual ~Observer() = default;
  // Before a record is queued: may append headers (traceparent) - OpenTelemetry "send" starts here.
  virtual void OnSend(ProducerRecord&) {}
  virtual void OnDelivered(const StatusOr<Delivery>&, absl::Duration) {}  // since OnSend
  virtual void OnPolled(const RecordBatch&) {}                            // "receive"
  virtual void OnCommitted(const OffsetMap&, const Status&) {}
  virtual void OnThrottled(absl::Duration) {}  // how long Send waited for buffer space
};

}  // namespace millrace
