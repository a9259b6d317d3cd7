#include "harness/check/edn_writer.h"

#include <iterator>

#include <fmt/format.h>

namespace millrace::check {
namespace {

void AppendText(std::string_view name, const std::string& text, std::string* line) {
  if (text.empty()) return;
  *line += fmt::format(", {} \"", name);
  for (const char c : text) {
    if (c == '"' || c == '\\') *line += '\\';
    *line += c;
  }
  *line += '"';
}

void AppendOffsets(const std::vector<OffsetOf>& offsets, std::string* line) {
  *line += '{';
  for (const OffsetOf& entry : offsets) *line += fmt::format("{} {} ", entry.key, entry.offset);
  if (!offsets.empty()) line->pop_back();
  *line += '}';
}

void AppendItem(const Item& item, std::string* line) {
  if (item.offset < 0) {
    *line += fmt::format("[nil {}]", item.value);
  } else {
    *line += fmt::format("[{} {}]", item.offset, item.value);
  }
}

// {0 [[offset value] ...], ...}
void AppendReads(const Op& op, const Step& step, std::string* line) {
  *line += '{';
  for (uint32_t i = step.first; i < step.first + step.count; ++i) {
    const Item& item = op.items[i];
    const bool same_key = i > step.first && op.items[i - 1].key == item.key;
    if (!same_key) *line += fmt::format("{}{} [", i > step.first ? "], " : "", item.key);
    if (same_key) *line += ' ';
    AppendItem(item, line);
  }
  *line += step.count == 0 ? "}" : "]}";
}

}  // namespace

void EdnWriter::WriteStep(const Op& op, const Step& step, std::string* line) const {
  if (step.is_send) {
    const Item& item = op.items[step.first];
    *line += fmt::format("[:send {} ", item.key);
    if (op.type == OpType::kInvoke) {
      *line += fmt::format("{}]", item.value);
    } else {
      AppendItem(item, line);
      *line += ']';
    }
  } else if (op.type == OpType::kInvoke) {
    *line += "[:poll]";
  } else {
    *line += "[:poll ";
    AppendReads(op, step, line);
    *line += ']';
  }
}

void EdnWriter::WriteValue(const Op& op, std::string* line) const {
  switch (op.kind) {
    case OpKind::kSend:
    case OpKind::kPoll:
    case OpKind::kTxn:
      *line += '[';
      for (size_t i = 0; i < op.steps.size(); ++i) {
        if (i > 0) *line += ' ';
        WriteStep(op, op.steps[i], line);
      }
      *line += ']';
      if (!op.offsets.empty()) {
        *line += ", :offsets ";
        AppendOffsets(op.offsets, line);
      }
      return;
    case OpKind::kAssign:
      *line += '[';
      for (size_t i = 0; i < op.offsets.size(); ++i) {
        *line += fmt::format("{}{}", i > 0 ? " " : "", op.offsets[i].key);
      }
      *line += ']';
      if (!op.seeks.empty()) {
        *line += ", :seek ";
        AppendOffsets(op.seeks, line);
      }
      return;
    case OpKind::kSubscribe: {
      // Jepsen subscribes to partitions: to all of the topic, as far as the history knows them.
      *line += '[';
      for (size_t key = 0; key < names_.size(); ++key) {
        const std::string& name = names_.NameOf(static_cast<int32_t>(key));
        for (const std::string& topic : op.topics) {
          if (name.substr(0, name.rfind('-')) == topic) *line += fmt::format("{} ", key);
        }
      }
      if (line->back() == ' ') line->pop_back();
      *line += ']';
      return;
    }
    case OpKind::kReplica:
      AppendReads(op, op.steps.empty() ? Step{} : op.steps.front(), line);
      return;
    default:
      AppendOffsets(op.offsets, line);
      return;
  }
}

void EdnWriter::Write(const Op& op) {
  const bool foreign = op.kind == OpKind::kNote || op.kind == OpKind::kCreateTopic ||
                       op.kind == OpKind::kDeleteTopic || op.kind == OpKind::kTopics;
  if (op.type == OpType::kAck || foreign) return;
  std::string line = fmt::format("{{:index {}, ", index_++);
  if (op.time_ns >= 0) line += fmt::format(":time {}, ", op.time_ns);
  line += fmt::format(":type :{}, :process {}, :f :{}, :value ", NameOf(op.type), op.process,
                      NameOf(op.kind));
  WriteValue(op, &line);
  AppendText(":group", op.group, &line);
  AppendText(":producer", op.producer, &line);
  if (op.epoch >= 0) line += fmt::format(", :epoch {}", op.epoch);
  if (op.kind == OpKind::kReplica) line += fmt::format(", :node {}", op.node);
  if (!op.rebalanced.empty()) {
    line += ", :rebalance-log [{:keys [";
    for (const int32_t key : op.rebalanced) line += fmt::format("{} ", key);
    line.back() = ']';
    line += "}]";
  }
  line += "}\n";
  out_ << line;
}

void EdnWriter::Finish() {
  for (size_t key = 0; key < names_.size(); ++key) {
    out_ << fmt::format("; {} is {}\n", key, names_.NameOf(static_cast<int32_t>(key)));
  }
}

}  // namespace millrace::check
