#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "millrace/observe.h"

namespace millrace::broker {
struct Metrics;
}

namespace millrace::client {

// Counts of everything that one client's producers and consumers do. Outlives them: batches that
// are still held go on counting down.
struct ClientMetrics {
  std::atomic<uint64_t> records_sent{0}, records_delivered{0}, records_failed{0};
  std::atomic<uint64_t> callbacks_threw{0}, sends_throttled{0};
  std::atomic<uint64_t> polls{0}, records_polled{0}, fetch_retries{0};
  std::atomic<uint64_t> positions_reset{0}, positions_moved_back{0};
  std::atomic<uint64_t> commits{0}, commit_failures{0}, rebalances{0}, partitions_lost{0};
  std::atomic<int64_t> buffered_bytes{0}, buffered_records{0}, pinned_bytes{0};
};

// Each as a point: name, help, kind, value.
void Visit(const ClientMetrics& metrics, const std::function<void(const MetricPoint&)>& fn);
void Visit(const broker::Metrics& metrics, const std::function<void(const MetricPoint&)>& fn);
std::string PrometheusText(
    const std::function<void(const std::function<void(const MetricPoint&)>&)>& visit);

}  // namespace millrace::client
