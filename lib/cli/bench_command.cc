#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "cli/context.h"
#include "cli/json.h"
#include "cli/parse.h"
#include "millrace/env.h"

namespace millrace::cli {
namespace {

struct BenchArguments {
  int64_t records = 200'000;
  std::string record_bytes = "1k", compression = "none", flush = "each-batch";
  int32_t partitions = 4;
  int64_t synced = 500;
};

StatusOr<Flush> ParseFlush(std::string_view text) {
  if (text == "each-batch") return Flush::kEachBatch;
  if (text == "interval") return Flush::kInterval;
  if (text == "os") return Flush::kOs;
  return UsageError(
      fmt::format("'{}' is not a flush policy: one of each-batch, interval, os", text));
}

// The measured figures.
struct Figures {
  double produce_seconds = 0, consume_seconds = 0;
  std::vector<double> latency_us;  // of each synchronous Send, sorted

  double Percentile(double p) const {
    if (latency_us.empty()) return 0;
    const auto last = static_cast<double>(latency_us.size() - 1);
    return latency_us[static_cast<size_t>(p * last + 0.5)];
  }
};

// One measurement on a topic of its own, which is deleted at the end.
class Bench {
 public:
  Bench(const BenchArguments& arguments, size_t record_bytes, Compression compression,
        Client client)
      : arguments_(arguments),
        record_bytes_(record_bytes),
        compression_(compression),
        client_(std::move(client)) {}

  StatusOr<Figures> Run() {
    topic_ = fmt::format("millrace-bench-{:x}", Random::Real()->Next());
    Admin admin = client_.admin();
    MILLRACE_RETURN_IF_ERROR(admin.CreateTopic(topic_, {.partitions = arguments_.partitions}));
    Status status = Produce();
    if (status.ok()) status = Consume();
    if (status.ok()) status = SendOneByOne();
    const Status deleted = admin.DeleteTopic(topic_);
    MILLRACE_RETURN_IF_ERROR(status);
    MILLRACE_RETURN_IF_ERROR(deleted);
    return std::move(figures_);
  }

 private:
  // Half of the bytes repeat, so that a codec has something to find, and not everything.
  std::string Value() const {
    const auto random = Random::Real();
    std::string value(record_bytes_, 'x');
    for (size_t i = 0; i < value.size() / 2; ++i)
      value[i] = static_cast<char>(' ' + random->Next() % 95);
    return value;
  }

  Status Produce() {
    const std::string value = Value();
    std::atomic<int64_t> failed{0};
    MILLRACE_ASSIGN_OR_RETURN(
        Producer producer,
        client_.NewProducer({.linger = absl::Milliseconds(5), .compression = compression_}));
    const absl::Duration start = clock_->Elapsed();
    for (int64_t i = 0; i < arguments_.records; ++i) {
      MILLRACE_RETURN_IF_ERROR(
          producer.Send({.topic = topic_,
                         .partition = static_cast<int32_t>(i % arguments_.partitions),
                         .value = std::string_view(value)},
                        [&failed](const StatusOr<Delivery>& delivery) {
                          if (!delivery.ok()) failed.fetch_add(1, std::memory_order_relaxed);
                        }));
    }
    MILLRACE_RETURN_IF_ERROR(producer.Flush());
    figures_.produce_seconds = absl::ToDoubleSeconds(clock_->Elapsed() - start);
    MILLRACE_RETURN_IF_ERROR(producer.Close(absl::Seconds(30)));
    if (failed > 0)
      return MakeError(ErrorId::kAborted,
                       fmt::format("{} records were not written", failed.load()));
    return absl::OkStatus();
  }

  Status Consume() {
    ConsumerOptions options;
    options.max_poll_records = 10'000;
    MILLRACE_ASSIGN_OR_RETURN(Consumer consumer, client_.NewConsumer(std::move(options)));
    std::vector<TopicPartition> partitions;
    for (int32_t i = 0; i < arguments_.partitions; ++i) partitions.push_back({topic_, i});
    MILLRACE_RETURN_IF_ERROR(consumer.Assign(std::move(partitions)));
    const absl::Duration start = clock_->Elapsed();
    for (int64_t read = 0; read < arguments_.records;) {
      MILLRACE_ASSIGN_OR_RETURN(const RecordBatch batch, consumer.Poll(absl::Seconds(10)));
      if (batch.empty()) {
        return MakeError(ErrorId::kTimedOut, fmt::format("read {} of {} records within 10 s", read,
                                                         arguments_.records));
      }
      read += static_cast<int64_t>(batch.size());
    }
    figures_.consume_seconds = absl::ToDoubleSeconds(clock_->Elapsed() - start);
    return consumer.Close(absl::Seconds(5));
  }

  Status SendOneByOne() {
    const std::string value = Value();
    MILLRACE_ASSIGN_OR_RETURN(Producer producer, client_.NewProducer());
    for (int64_t i = 0; i < arguments_.synced; ++i) {
      const absl::Duration start = clock_->Elapsed();
      MILLRACE_RETURN_IF_ERROR(
          producer.Send({.topic = topic_, .partition = 0, .value = std::string_view(value)})
              .Get()
              .status());
      figures_.latency_us.push_back(absl::ToDoubleMicroseconds(clock_->Elapsed() - start));
    }
    std::sort(figures_.latency_us.begin(), figures_.latency_us.end());
    return producer.Close(absl::Seconds(5));
  }

