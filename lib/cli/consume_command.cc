#include <algorithm>
#include <csignal>
#include <memory>
#include <set>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/errors.h"
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

// Prints the records of consumers until the end, a count or a signal. Commits only what has been
// handed to standard output.
class RecordPrinter {
 public:
  // Borrows what it is given.
  RecordPrinter(Context& context, const ConsumeArguments& arguments, RecordFormat format,
                std::stop_token stop)
      : context_(context),
        arguments_(arguments),
        format_(std::move(format)),
        stop_(std::move(stop)) {}

  // Prints what `consumer` reads, up to `ends` of its partitions; without ends for as long as this.
  Status Run(Consumer& consumer, const std::optional<OffsetMap>& ends,
             absl::Duration limit = absl::InfiniteDuration()) {
    const Status printed = Loop(consumer, ends, clock_->Elapsed() + limit);
    NotePositions(consumer);
    // After an error, too: what was printed is not wanted again.
    const Status committed = Commit(consumer);
    return printed.ok() ? committed : printed;
  }

  // Those of the partitions that can be opened; of the others it is said why not.
  std::vector<PartitionInfo> Readable(const std::string& topic,
                                      std::vector<PartitionInfo> partitions) {
    std::erase_if(partitions, [&](const PartitionInfo& partition) {
      if (failed_.contains({topic, partition.id})) return true;
      if (!partition.status.ok()) NoteFailure({topic, partition.id}, partition.status);
      return !partition.status.ok();
    });
    return partitions;
  }

  // OK, unless some partition could not be read to its end.
  Status outcome() const {
    if (failed_.empty()) return absl::OkStatus();
    return MakeError(ErrorIdOf(first_failure_),
                     fmt::format("{} partition{} could not be read to the end", failed_.size(),
                                 failed_.size() == 1 ? "" : "s"));
  }

  // A count, a signal or a reader that went away (`| head`) has ended it for good.
  bool finished() const {
    return stop_.stop_requested() || (arguments_.count && printed_ >= *arguments_.count) ||
           context_.out.ReaderGone();
  }

 private:
  Status Loop(Consumer& consumer, const std::optional<OffsetMap>& ends, absl::Duration until) {
    while (!finished() && !(ends && AtEnd(consumer, *ends))) {
      const absl::Duration left = until - clock_->Elapsed();
      if (left <= absl::ZeroDuration()) break;
      const absl::Duration wait = ends ? absl::Milliseconds(50) : absl::Seconds(1);
      StatusOr<RecordBatch> batch = consumer.Poll(std::min(wait, left), stop_);
      if (absl::IsCancelled(batch.status())) break;
      if (!batch.ok()) {
        MILLRACE_RETURN_IF_ERROR(GoOnAfter(batch.status()));
        continue;
      }
      MILLRACE_RETURN_IF_ERROR(Print(*batch));
      if (clock_->Elapsed() - committed_at_ >= kCommitInterval)
        MILLRACE_RETURN_IF_ERROR(Commit(consumer));
    }
    return absl::OkStatus();
  }

  void NoteFailure(const TopicPartition& partition, const Status& status) {
    if (!failed_.insert(partition).second) return;
    first_failure_.Update(status);
    PrintError(status, context_.json);
  }

  // A partition that cannot be read rests, and the others go on. Other errors come back.
  Status GoOnAfter(const Status& status) {
    const auto detail = DetailOf(status);
    if (!detail || detail->fatal || detail->partition < 0) return status;
    NoteFailure({detail->topic, detail->partition}, status);
    return absl::OkStatus();
  }

  bool AtEnd(const Consumer& consumer, const OffsetMap& ends) const {
    const auto assigned = consumer.assignment();
    return !assigned.empty() &&
           std::all_of(assigned.begin(), assigned.end(), [&](const TopicPartition& partition) {
             const auto end = ends.find(partition);
             const std::optional<Offset> position = consumer.position(partition);
             return end == ends.end() || failed_.contains(partition) ||
                    (position && *position >= end->second);
           });
  }

