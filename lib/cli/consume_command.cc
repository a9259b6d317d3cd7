#include <algorithm>
#include <csignal>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/context.h"
#include "cli/parse.h"
#include "cli/record_format.h"
#include "millrace/env.h"
#include "millrace/run.h"

namespace millrace::cli {
namespace {

constexpr absl::Duration kCommitInterval = absl::Seconds(1);
constexpr absl::Duration kCloseTimeout = absl::Seconds(30);

struct ConsumeArguments {
  std::string topic, group, from = "beginning";
  std::vector<int32_t> partitions;
  std::optional<std::string> format, key_separator;
  std::string null_text;
  std::optional<int64_t> count;
  bool exit_at_end = false;
};

// Prints the records of a consumer until the end, a count or a signal. Commits only what has been
// handed to standard output.
class RecordPrinter {
 public:
  // Borrows everything until Run returns. `ends`: where exit_at_end stops, a partition.
  RecordPrinter(Context& context, const ConsumeArguments& arguments, Consumer& consumer,
                RecordFormat format, OffsetMap ends)
      : context_(context),
        arguments_(arguments),
        consumer_(consumer),
        format_(std::move(format)),
        ends_(std::move(ends)) {}

  Status Run(const std::stop_token& stop) {
    const Status printed = Loop(stop);
    // After an error, too: what was printed is not wanted again.
    const Status committed = Commit();
    return printed.ok() ? committed : printed;
  }

 private:
  Status Loop(const std::stop_token& stop) {
    const absl::Duration wait =
        arguments_.exit_at_end ? absl::Milliseconds(50) : absl::InfiniteDuration();
    while (!Done()) {
      StatusOr<RecordBatch> batch = consumer_.Poll(wait, stop);
      if (absl::IsCancelled(batch.status())) break;
      if (!batch.ok()) return batch.status();
      MILLRACE_RETURN_IF_ERROR(Print(*batch));
      if (clock_->Elapsed() - committed_at_ >= kCommitInterval) MILLRACE_RETURN_IF_ERROR(Commit());
    }
    return absl::OkStatus();
  }

  bool Done() const {
    if (arguments_.count && printed_ >= *arguments_.count) return true;
    if (!arguments_.exit_at_end) return false;
    const auto assigned = consumer_.assignment();
    return !assigned.empty() &&
           std::all_of(assigned.begin(), assigned.end(), [this](const TopicPartition& partition) {
             const auto end = ends_.find(partition);
             const std::optional<Offset> position = consumer_.position(partition);
             return end == ends_.end() || (position && *position >= end->second);
           });
  }

  Status Print(const RecordBatch& batch) {
    constexpr size_t kWriteBytes = 64 << 10;
    OffsetMap next;
    for (const auto& slice : batch.slices()) {
      for (const RecordView& record : slice) {
        if (arguments_.count && printed_ >= *arguments_.count) break;
        ++printed_;
        next[slice.partition] = record.offset() + 1;
        if (context_.json) {
          text_ += RecordAsJson(record);
          text_ += '\n';
        } else {
          format_.Append(record, arguments_.null_text, &text_);
        }
        if (text_.size() >= kWriteBytes) WriteText();
      }
    }
    WriteText();
    MILLRACE_RETURN_IF_ERROR(context_.out.Flush());
    for (const auto& [partition, offset] : next) printed_up_to_[partition] = offset;
    return absl::OkStatus();
  }

  void WriteText() {
    context_.out.Write(text_);
    text_.clear();
  }

  Status Commit() {
    committed_at_ = clock_->Elapsed();
    if (arguments_.group.empty() || printed_up_to_.empty()) return absl::OkStatus();
    MILLRACE_RETURN_IF_ERROR(consumer_.Commit(printed_up_to_));
    printed_up_to_.clear();
    return absl::OkStatus();
  }

