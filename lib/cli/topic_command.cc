#include <algorithm>
#include <memory>
#include <numeric>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/context.h"
#include "cli/json.h"
#include "cli/parse.h"

namespace millrace::cli {
namespace {

struct TopicArguments {
  std::string name;
  std::vector<std::string> names;
  int32_t partitions = 1;
  std::vector<std::string> config, unset;
  std::string retention, retention_bytes;
  bool if_missing = false, if_exists = false, internal = false, all_config = false;
};
using Arguments = std::shared_ptr<TopicArguments>;

// --retention and --retention-bytes are other words for two of the configs.
StatusOr<std::map<std::string, std::string>> ConfigOf(const TopicArguments& arguments) {
  std::vector<std::string> words = arguments.config;
  if (arguments.retention == "forever") {
    words.push_back("retention.ms=-1");
  } else if (!arguments.retention.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const absl::Duration time, ParseDuration(arguments.retention));
    words.push_back(fmt::format("retention.ms={}", absl::ToInt64Milliseconds(time)));
  }
  if (!arguments.retention_bytes.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const int64_t bytes, ParseByteCount(arguments.retention_bytes));
    words.push_back(fmt::format("retention.bytes={}", bytes));
  }
  return ParseAssignments(words);
}

Status Create(Context& context, const TopicArguments& arguments) {
  MILLRACE_ASSIGN_OR_RETURN(auto config, ConfigOf(arguments));
  MILLRACE_ASSIGN_OR_RETURN(Broker broker, OpenBroker(context, Access::kCreate));
  Admin admin = broker.client().admin();
  MILLRACE_RETURN_IF_ERROR(admin.CreateTopic(
      arguments.name, {.partitions = arguments.partitions, .config = std::move(config)},
      arguments.if_missing ? OnExists::kKeep : OnExists::kFail));
  MILLRACE_ASSIGN_OR_RETURN(const TopicInfo topic, admin.DescribeTopic(arguments.name));
  if (context.json) {
    JsonWriter json;
    json.BeginObject().Key("topic").Text(topic.name).Key("id").Text(topic.id);
    json.Key("partitions").Number(static_cast<int64_t>(topic.partitions.size())).End();
    context.out.Line(json.str());
  }
  return broker.Close();
}

// Of the first partition that cannot be opened.
Status FirstFailure(const TopicInfo& topic) {
  for (const PartitionInfo& partition : topic.partitions)
    MILLRACE_RETURN_IF_ERROR(partition.status);
  return absl::OkStatus();
}

struct Totals {
  int64_t records = 0;
  int64_t bytes = 0;
};
Totals TotalsOf(const TopicInfo& topic) {
  Totals totals;
  for (const PartitionInfo& partition : topic.partitions) {
    totals.records += partition.end - partition.begin;
    if (partition.status.ok()) totals.bytes += partition.bytes_on_disk;
  }
  return totals;
}

Status List(Context& context, const TopicArguments& arguments) {
  MILLRACE_ASSIGN_OR_RETURN(Broker broker, OpenBroker(context, Access::kRead));
  Admin admin = broker.client().admin();
  MILLRACE_ASSIGN_OR_RETURN(const auto names, admin.ListTopics(arguments.internal));
  Table table({"TOPIC", "PARTITIONS", "RECORDS", "BYTES"});
  JsonWriter json;
  json.BeginArray();
  Status failure;
  for (const std::string& name : names) {
    MILLRACE_ASSIGN_OR_RETURN(const TopicInfo topic, admin.DescribeTopic(name));
    failure.Update(FirstFailure(topic));
    const Totals totals = TotalsOf(topic);
    const auto partitions = static_cast<int64_t>(topic.partitions.size());
    table.Row({name, std::to_string(partitions), WithThousands(totals.records),
               WithThousands(totals.bytes)});
    json.BeginObject().Key("topic").Text(name).Key("internal").Bool(topic.internal);
    json.Key("partitions").Number(partitions).Key("records").Number(totals.records);
    json.Key("bytes").Number(totals.bytes).End();
  }
  json.End();
  if (context.json) context.out.Line(json.str());
  if (!context.json && !names.empty()) context.out.Write(table.Text());
  failure.Update(broker.Close());
  return failure;
}

