#include "client/client_metrics.h"

#include <iterator>
#include <string>

#include <fmt/format.h>

#include "broker/broker.h"

namespace millrace::client {
namespace {

using Kind = MetricPoint::Kind;
using Emit = std::function<void(const MetricPoint&)>;

template <typename T>
void Counter(const Emit& fn, std::string_view name, std::string_view help,
             const std::atomic<T>& value) {
  fn({.name = name,
      .help = help,
      .kind = Kind::kCounter,
      .labels = {},
      .value = static_cast<double>(value.load(std::memory_order_relaxed)),
      .buckets = {}});
}

template <typename T>
void Gauge(const Emit& fn, std::string_view name, std::string_view help,
           const std::atomic<T>& value) {
  fn({.name = name,
      .help = help,
      .kind = Kind::kGauge,
      .labels = {},
      .value = static_cast<double>(value.load(std::memory_order_relaxed)),
      .buckets = {}});
}

// Prometheus' text format escapes these in label values.
std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

std::string Labels(const MetricPoint& point, std::string_view extra = {}) {
  std::string out;
  for (const auto& [name, value] : point.labels)
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : ",", name, Escaped(value));
  if (!extra.empty()) out += fmt::format("{}{}", out.empty() ? "" : ",", extra);
  return out.empty() ? out : fmt::format("{{{}}}", out);
}

std::string_view Name(Kind kind) {
  switch (kind) {
    case Kind::kCounter:
      return "counter";
    case Kind::kGauge:
      return "gauge";
    default:
      return "histogram";
  }
}

}  // namespace

void Visit(const ClientMetrics& m, const Emit& fn) {
  Counter(fn, "millrace_records_sent_total", "Records that producers accepted.", m.records_sent);
  Counter(fn, "millrace_records_delivered_total", "Records answered with their offset.",
          m.records_delivered);
  Counter(fn, "millrace_records_failed_total", "Accepted records answered with an error.",
          m.records_failed);
  Counter(fn, "millrace_callbacks_threw_total",
          "Callbacks and hooks of the program that ended in an exception.", m.callbacks_threw);
  Counter(fn, "millrace_sends_throttled_total", "Sends that waited for buffer space.",
          m.sends_throttled);
  Gauge(fn, "millrace_buffered_bytes", "Bytes on their way to the log, and not answered yet.",
        m.buffered_bytes);
  Gauge(fn, "millrace_buffered_records", "Records on their way to the log, and not answered yet.",
        m.buffered_records);
  Counter(fn, "millrace_polls_total", "Polls that returned records.", m.polls);
  Counter(fn, "millrace_records_polled_total", "Records that Poll returned.", m.records_polled);
  Counter(fn, "millrace_fetch_retries_total", "Fetches that failed and were tried again.",
          m.fetch_retries);
  Gauge(fn, "millrace_pinned_bytes", "Bytes of buffers that batches and pins hold.",
        m.pinned_bytes);
  Counter(fn, "millrace_positions_reset_total",
          "Positions that lay outside the log and were reset by policy.", m.positions_reset);
  Counter(fn, "millrace_positions_moved_back_total",
          "Committed positions past their leader epoch's end that were moved back.",
          m.positions_moved_back);
  Counter(fn, "millrace_commits_total", "Commits that were accepted.", m.commits);
  Counter(fn, "millrace_commit_failures_total", "Commits that failed.", m.commit_failures);
  Counter(fn, "millrace_rebalances_total", "Changes of a consumer's assignment by its group.",
          m.rebalances);
  Counter(fn, "millrace_partitions_lost_total",
          "Partitions taken from members that the group had removed.", m.partitions_lost);
}

void Visit(const broker::Metrics& m, const Emit& fn) {
  Counter(fn, "millrace_records_appended_total", "Records appended to logs.", m.records_appended);
  Counter(fn, "millrace_bytes_appended_total", "Bytes appended to logs.", m.bytes_appended);
  Counter(fn, "millrace_batches_appended_total", "Batches appended to logs.", m.batches_appended);
  Counter(fn, "millrace_bytes_fetched_total", "Bytes read from logs.", m.bytes_fetched);
  Counter(fn, "millrace_syncs_total", "Syncs of log files.", m.syncs);
  Counter(fn, "millrace_sync_failures_total", "Syncs that failed; each is final.", m.sync_failures);
}

std::string PrometheusText(const std::function<void(const Emit&)>& visit) {
  std::string out;
  std::string last_name;
  visit([&](const MetricPoint& point) {
    auto append = std::back_inserter(out);
    if (point.name != last_name) {
      fmt::format_to(append, "# HELP {} {}\n# TYPE {} {}\n", point.name, point.help, point.name,
                     Name(point.kind));
      last_name = point.name;
    }
    if (point.kind != Kind::kHistogram) {
      fmt::format_to(append, "{}{} {}\n", point.name, Labels(point), point.value);
      return;
    }
    uint64_t count = 0;
    for (const auto& [bound, cumulative] : point.buckets) {
      fmt::format_to(append, "{}_bucket{} {}\n", point.name,
                     Labels(point, fmt::format("le=\"{}\"", bound)), cumulative);
      count = cumulative;
    }
    fmt::format_to(append, "{}_bucket{} {}\n", point.name, Labels(point, "le=\"+Inf\""), count);
    fmt::format_to(append, "{}_sum{} {}\n{}_count{} {}\n", point.name, Labels(point), point.sum,
                   point.name, Labels(point), count);
  });
  return out;
}

}  // namespace millrace::client
