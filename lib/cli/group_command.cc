#include <algorithm>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/context.h"
#include "cli/json.h"
#include "cli/parse.h"
#include "millrace/env.h"

namespace millrace::cli {
namespace {

struct GroupArguments {
  std::vector<std::string> groups;
  std::string group;
  std::vector<std::string> topics;
  bool to_earliest = false, to_latest = false, execute = false;
  std::optional<int64_t> to_offset, shift_by;
  std::string to_time;
};

Status List(Context& context) {
  MILLRACE_ASSIGN_OR_RETURN(Broker broker, OpenBroker(context, Access::kRead));
  Admin admin = broker.client().admin();
  MILLRACE_ASSIGN_OR_RETURN(const auto names, admin.ListGroups());
  Table table({"GROUP", "STATE", "MEMBERS", "LAG"});
  JsonWriter json;
  json.BeginArray();
  for (const std::string& name : names) {
    MILLRACE_ASSIGN_OR_RETURN(const GroupInfo group, admin.DescribeGroup(name));
    int64_t lag = 0;
    for (const auto& [partition, records] : group.lag) lag += records;
    const auto members = static_cast<int64_t>(group.members.size());
    table.Row({name, group.state, std::to_string(members), WithThousands(lag)});
    json.BeginObject().Key("group").Text(name).Key("state").Text(group.state);
    json.Key("members").Number(members).Key("lag").Number(lag).End();
  }
  json.End();
  if (context.json) context.out.Line(json.str());
  if (!context.json && !names.empty()) context.out.Write(table.Text());
  return broker.Close();
}

void PrintGroup(Context& context, const GroupInfo& group) {
  context.out.Line(fmt::format("{}: {}, {} member{}", group.name, group.state, group.members.size(),
                               group.members.size() == 1 ? "" : "s"));
  Table table({"TOPIC", "PARTITION", "COMMITTED", "LAG"});
  for (const auto& [partition, offset] : group.committed) {
    const auto lag = group.lag.find(partition);
    table.Row({partition.topic, std::to_string(partition.partition), std::to_string(offset),
               lag == group.lag.end() ? "-" : WithThousands(lag->second)});
  }
  if (!group.committed.empty()) context.out.Write(table.Text());
}

void GroupAsJson(JsonWriter& json, const GroupInfo& group) {
  json.BeginObject().Key("group").Text(group.name).Key("state").Text(group.state);
  json.Key("kind").Text(group.kind).Key("protocol").Text(group.protocol);
  json.Key("members").BeginArray();
  for (const MemberInfo& member : group.members) {
    json.BeginObject().Key("id").Text(member.id).Key("instance_id").Text(member.instance_id);
    json.Key("client_id").Text(member.client_id).Key("assignment").BeginArray();
    for (const TopicPartition& partition : member.assignment) {
      json.BeginObject().Key("topic").Text(partition.topic);
      json.Key("partition").Number(partition.partition).End();
    }
    json.End().End();
  }
  json.End().Key("offsets").BeginArray();
  for (const auto& [partition, offset] : group.committed) {
    json.BeginObject().Key("topic").Text(partition.topic);
    json.Key("partition").Number(partition.partition).Key("committed").Number(offset);
    const auto lag = group.lag.find(partition);
    if (lag != group.lag.end()) json.Key("lag").Number(lag->second);
    json.End();
  }
  json.End().End();
}

Status Describe(Context& context, const GroupArguments& arguments) {
  MILLRACE_ASSIGN_OR_RETURN(Broker broker, OpenBroker(context, Access::kRead));
  Admin admin = broker.client().admin();
  std::vector<std::string> names = arguments.groups;
  if (names.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(names, admin.ListGroups());
  }
  JsonWriter json;
  json.BeginArray();
  for (const std::string& name : names) {
    MILLRACE_ASSIGN_OR_RETURN(const GroupInfo group, admin.DescribeGroup(name));
    if (context.json) {
      GroupAsJson(json, group);
    } else {
      if (&name != &names.front()) context.out.Line("");
      PrintGroup(context, group);
    }
  }
  json.End();
  if (context.json) context.out.Line(json.str());
  return broker.Close();
}

// The partitions that `texts` (TOPIC or TOPIC:0,3) mean; of TOPIC alone those in `committed`.
StatusOr<std::vector<TopicPartition>> CommittedPartitions(const std::vector<std::string>& texts,
                                                          const OffsetMap& committed) {
  std::vector<TopicPartition> partitions;
  for (const std::string& text : texts) {
    MILLRACE_ASSIGN_OR_RETURN(const TopicSelection selection, ParseTopicSelection(text));
    for (const int32_t id : selection.partitions) partitions.push_back({selection.topic, id});
    if (!selection.partitions.empty()) continue;
    for (const auto& [partition, offset] : committed)
      if (partition.topic == selection.topic) partitions.push_back(partition);
  }
  return partitions;
}

Status Delete(Context& context, const GroupArguments& arguments) {
  MILLRACE_ASSIGN_OR_RETURN(Broker broker, OpenBroker(context, Access::kWrite));
  Admin admin = broker.client().admin();
  for (const std::string& name : arguments.groups) {
    if (arguments.topics.empty()) {
      MILLRACE_RETURN_IF_ERROR(admin.DeleteGroup(name));
      continue;
    }
    MILLRACE_ASSIGN_OR_RETURN(const GroupInfo group, admin.DescribeGroup(name));
    MILLRACE_ASSIGN_OR_RETURN(const auto partitions,
                              CommittedPartitions(arguments.topics, group.committed));
    if (partitions.empty())
      return UsageError(fmt::format("{} has no committed offsets of these topics", name));
    MILLRACE_RETURN_IF_ERROR(admin.DeleteGroupOffsets(name, partitions));
  }
  return broker.Close();
}

// Where one partition of the group is, and where it is to go.
struct Move {
  TopicPartition partition;
  std::optional<Offset> from;
  Offset begin = 0, end = 0, to = 0;
};

// The partitions that a reset is about: those of --topic, or all that the group has committed.
StatusOr<std::vector<Move>> PlanMoves(const GroupArguments& arguments, Admin& admin,
                                      const OffsetMap& committed) {
  std::vector<TopicSelection> selections;
  for (const std::string& text : arguments.topics) {
    MILLRACE_ASSIGN_OR_RETURN(TopicSelection selection, ParseTopicSelection(text));
    selections.push_back(std::move(selection));
  }
  if (arguments.topics.empty()) {
    for (const auto& [partition, offset] : committed) {
      if (selections.empty() || selections.back().topic != partition.topic)
        selections.push_back({partition.topic, {}});
      selections.back().partitions.push_back(partition.partition);
    }
  }
  std::vector<Move> moves;
  for (const TopicSelection& selection : selections) {
    MILLRACE_ASSIGN_OR_RETURN(const TopicInfo topic, admin.DescribeTopic(selection.topic));
    for (const PartitionInfo& partition : topic.partitions) {
      const auto& wanted = selection.partitions;
      if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), partition.id) == wanted.end())
        continue;
      Move move{.partition = {selection.topic, partition.id},
                .from = std::nullopt,
                .begin = partition.begin,
                .end = partition.end,
                .to = 0};
      const auto found = committed.find(move.partition);
      if (found != committed.end()) move.from = found->second;
      moves.push_back(std::move(move));
    }
    for (const int32_t id : selection.partitions) {
      if (id >= static_cast<int32_t>(topic.partitions.size())) {
        return UsageError(fmt::format("{} has no partition {}: it has {}, numbered from 0",
                                      selection.topic, id, topic.partitions.size()));
      }
    }
  }
  return moves;
}