void PrintTopic(Context& context, const TopicInfo& topic,
                const std::vector<TopicConfigInfo>& config, bool all_config) {
  const Totals totals = TotalsOf(topic);
  context.out.Line(fmt::format("{}: {} partition{}, {} records, {}, id {}", topic.name,
                               topic.partitions.size(), topic.partitions.size() == 1 ? "" : "s",
                               WithThousands(totals.records),
                               Bytes10(static_cast<double>(totals.bytes)), topic.id));
  Table partitions({"PARTITION", "BEGIN", "END", "RECORDS", "BYTES", "LEADER EPOCH"});
  for (const PartitionInfo& partition : topic.partitions) {
    const auto known = [&](std::string text) { return partition.status.ok() ? text : "-"; };
    partitions.Row({std::to_string(partition.id), known(std::to_string(partition.begin)),
                    known(std::to_string(partition.end)),
                    known(WithThousands(partition.end - partition.begin)),
                    known(WithThousands(partition.bytes_on_disk)),
                    std::to_string(partition.leader_epoch)});
  }
  context.out.Write(partitions.Text());
  Table configs({"CONFIG", "VALUE", "SOURCE", "DEFAULT"});
  bool any = false;
  for (const TopicConfigInfo& entry : config) {
    if (entry.source == "built-in" && !all_config) continue;
    any = true;
    configs.Row({entry.name, entry.value, entry.source, entry.default_value});
  }
  if (any) context.out.Write(configs.Text());
}

void TopicAsJson(JsonWriter& json, const TopicInfo& topic,
                 const std::vector<TopicConfigInfo>& config) {
  json.BeginObject().Key("topic").Text(topic.name).Key("id").Text(topic.id);
  json.Key("internal").Bool(topic.internal).Key("partitions").BeginArray();
  for (const PartitionInfo& partition : topic.partitions) {
    json.BeginObject().Key("partition").Number(partition.id);
    json.Key("leader_epoch").Number(partition.leader_epoch);
    if (partition.status.ok()) {
      json.Key("begin").Number(partition.begin).Key("end").Number(partition.end);
      json.Key("bytes").Number(partition.bytes_on_disk).End();
    } else {
      const absl::string_view why = partition.status.message();
      json.Key("begin").Null().Key("end").Null().Key("bytes").Null();
      json.Key("error").Text({why.data(), why.size()}).End();
    }
  }
  json.End().Key("config").BeginArray();
  for (const TopicConfigInfo& entry : config) {
    json.BeginObject().Key("name").Text(entry.name).Key("value").Text(entry.value);
    json.Key("source").Text(entry.source).Key("default").Text(entry.default_value).End();
  }
  json.End().End();
}

Status Describe(Context& context, const TopicArguments& arguments) {
  MILLRACE_ASSIGN_OR_RETURN(Broker broker, OpenBroker(context, Access::kRead));
  Admin admin = broker.client().admin();
  std::vector<std::string> names = arguments.names;
  if (names.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(names, admin.ListTopics(arguments.internal));
  }
  JsonWriter json;
  json.BeginArray();
  Status failure;
  for (const std::string& name : names) {
    MILLRACE_ASSIGN_OR_RETURN(const TopicInfo topic, admin.DescribeTopic(name));
    failure.Update(FirstFailure(topic));
    MILLRACE_ASSIGN_OR_RETURN(const auto config, admin.DescribeTopicConfig(name));
    if (context.json) {
      TopicAsJson(json, topic, config);
    } else {
      if (&name != &names.front()) context.out.Line("");
      PrintTopic(context, topic, config, arguments.all_config);
    }
  }
  json.End();
  if (context.json) context.out.Line(json.str());
  failure.Update(broker.Close());
  return failure;
}

Status Alter(Context& context, const TopicArguments& arguments, bool add_partitions) {
  MILLRACE_ASSIGN_OR_RETURN(const auto config, ConfigOf(arguments));
  std::map<std::string, std::optional<std::string>> changes(config.begin(), config.end());
  for (const std::string& name : arguments.unset) {
    if (!changes.emplace(name, std::nullopt).second)
      return UsageError(fmt::format("{} is both set and unset", name));
  }
  if (changes.empty() && !add_partitions)
    return UsageError("nothing to alter: give --partitions, --config, --retention or --unset");
  MILLRACE_ASSIGN_OR_RETURN(Broker broker, OpenBroker(context, Access::kWrite));
  Admin admin = broker.client().admin();
  if (!changes.empty())
    MILLRACE_RETURN_IF_ERROR(admin.SetTopicConfig(arguments.name, std::move(changes)));
  if (add_partitions)
    MILLRACE_RETURN_IF_ERROR(admin.AddPartitions(arguments.name, arguments.partitions));
  return broker.Close();
}