  Status Print(const RecordBatch& batch) {
    constexpr size_t kWriteBytes = 64 << 10;
    OffsetMap next;
    for (const auto& slice : batch.slices()) {
      seen_.insert(slice.partition);
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

  // A group that begins at the end has its place from then on, also where nothing came yet.
  void NotePositions(const Consumer& consumer) {
    if (arguments_.group.empty() || arguments_.from != "end") return;
    for (const TopicPartition& partition : consumer.assignment()) {
      const std::optional<Offset> position = consumer.position(partition);
      if (position && !seen_.contains(partition)) printed_up_to_[partition] = *position;
    }
  }

  void WriteText() {
    context_.out.Write(text_);
    text_.clear();
  }

  Status Commit(Consumer& consumer) {
    committed_at_ = clock_->Elapsed();
    if (arguments_.group.empty() || printed_up_to_.empty()) return absl::OkStatus();
    MILLRACE_RETURN_IF_ERROR(consumer.Commit(printed_up_to_));
    printed_up_to_.clear();
    return absl::OkStatus();
  }

  Context& context_;
  const ConsumeArguments& arguments_;
  const RecordFormat format_;
  const std::stop_token stop_;
  const std::shared_ptr<Clock> clock_ = Clock::Real();
  absl::Duration committed_at_ = clock_->Elapsed();
  int64_t printed_ = 0;
  std::string text_;
  OffsetMap printed_up_to_;        // since the last commit
  std::set<TopicPartition> seen_;  // that something was read of
  std::set<TopicPartition> failed_;
  Status first_failure_;
};

StatusOr<RecordFormat> FormatOf(const ConsumeArguments& arguments, bool json) {
  if (json && (arguments.format || arguments.key_separator))
    return UsageError("--json prints all of a record: --format and --key-separator are for text");
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
    PrintToStderr("millrace: warning: {}-{} holds [{}, {}): beginning at {}, not at {}\n", topic,
                  partition.id, partition.begin, partition.end, offset, wanted);
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

OffsetMap EndsOf(const std::string& topic, const std::vector<PartitionInfo>& partitions) {
  OffsetMap ends;
  for (const PartitionInfo& partition : partitions) ends[{topic, partition.id}] = partition.end;
  return ends;
}

ConsumerOptions CommonOptions() {
  ConsumerOptions options;
  options.commits = Commits::kManual;
  options.max_poll_records = 5000;
  return options;
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

Status ConsumeAsMember(Context& context, const ConsumeArguments& arguments, const StartPoint& start,
                       RecordPrinter& printer) {
  MILLRACE_ASSIGN_OR_RETURN(Broker broker, OpenBroker(context, Access::kWrite));
  const Client client = broker.client();
  MILLRACE_ASSIGN_OR_RETURN(const TopicInfo topic, client.admin().DescribeTopic(arguments.topic));
  ConsumerOptions options = CommonOptions();
  options.group = arguments.group;
  options.topics = {arguments.topic};
  options.start_from =
      start.kind == StartPoint::Kind::kEnd ? StartFrom::kLatest : StartFrom::kEarliest;
  MILLRACE_ASSIGN_OR_RETURN(Consumer consumer, client.NewConsumer(std::move(options)));
  std::optional<OffsetMap> ends;
  if (arguments.exit_at_end) ends = EndsOf(arguments.topic, topic.partitions);

  const Status printed = printer.Run(consumer, ends);
  const Status left = consumer.Close(kCloseTimeout);
  const Status closed = broker.Close(kCloseTimeout);
  for (const Status& status : {printed, left, closed}) MILLRACE_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

Status Assign(const std::string& topic, const std::vector<PartitionInfo>& partitions,
              Consumer& consumer) {
  std::vector<TopicPartition> names;
  for (const PartitionInfo& partition : partitions) names.push_back({topic, partition.id});
  return consumer.Assign(std::move(names));
}

// Reads beside whoever writes; partitions that are added meanwhile are read from their beginning.
Status ConsumeAlone(Context& context, const ConsumeArguments& arguments, const StartPoint& start,
                    RecordPrinter& printer) {
  constexpr absl::Duration kLookForPartitions = absl::Seconds(1);
  MILLRACE_ASSIGN_OR_RETURN(Broker broker, OpenBroker(context, Access::kRead));
  const Client client = broker.client();
  MILLRACE_ASSIGN_OR_RETURN(const TopicInfo topic, client.admin().DescribeTopic(arguments.topic));
  MILLRACE_ASSIGN_OR_RETURN(auto partitions, PartitionsOf(arguments, topic));
  partitions = printer.Readable(arguments.topic, std::move(partitions));
  if (partitions.empty()) return printer.outcome();
  const OffsetMap ends = EndsOf(arguments.topic, partitions);
  MILLRACE_ASSIGN_OR_RETURN(Consumer consumer, client.NewConsumer(CommonOptions()));
  MILLRACE_RETURN_IF_ERROR(Assign(arguments.topic, partitions, consumer));
  MILLRACE_RETURN_IF_ERROR(SeekTo(start, arguments.topic, partitions, consumer));
  if (arguments.exit_at_end) {
    MILLRACE_RETURN_IF_ERROR(printer.Run(consumer, ends));
  } else {
    while (!printer.finished()) {
      MILLRACE_RETURN_IF_ERROR(printer.Run(consumer, std::nullopt, kLookForPartitions));
      MILLRACE_ASSIGN_OR_RETURN(const TopicInfo now, client.admin().DescribeTopic(arguments.topic));
      MILLRACE_ASSIGN_OR_RETURN(auto wanted, PartitionsOf(arguments, now));
      wanted = printer.Readable(arguments.topic, std::move(wanted));
      MILLRACE_RETURN_IF_ERROR(Assign(arguments.topic, wanted, consumer));
    }
  }
  return broker.Close(kCloseTimeout);
}

Status Consume(Context& context, const ConsumeArguments& arguments) {
  MILLRACE_ASSIGN_OR_RETURN(const StartPoint start,
                            ParseStartPoint(arguments.from, Clock::Real()->Now()));
  MILLRACE_ASSIGN_OR_RETURN(RecordFormat format, FormatOf(arguments, context.json));
  MILLRACE_RETURN_IF_ERROR(CheckGroupArguments(arguments, start));
  if (arguments.count.value_or(0) < 0)
    return UsageError(fmt::format("--count {}: wants a number of records", *arguments.count));
  const std::stop_token stop = StopOnSignals({SIGINT, SIGTERM});
  RecordPrinter printer(context, arguments, std::move(format), stop);
  MILLRACE_RETURN_IF_ERROR(arguments.group.empty()
                               ? ConsumeAlone(context, arguments, start, printer)
                               : ConsumeAsMember(context, arguments, start, printer));
  return printer.outcome();
}

constexpr char kExamples[] =
    R"(Without --group nothing is committed, and another process may have the directory open.

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
      ->type_name("N")
      ->allow_extra_args(false);
  consume
      ->add_option("--group,-g", arguments->group,
                   "Read as a member of this group: begin where it was, commit what was printed")
      ->type_name("GROUP");
  consume->add_flag("--exit,-e", arguments->exit_at_end,
                    "Stop at what was the end when the command began");
  consume->add_option("--count,-c", arguments->count, "Stop after so many records")->type_name("N");
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