  const BenchArguments& arguments_;
  const size_t record_bytes_;
  const Compression compression_;
  const Client client_;
  const std::shared_ptr<Clock> clock_ = Clock::Real();
  std::string topic_;
  Figures figures_;
};

void Print(Context& context, const BenchArguments& arguments, size_t record_bytes,
           const Figures& figures) {
  const auto records = static_cast<double>(arguments.records);
  const double bytes = records * static_cast<double>(record_bytes);
  if (context.json) {
    JsonWriter json;
    json.BeginObject().Key("records").Number(arguments.records);
    json.Key("record_bytes").Number(static_cast<int64_t>(record_bytes));
    json.Key("partitions").Number(arguments.partitions);
    json.Key("compression").Text(arguments.compression).Key("flush").Text(arguments.flush);
    json.Key("produce_records_per_second").Real(records / figures.produce_seconds);
    json.Key("produce_bytes_per_second").Real(bytes / figures.produce_seconds);
    json.Key("consume_records_per_second").Real(records / figures.consume_seconds);
    json.Key("consume_bytes_per_second").Real(bytes / figures.consume_seconds);
    json.Key("send_p50_us").Real(figures.Percentile(0.5));
    json.Key("send_p99_us").Real(figures.Percentile(0.99)).End();
    return context.out.Line(json.str());
  }
  const auto rate = [&](std::string_view name, double seconds) {
    context.out.Line(fmt::format("{:8} {:>9} records/s  {:>9}/s", name,
                                 WithThousands(static_cast<int64_t>(records / seconds)),
                                 Bytes10(bytes / seconds)));
  };
  context.out.Line(fmt::format(
      "{} records of {} bytes, {} partitions, compression {}, flush {}, {}",
      WithThousands(arguments.records), record_bytes, arguments.partitions, arguments.compression,
      arguments.flush, context.directory.empty() ? "in memory" : context.directory));
  rate("produce", figures.produce_seconds);
  rate("consume", figures.consume_seconds);
  if (!figures.latency_us.empty()) {
    context.out.Line(fmt::format("send one  p50 {:.0f} us, p99 {:.0f} us: acknowledged one by one",
                                 figures.Percentile(0.5), figures.Percentile(0.99)));
  }
}

Status RunBench(Context& context, const BenchArguments& arguments) {
  MILLRACE_ASSIGN_OR_RETURN(const int64_t record_bytes, ParseByteCount(arguments.record_bytes));
  constexpr int64_t kMaxRecordBytes = 1'000'000;  // what max.message.bytes leaves room for
  if (record_bytes > kMaxRecordBytes)
    return UsageError(fmt::format("--record-size {}: at most {}", record_bytes, kMaxRecordBytes));
  MILLRACE_ASSIGN_OR_RETURN(const Compression compression, ParseCompression(arguments.compression));
  MILLRACE_ASSIGN_OR_RETURN(const Flush flush, ParseFlush(arguments.flush));
  const auto size = static_cast<size_t>(record_bytes);
  StatusOr<Broker> broker =
      context.directory.empty() ? Broker::Open({}) : OpenBroker(context, Access::kCreate, flush);
  if (!broker.ok()) return broker.status();
  MILLRACE_ASSIGN_OR_RETURN(const Figures figures,
                            Bench(arguments, size, compression, broker->client()).Run());
  Print(context, arguments, size, figures);
  return broker->Close(absl::Seconds(30));
}

}  // namespace

void AddBenchCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App* bench = app.add_subcommand(
      "bench", "A short measurement of producing and consuming, on a topic that is deleted again");
  bench->add_option("--records,-n", arguments->records, "How many")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->type_name("N");
  bench->add_option("--record-size,-s", arguments->record_bytes, "Bytes of each value")
      ->capture_default_str()
      ->type_name("BYTES");
  bench->add_option("--partitions,-p", arguments->partitions, "Of the topic")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000))
      ->type_name("N");
  bench->add_option("--compression,-z", arguments->compression, "none, gzip, snappy, lz4 or zstd")
      ->capture_default_str()
      ->type_name("CODEC");
  bench->add_option("--flush", arguments->flush, "each-batch (durable), interval or os")
      ->capture_default_str()
      ->type_name("POLICY");
  bench
      ->add_option("--one-by-one", arguments->synced,
                   "So many sends that wait for their acknowledgement")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30))
      ->type_name("N");
  bench->footer(
      R"(Without --dir it runs in memory. The figures depend on the machine: compare runs on one.

Examples:
  millrace bench
  millrace --dir data bench --record-size 100 --flush os)");
  bench->callback([&context, arguments] {
    context.run = [&context, arguments] { return RunBench(context, *arguments); };
  });
}

}  // namespace millrace::cli