  Context& context_;
  const ConsumeArguments& arguments_;
  Consumer& consumer_;
  const RecordFormat format_;
  const OffsetMap ends_;
  const std::shared_ptr<Clock> clock_ = Clock::Real();
  absl::Duration committed_at_ = clock_->Elapsed();
  int64_t printed_ = 0;
  std::string text_;
  OffsetMap printed_up_to_;  // since the last commit
};

StatusOr<RecordFormat> FormatOf(const ConsumeArguments& arguments) {
  if (arguments.format && arguments.key_separator)
    return UsageError("--format and --key-separator exclude each other");
  if (arguments.format) return RecordFormat::Parse(*arguments.format);
  if (!arguments.key_separator) return RecordFormat::Parse("%s\\n");
  std::string literal;
  for (const char c : *arguments.key_separator) literal += c == '%' ? "%%" : std::string(1, c);
  return RecordFormat::Parse(fmt::format("%k{}%s\\n", literal));
}

// The partitions to read without a group, with the range of each.
StatusOr<std::vector<PartitionInfo>> PartitionsOf(const ConsumeArguments& arguments,
                                                  const TopicInfo& topic) {
  if (arguments.partitions.empty()) return topic.partitions;
  std::vector<PartitionInfo> chosen;
  for (const int32_t id : arguments.partitions) {
    const auto found =
        std::find_if(topic.partitions.begin(), topic.partitions.end(),
                     [id](const PartitionInfo& partition) { return partition.id == id; });
    if (found == topic.partitions.end()) {
      return UsageError(fmt::format("{} has no partition {}: it has {}, numbered from 0",
                                    topic.name, id, topic.partitions.size()));
    }
    chosen.push_back(*found);
  }
  return chosen;
}

// An offset in the partition; one outside is moved to the nearest end, and that is said.
Offset Within(const PartitionInfo& partition, const std::string& topic, Offset wanted) {
  const Offset offset = std::clamp(wanted, partition.begin, partition.end);
  if (offset != wanted) {
    fmt::print(stderr, "millrace: warning: {}-{} holds [{}, {}): beginning at {}, not at {}\n",
               topic, partition.id, partition.begin, partition.end, offset, wanted);
  }
  return offset;
}

Status SeekTo(const StartPoint& start, const std::string& topic,
              const std::vector<PartitionInfo>& partitions, Consumer& consumer) {
  if (start.kind == StartPoint::Kind::kTime) return consumer.SeekToTime(start.time);
  for (const PartitionInfo& partition : partitions) {
    Offset next = partition.begin;
    if (start.kind == StartPoint::Kind::kEnd) next = partition.end;
    if (start.kind == StartPoint::Kind::kOffset) next = Within(partition, topic, start.offset);
    if (start.kind == StartPoint::Kind::kTail)
      next = std::max(partition.begin, partition.end - std::min(start.offset, partition.end));
    MILLRACE_RETURN_IF_ERROR(consumer.Seek({topic, partition.id}, next));
  }
  return absl::OkStatus();
}

StatusOr<Consumer> OpenConsumer(const ConsumeArguments& arguments, const StartPoint& start,
                                const std::vector<PartitionInfo>& partitions,
                                const Client& client) {
  ConsumerOptions options;
  options.group = arguments.group;
  options.commits = Commits::kManual;
  options.start_from =
      start.kind == StartPoint::Kind::kEnd ? StartFrom::kLatest : StartFrom::kEarliest;
  options.max_poll_records = 5000;
  if (!arguments.group.empty()) {
    options.topics = {arguments.topic};
    return client.NewConsumer(std::move(options));
  }
  MILLRACE_ASSIGN_OR_RETURN(Consumer consumer, client.NewConsumer(std::move(options)));
  std::vector<TopicPartition> assigned;
  for (const PartitionInfo& partition : partitions)
    assigned.push_back({arguments.topic, partition.id});
  MILLRACE_RETURN_IF_ERROR(consumer.Assign(std::move(assigned)));
  MILLRACE_RETURN_IF_ERROR(SeekTo(start, arguments.topic, partitions, consumer));
  return consumer;
}

Status CheckGroupArguments(const ConsumeArguments& arguments, const StartPoint& start) {
  if (arguments.group.empty()) return absl::OkStatus();
  if (!arguments.partitions.empty())
    return UsageError("--partition and --group exclude each other: a group assigns partitions");
  if (start.kind != StartPoint::Kind::kBeginning && start.kind != StartPoint::Kind::kEnd) {
    return UsageError(fmt::format(
        "a group goes on where it was: --from beginning or end says where it begins the "
        "first time; to move it, run 'millrace group reset {}'",
        arguments.group));
  }
  return absl::OkStatus();
}

Status Consume(Context& context, const ConsumeArguments& arguments) {
  MILLRACE_ASSIGN_OR_RETURN(const StartPoint start,
                            ParseStartPoint(arguments.from, Clock::Real()->Now()));
  MILLRACE_ASSIGN_OR_RETURN(RecordFormat format, FormatOf(arguments));
  MILLRACE_RETURN_IF_ERROR(CheckGroupArguments(arguments, start));
  const std::stop_token stop = StopOnSignals({SIGINT, SIGTERM});
  MILLRACE_ASSIGN_OR_RETURN(
      Broker broker, OpenBroker(context, arguments.group.empty() ? Access::kRead : Access::kWrite));
  const Client client = broker.client();
  MILLRACE_ASSIGN_OR_RETURN(const TopicInfo topic, client.admin().DescribeTopic(arguments.topic));
  MILLRACE_ASSIGN_OR_RETURN(const auto partitions, PartitionsOf(arguments, topic));
  OffsetMap ends;
  for (const PartitionInfo& partition : partitions)
    ends[{arguments.topic, partition.id}] = partition.end;
  MILLRACE_ASSIGN_OR_RETURN(Consumer consumer, OpenConsumer(arguments, start, partitions, client));

  const Status printed =
      RecordPrinter(context, arguments, consumer, std::move(format), std::move(ends)).Run(stop);
  const Status left = consumer.Close(kCloseTimeout);
  const Status closed = broker.Close(kCloseTimeout);
  for (const Status& status : {printed, left, closed}) MILLRACE_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

constexpr char kExamples[] = R"(
Without --group nothing is committed, and another process may have the directory open.

Tokens of --format:
  %s value    %S its length (-1: null)   %R its length as 4 bytes, big endian
  %k key      %K its length (-1: null)   %T timestamp in ms   %h headers
  %t topic    %p partition               %o offset            %% percent sign

Examples:
  millrace --dir data consume orders --from beginning -e
  millrace --dir data consume orders --from -3 -e            the last 3 of each partition
  millrace --dir data consume orders --from 15m -e           since a quarter of an hour ago
  millrace --dir data consume orders --group billing -c 100
  millrace --dir data consume orders -e -f '%T %p:%o %k=%s [%h]\n'
  millrace --dir data consume orders -e --json | jq .value)";

}  // namespace

void AddConsumeCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<ConsumeArguments>();
  CLI::App* consume = app.add_subcommand("consume", "Print records, and go on as they come");
  consume->add_option("topic", arguments->topic, "What to read")->required()->type_name("TOPIC");
  consume
      ->add_option("--from,-o", arguments->from,
                   "beginning, end, an offset, -N (the last N), or a time; with --group only where "
                   "the group has no position yet")
      ->capture_default_str()
      ->type_name("WHERE");
  consume->add_option("--partition,-p", arguments->partitions, "Only this partition; repeatable")
      ->type_name("N");
  consume
      ->add_option("--group,-g", arguments->group,
                   "Read as a member of this group: begin where it was, commit what was printed")
      ->type_name("GROUP");
  consume->add_flag("--exit,-e", arguments->exit_at_end,
                    "Stop at what was the end when the command began");
  consume->add_option("--count,-c", arguments->count, "Stop after so many records")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N");
  consume
      ->add_option("--format,-f", arguments->format, "What to print of a record (default: %s\\n)")
      ->type_name("TEXT");
  consume
      ->add_option("--key-separator,-K", arguments->key_separator, "Print the key, this, the value")
      ->type_name("TEXT");
  consume->add_option("--null-marker,-Z", arguments->null_text, "Print this for null")
      ->type_name("TEXT");
  consume->footer(kExamples);
  consume->callback([&context, arguments] {
    context.run = [&context, arguments] { return Consume(context, *arguments); };
  });
}

}  // namespace millrace::cli