Status SetTargets(const GroupArguments& arguments, const Client& client, std::vector<Move>& moves) {
  std::map<TopicPartition, OffsetAndTime> found;
  if (!arguments.to_time.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const absl::Time time,
                              ParseTime(arguments.to_time, Clock::Real()->Now()));
    std::map<TopicPartition, absl::Time> when;
    for (const Move& move : moves) when[move.partition] = time;
    MILLRACE_ASSIGN_OR_RETURN(Consumer consumer, client.NewConsumer());
    MILLRACE_ASSIGN_OR_RETURN(found, consumer.OffsetsForTimes(when));
  }
  for (Move& move : moves) {
    Offset to = arguments.to_earliest ? move.begin : move.end;
    if (arguments.to_offset) to = *arguments.to_offset;
    if (arguments.shift_by) {
      constexpr int64_t kFar = int64_t{1} << 62;  // beyond every log, and far from overflow
      to = move.from.value_or(move.begin) + std::clamp(*arguments.shift_by, -kFar, kFar);
    }
    if (!arguments.to_time.empty()) {
      const auto at = found.find(move.partition);
      // No record so late: the end, as Kafka's tool does it.
      to = at == found.end() || at->second.offset < 0 ? move.end : at->second.offset;
    }
    move.to = std::clamp(to, move.begin, move.end);
  }
  return absl::OkStatus();
}

void PrintMoves(Context& context, const std::string& group, const std::vector<Move>& moves,
                bool executed) {
  Table table({"TOPIC", "PARTITION", "COMMITTED", "NEW"});
  JsonWriter json;
  json.BeginObject().Key("group").Text(group).Key("executed").Bool(executed);
  json.Key("offsets").BeginArray();
  for (const Move& move : moves) {
    table.Row({move.partition.topic, std::to_string(move.partition.partition),
               move.from ? std::to_string(*move.from) : "-", std::to_string(move.to)});
    json.BeginObject().Key("topic").Text(move.partition.topic);
    json.Key("partition").Number(move.partition.partition).Key("committed");
    move.from ? json.Number(*move.from) : json.Null();
    json.Key("new").Number(move.to).End();
  }
  json.End().End();
  if (context.json) return context.out.Line(json.str());
  context.out.Write(table.Text());
  if (!executed) PrintToStderr("millrace: nothing was changed: add --execute to do it\n");
}