Status Delete(Context& context, const TopicArguments& arguments) {
  MILLRACE_ASSIGN_OR_RETURN(Broker broker, OpenBroker(context, Access::kWrite));
  Admin admin = broker.client().admin();
  for (const std::string& name : arguments.names) {
    const Status deleted = admin.DeleteTopic(name);
    if (!(arguments.if_exists && absl::IsNotFound(deleted))) MILLRACE_RETURN_IF_ERROR(deleted);
  }
  return broker.Close();
}

void AddConfigOptions(CLI::App* command, const Arguments& arguments) {
  command
      ->add_option("--config,-c", arguments->config,
                   "A topic config by Kafka's name, as segment.bytes=1048576; may be repeated")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  command->add_option("--retention", arguments->retention, "Keep records so long: 7d, 12h, forever")
      ->type_name("TIME");
  command
      ->add_option("--retention-bytes", arguments->retention_bytes,
                   "Keep so many bytes a partition: 512m, 10g")
      ->type_name("BYTES");
}

void AddCreate(CLI::App& topic, Context& context) {
  auto arguments = std::make_shared<TopicArguments>();
  CLI::App* create = topic.add_subcommand("create", "Create a topic, and the directory if need be");
  create->add_option("topic", arguments->name, "Its name")->required()->type_name("TOPIC");
  create->add_option("--partitions,-p", arguments->partitions, "How many partitions")
      ->capture_default_str()
      ->type_name("N");
  AddConfigOptions(create, arguments);
  create->add_flag("--if-not-exists", arguments->if_missing, "No error when it exists");
  create->footer(
      "Example:\n  millrace --dir data topic create orders --partitions 4 --retention 7d");
  create->callback([&context, arguments] {
    context.run = [&context, arguments] { return Create(context, *arguments); };
  });
}

void AddListAndDescribe(CLI::App& topic, Context& context) {
  auto listed = std::make_shared<TopicArguments>();
  CLI::App* list = topic.add_subcommand("list", "List the topics");
  list->add_flag("--internal", listed->internal, "Internal topics too");
  list->callback(
      [&context, listed] { context.run = [&context, listed] { return List(context, *listed); }; });

  auto described = std::make_shared<TopicArguments>();
  CLI::App* describe =
      topic.add_subcommand("describe", "Show partitions, offsets and configuration of topics");
  describe->add_option("topics", described->names, "Which; none: all")->type_name("TOPIC...");
  describe->add_flag("--internal", described->internal, "Internal topics too, when all are shown");
  describe->add_flag("--all-config", described->all_config,
                     "Every config, not only what differs from the built-in default");
  describe->callback([&context, described] {
    context.run = [&context, described] { return Describe(context, *described); };
  });
}

void AddAlterAndDelete(CLI::App& topic, Context& context) {
  auto altered = std::make_shared<TopicArguments>();
  CLI::App* alter = topic.add_subcommand("alter", "Change configuration, or add partitions");
  alter->add_option("topic", altered->name, "Its name")->required()->type_name("TOPIC");
  CLI::Option* partitions =
      alter->add_option("--partitions,-p", altered->partitions, "So many partitions in all")
          ->type_name("N");
  AddConfigOptions(alter, altered);
  alter->add_option("--unset", altered->unset, "A config that goes back to its default")
      ->type_name("NAME")
      ->allow_extra_args(false);
  alter->footer("Example:\n  millrace --dir data topic alter orders --config retention.ms=3600000");
  alter->callback([&context, altered, partitions] {
    const bool add_partitions = partitions->count() > 0;
    context.run = [&context, altered, add_partitions] {
      return Alter(context, *altered, add_partitions);
    };
  });

  auto deleted = std::make_shared<TopicArguments>();
  CLI::App* remove = topic.add_subcommand("delete", "Delete topics and their records");
  remove->add_option("topics", deleted->names, "Which")->required()->type_name("TOPIC...");
  remove->add_flag("--if-exists", deleted->if_exists, "No error for one that does not exist");
  remove->callback([&context, deleted] {
    context.run = [&context, deleted] { return Delete(context, *deleted); };
  });
}

}  // namespace

void AddTopicCommands(CLI::App& app, Context& context) {
  CLI::App* topic = app.add_subcommand("topic", "Create, list, describe, alter, delete topics");
  topic->require_subcommand(1);
  topic->fallthrough();
  AddCreate(*topic, context);
  AddListAndDescribe(*topic, context);
  AddAlterAndDelete(*topic, context);
}

}  // namespace millrace::cli
