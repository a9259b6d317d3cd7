#include <csignal>
#include <map>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/errors.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "cli/context.h"
#include "cli/json.h"
#include "cli/line_reader.h"
#include "cli/parse.h"
#include "millrace/env.h"
#include "millrace/run.h"

namespace millrace::cli {
namespace {

struct ProduceArguments {
  std::string topic, file;
  std::optional<std::string> key_separator, null_marker;
  std::vector<std::string> headers;
  std::optional<int32_t> partition;
  std::string compression = "none", acks = "all", timestamp;
  bool create = false;
};

// What becomes of the records: written by delivery callbacks, read at the end. Thread-safe.
class Tally {
 public:
  void Delivered(int64_t line, const StatusOr<Delivery>& delivery) ABSL_LOCKS_EXCLUDED(mu_) {
    const MutexLock lock(mu_);
    if (delivery.ok()) {
      ++records_;
      ++by_partition_[delivery->partition.partition];
      return;
    }
    if (failed_++ == 0) first_error_ = Annotate(delivery.status(), fmt::format("line {}", line));
  }
  int64_t records() const ABSL_LOCKS_EXCLUDED(mu_) {
    const MutexLock lock(mu_);
    return records_;
  }
  std::map<int32_t, int64_t> by_partition() const ABSL_LOCKS_EXCLUDED(mu_) {
    const MutexLock lock(mu_);
    return by_partition_;
  }
  // OK, or the first failure with the number of those behind it.
  Status error() const ABSL_LOCKS_EXCLUDED(mu_) {
    const MutexLock lock(mu_);
    if (failed_ < 2) return first_error_;
    return Annotate(first_error_, fmt::format("{} records were not written, the first", failed_));
  }

 private:
  mutable Mutex mu_;
  int64_t records_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t failed_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<int32_t, int64_t> by_partition_ ABSL_GUARDED_BY(mu_);
  Status first_error_ ABSL_GUARDED_BY(mu_);
};

// How a line becomes a record.
struct Shape {
  std::string topic;
  std::optional<int32_t> partition;
  std::optional<std::string> key_separator, null_marker;
  std::vector<std::pair<std::string, std::string>> headers;
  std::optional<absl::Time> timestamp;