Status Reset(Context& context, const GroupArguments& arguments) {
  const int targets = int{arguments.to_earliest} + int{arguments.to_latest} +
                      int{arguments.to_offset.has_value()} + int{arguments.shift_by.has_value()} +
                      int{!arguments.to_time.empty()};
  if (targets != 1) {
    return UsageError(
        "give exactly one of --to-earliest, --to-latest, --to-offset, --to-time, --shift-by");
  }
  MILLRACE_ASSIGN_OR_RETURN(
      Broker broker, OpenBroker(context, arguments.execute ? Access::kWrite : Access::kRead));
  const Client client = broker.client();
  Admin admin = client.admin();
  const StatusOr<GroupInfo> group = admin.DescribeGroup(arguments.group);
  // A group may get positions before it is first used, but then somebody must say of which topics.
  if (!group.ok() && !(absl::IsNotFound(group.status()) && !arguments.topics.empty()))
    return group.status();
  const OffsetMap committed = group.ok() ? group->committed : OffsetMap();
  MILLRACE_ASSIGN_OR_RETURN(std::vector<Move> moves, PlanMoves(arguments, admin, committed));
  if (moves.empty())
    return UsageError(fmt::format("{} has no committed offsets: give --topic", arguments.group));
  MILLRACE_RETURN_IF_ERROR(SetTargets(arguments, client, moves));
  if (arguments.execute) {
    OffsetMap next;
    for (const Move& move : moves) next[move.partition] = move.to;
    MILLRACE_RETURN_IF_ERROR(admin.AlterGroupOffsets(arguments.group, next));
  }
  PrintMoves(context, arguments.group, moves, arguments.execute);
  return broker.Close();
}

void AddListDescribeDelete(CLI::App& group, Context& context) {
  CLI::App* list = group.add_subcommand("list", "List the groups");
  list->callback([&context] { context.run = [&context] { return List(context); }; });

  auto described = std::make_shared<GroupArguments>();
  CLI::App* describe =
      group.add_subcommand("describe", "Show committed offsets, lag and members of groups");
  describe->add_option("groups", described->groups, "Which; none: all")->type_name("GROUP...");
  describe->callback([&context, described] {
    context.run = [&context, described] { return Describe(context, *described); };
  });

  auto deleted = std::make_shared<GroupArguments>();
  CLI::App* remove = group.add_subcommand("delete", "Delete groups and their committed offsets");
  remove->add_option("groups", deleted->groups, "Which")->required()->type_name("GROUP...");
  remove
      ->add_option("--topic,-t", deleted->topics,
                   "Only the offsets of TOPIC or TOPIC:0,3; the group stays; repeatable")
      ->type_name("TOPIC")
      ->allow_extra_args(false);
  remove->callback([&context, deleted] {
    context.run = [&context, deleted] { return Delete(context, *deleted); };
  });
}

void AddReset(CLI::App& group, Context& context) {
  auto arguments = std::make_shared<GroupArguments>();
  CLI::App* reset = group.add_subcommand("reset", "Move where a group goes on reading");
  reset->add_option("group", arguments->group, "Which")->required()->type_name("GROUP");
  reset
      ->add_option("--topic,-t", arguments->topics,
                   "TOPIC or TOPIC:0,3; repeatable; none: all that the group has committed")
      ->type_name("TOPIC")
      ->allow_extra_args(false);
  reset->add_flag("--to-earliest", arguments->to_earliest, "To the first record kept");
  reset->add_flag("--to-latest", arguments->to_latest, "To the end");
  reset->add_option("--to-offset", arguments->to_offset, "To this offset")->type_name("OFFSET");
  reset->add_option("--to-time", arguments->to_time, "To the first record at or after this time")
      ->type_name("TIME");
  reset->add_option("--shift-by", arguments->shift_by, "So many records on, or back when negative")
      ->type_name("N");
  reset->add_flag("--execute", arguments->execute, "Do it; without, only show what would be done");
  reset->footer(
      R"(As with Kafka's tool nothing changes without --execute, the group must have no members, and an offset
outside of the log is moved to its nearest end.

Examples:
  millrace --dir data group reset billing --to-earliest
  millrace --dir data group reset billing --topic orders:0 --to-time 2026-01-31T12:00:00Z --execute)");
  reset->callback([&context, arguments] {
    context.run = [&context, arguments] { return Reset(context, *arguments); };
  });
}

}  // namespace

void AddGroupCommands(CLI::App& app, Context& context) {
  CLI::App* group = app.add_subcommand("group", "List, describe, reset, delete consumer groups");
  group->require_subcommand(1);
  group->fallthrough();
  AddListDescribeDelete(*group, context);
  AddReset(*group, context);
}

}  // namespace millrace::cli