  // A view into `line`: null where it equals the marker.
  Payload Part(std::string_view text) const {
    if (null_marker && text == *null_marker) return std::nullopt;
    return text;
  }
  ProducerRecord Record(std::string_view line) const {
    ProducerRecord record{.topic = topic, .partition = partition, .timestamp = timestamp};
    const size_t separator = key_separator ? line.find(*key_separator) : line.npos;
    if (separator != line.npos) {
      record.key = Part(line.substr(0, separator));
      line.remove_prefix(separator + key_separator->size());
    }
    record.value = Part(line);
    for (const auto& [name, value] : headers) record.headers.emplace_back(name, Part(value));
    return record;
  }
};

StatusOr<Shape> ShapeOf(const ProduceArguments& arguments, absl::Time now) {
  Shape shape{.topic = arguments.topic,
              .partition = arguments.partition,
              .key_separator = std::nullopt,
              .null_marker = arguments.null_marker,
              .headers = {},
              .timestamp = std::nullopt};
  if (arguments.key_separator) {
    MILLRACE_ASSIGN_OR_RETURN(shape.key_separator, Unescape(*arguments.key_separator));
    if (shape.key_separator->empty()) return UsageError("--key-separator must not be empty");
  }
  for (const std::string& header : arguments.headers) {
    const size_t equals = header.find('=');
    if (equals == header.npos || equals == 0)
      return UsageError(fmt::format("--header '{}': wants NAME=VALUE", header));
    shape.headers.emplace_back(header.substr(0, equals), header.substr(equals + 1));
  }
  if (!arguments.timestamp.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(shape.timestamp, ParseTime(arguments.timestamp, now));
  }
  return shape;
}

// Sends line after line until the input ends or a signal comes.
Status SendLines(LineReader& lines, const Shape& shape, Producer& producer, Tally& tally,
                 const std::stop_token& stop) {
  ProgressLine progress;
  const auto clock = Clock::Real();
  const absl::Duration start = clock->Elapsed();
  absl::Duration shown = start;
  int64_t bytes = 0;
  while (!stop.stop_requested()) {
    MILLRACE_ASSIGN_OR_RETURN(const auto line, lines.Next());
    if (!line) break;
    bytes += static_cast<int64_t>(line->size());
    const int64_t number = lines.line_number();
    MILLRACE_RETURN_IF_ERROR(
        Annotate(producer.Send(shape.Record(*line),
                               [&tally, number](const StatusOr<Delivery>& delivery) {
                                 tally.Delivered(number, delivery);
                               },
                               {.sync = false, .stop = stop}),
                 fmt::format("line {}", number)));
    if (!progress.on() || clock->Elapsed() - shown < absl::Milliseconds(100)) continue;
    shown = clock->Elapsed();
    const double seconds = absl::ToDoubleSeconds(shown - start);
    progress.Show(fmt::format("{} records, {}/s", WithThousands(number),
                              Bytes10(static_cast<double>(bytes) / seconds)));
  }
  progress.Clear();
  return absl::OkStatus();
}

void Report(Context& context, const std::string& topic, const Tally& tally) {
  const auto by_partition = tally.by_partition();
  if (context.json) {
    JsonWriter json;
    json.BeginObject().Key("topic").Text(topic).Key("records").Number(tally.records());
    json.Key("partitions").BeginObject();
    for (const auto& [partition, count] : by_partition)
      json.Key(std::to_string(partition)).Number(count);
    json.End().End();
    context.out.Line(json.str());
  } else if (ProgressLine().on()) {
    PrintToStderr("{} records to {} partition{} of {}\n", WithThousands(tally.records()),
                  by_partition.size(), by_partition.size() == 1 ? "" : "s", topic);
  }
}

Status Produce(Context& context, const ProduceArguments& arguments) {
  MILLRACE_ASSIGN_OR_RETURN(const Shape shape, ShapeOf(arguments, Clock::Real()->Now()));
  MILLRACE_ASSIGN_OR_RETURN(const Compression compression, ParseCompression(arguments.compression));
  MILLRACE_ASSIGN_OR_RETURN(const Acks acks, ParseAcks(arguments.acks));
  const std::stop_token stop = StopOnSignals({SIGINT, SIGTERM});
  MILLRACE_ASSIGN_OR_RETURN(LineReader lines, LineReader::Open(arguments.file, stop));
  MILLRACE_ASSIGN_OR_RETURN(
      Broker broker, OpenBroker(context, arguments.create ? Access::kCreate : Access::kWrite));
  const Client client = broker.client();
  if (arguments.create)
    MILLRACE_RETURN_IF_ERROR(client.admin().CreateTopic(arguments.topic, {}, OnExists::kKeep));
  // Before somebody types a line, and where there is none.
  MILLRACE_RETURN_IF_ERROR(client.admin().DescribeTopic(arguments.topic).status());

  Tally tally;  // outlives the producer, whose callbacks write to it
  MILLRACE_ASSIGN_OR_RETURN(Producer producer, client.NewProducer({.acks = acks,
                                                                   .idempotent = acks == Acks::kAll,
                                                                   .linger = absl::Milliseconds(5),
                                                                   .compression = compression}));
  const Status sent = SendLines(lines, shape, producer, tally, stop);
  // What was accepted before an error or a signal is written all the same.
  Status finished = producer.Flush();
  if (finished.ok()) finished = producer.Close(absl::Seconds(30));
  Report(context, arguments.topic, tally);
  const Status closed = broker.Close(absl::Seconds(30));
  if (const Status failed = tally.error(); !failed.ok()) return failed;
  for (const Status& status : {sent, finished, closed}) MILLRACE_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace

void AddProduceCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<ProduceArguments>();
  CLI::App* produce =
      app.add_subcommand("produce", "Append lines of standard input or of a file as records");
  produce->add_option("topic", arguments->topic, "Where to")->required()->type_name("TOPIC");
  produce->add_option("--file,-f", arguments->file, "Read this file instead of standard input")
      ->type_name("FILE");
  produce
      ->add_option("--key-separator,-K", arguments->key_separator,
                   "What stands before it is the key; \\t and the like are understood")
      ->type_name("TEXT");
  produce
      ->add_option("--null-marker,-Z", arguments->null_marker,
                   "A key, value or header value that is just this is null (a null value is a "
                   "tombstone)")
      ->type_name("TEXT");
  produce->add_option("--header,-H", arguments->headers, "A header for every record; repeatable")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  produce->add_option("--partition,-p", arguments->partition, "Only to this partition")
      ->type_name("N");
  produce->add_option("--compression,-z", arguments->compression, "none, gzip, snappy, lz4 or zstd")
      ->capture_default_str()
      ->type_name("CODEC");
  produce->add_option("--acks", arguments->acks, "all (durable), 1 or 0")
      ->capture_default_str()
      ->type_name("ACKS");
  produce
      ->add_option("--timestamp", arguments->timestamp, "Of every record; the clock's if not given")
      ->type_name("TIME");
  produce->add_flag("--create", arguments->create,
                    "Create the topic, with one partition, if need be");
  produce->footer(R"(Examples:
  seq 10 | millrace --dir data produce orders
  printf 'alice\t2 x tea\nbob\t-\n' | millrace --dir data produce orders -K '\t' -Z -
  millrace --dir data produce orders --file orders.txt --compression zstd -H source=import)");
  produce->callback([&context, arguments] {
    context.run = [&context, arguments] { return Produce(context, *arguments); };
  });
}

}  // namespace millrace::cli
