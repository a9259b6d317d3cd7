#include "harness/check/history.h"

#include <array>
#include <utility>

#include <fmt/format.h>

namespace millrace::check {
namespace {

constexpr std::pair<OpType, std::string_view> kTypes[] = {
    {OpType::kInvoke, "invoke"}, {OpType::kAck, "ack"},   {OpType::kOk, "ok"},
    {OpType::kFail, "fail"},     {OpType::kInfo, "info"},
};
constexpr std::pair<OpKind, std::string_view> kKinds[] = {
    {OpKind::kSend, "send"},
    {OpKind::kPoll, "poll"},
    {OpKind::kTxn, "txn"},
    {OpKind::kAssign, "assign"},
    {OpKind::kSeek, "seek"},
    {OpKind::kSubscribe, "subscribe"},
    {OpKind::kCommit, "commit"},
    {OpKind::kCommitted, "committed"},
    {OpKind::kInit, "init"},
    {OpKind::kFinal, "final"},
    {OpKind::kTrim, "trim"},
    {OpKind::kReplica, "replica"},
    {OpKind::kCreateTopic, "create-topic"},
    {OpKind::kDeleteTopic, "delete-topic"},
    {OpKind::kTopics, "topics"},
    {OpKind::kNote, "note"},
};

template <typename E, size_t kCount>
bool Lookup(const std::pair<E, std::string_view> (&table)[kCount], std::string_view name, E* out) {
  for (const auto& [value, text] : table) {
    if (text == name) {
      *out = value;
      return true;
    }
  }
  return false;
}

// Reads the members of one line into an Op. `value` may stand before `f` decides what it means, so
// it is remembered and read last.
class OpParser {
 public:
  OpParser(Names& names, Op* op) : names_(names), op_(*op) {}

  bool Parse(std::string_view line, std::string* error) {
    JsonReader in(line);
    if (ReadMembers(in, line) && (in.AtEnd() || in.Fail("something follows the object"))) {
      if (!has_type_ || !has_kind_) in.Fail("an op needs \"type\" and \"f\"");
    }
    *error = in.error();
    if (!in.ok()) return false;
    if (value_.empty()) return true;
    JsonReader value(value_);
    if (!ReadValue(value)) *error = fmt::format("in \"value\": {}", value.error());
    return value.ok();
  }

 private:
  bool ReadMembers(JsonReader& in, std::string_view line) {
    std::string_view name;
    for (in.BeginObject(); in.NextMember(&name);) ReadMember(in, line, name);
    return in.ok();
  }

  bool ReadMember(JsonReader& in, std::string_view line, std::string_view name) {
    std::string_view text;
    if (name == "value") return TakeValue(in, line);
    if (name == "type") {
      has_type_ = true;
      return in.ReadString(&text) &&
             (Lookup(kTypes, text, &op_.type) || in.Fail("no such \"type\""));
    }
    if (name == "f") {
      has_kind_ = true;
      return in.ReadString(&text) && (Lookup(kKinds, text, &op_.kind) || in.Fail("no such \"f\""));
    }
    if (name == "process") return in.ReadInt(&op_.process);
    if (name == "time") return in.ReadInt(&op_.time_ns);
    if (name == "epoch") return in.ReadInt(&op_.epoch);
    if (name == "node") return in.ReadInt(&op_.node);
    if (name == "crashed") return in.ReadBool(&op_.crashed);
    if (name == "group") return ReadText(in, &op_.group);
    if (name == "producer") return ReadText(in, &op_.producer);
    if (name == "text") return ReadText(in, &op_.note);
    if (name == "offsets") return ReadOffsets(in, &op_.offsets);
    if (name == "seek") return ReadOffsets(in, &op_.seeks);
    if (name == "hw") return ReadOffsets(in, &op_.high_watermarks);
    if (name == "lso") return ReadOffsets(in, &op_.last_stable_offsets);
    if (name == "rebalanced")
      return ReadKeys(in, [this](int32_t key) { op_.rebalanced.push_back(key); });
    return in.Skip();  // a field of a later version
  }

  bool TakeValue(JsonReader& in, std::string_view line) {
    in.Peek();
    const size_t begin = in.position();
    if (!in.Skip()) return false;
    value_ = line.substr(begin, in.position() - begin);
    return true;
  }

  bool ReadValue(JsonReader& in) {
    if (in.Peek() == 'n') return in.ReadNull();
    switch (op_.kind) {
      case OpKind::kSend:
      case OpKind::kPoll:
      case OpKind::kTxn:
        for (in.BeginArray(); in.NextElement();) ReadStep(in);
        return in.ok();
      case OpKind::kAssign:
        return ReadKeys(in, [this](int32_t key) { op_.offsets.push_back({key, -1}); });
      case OpKind::kSubscribe:
      case OpKind::kCreateTopic:
      case OpKind::kDeleteTopic:
      case OpKind::kTopics:
        return ReadTopics(in);
      case OpKind::kSeek:
      case OpKind::kCommit:
      case OpKind::kCommitted:
      case OpKind::kFinal:
      case OpKind::kTrim:
        return ReadOffsets(in, &op_.offsets);
      case OpKind::kReplica:
        op_.AddPoll();
        return ReadReads(in);
      case OpKind::kInit:
      case OpKind::kNote:
        return in.Skip();
    }
    return false;
  }

  // ["send", key, value] or ["send", key, [offset, value, hash]]; ["poll"] or ["poll", reads]
  bool ReadStep(JsonReader& in) {
    std::string_view word;
    if (!in.BeginArray() || !in.NextElement() || !in.ReadString(&word)) return NotAStep(in);
    if (word == "send") {
      Item item;
      if (!in.NextElement() || !ReadKey(in, &item.key) || !in.NextElement()) return NotAStep(in);
      if (!(in.Peek() == '[' ? ReadItem(in, &item) : in.ReadInt(&item.value))) return false;
      op_.AddSend(item);
    } else if (word == "poll") {
      op_.AddPoll();
      if (!in.NextElement()) return in.ok();
      if (!ReadReads(in)) return false;
    } else {
      return NotAStep(in);
    }
    return !in.NextElement() ? in.ok() : in.Fail("the step is too long");
  }
  static bool NotAStep(JsonReader& in) {
    return in.Fail(R"(wanted ["send", partition, value] or ["poll", reads])");
  }

  // [offset, value] or [offset, value, hash]; the offset may be null
  bool ReadItem(JsonReader& in, Item* item) {
    if (!in.BeginArray() || !in.NextElement()) return in.Fail("wanted [offset, value]");
    if (!(in.Peek() == 'n' ? in.ReadNull() : in.ReadInt(&item->offset))) return false;
    if (!in.NextElement() || !in.ReadInt(&item->value)) return in.Fail("wanted [offset, value]");
    if (!in.NextElement()) return in.ok();
    int64_t hash = 0;  // written as a signed number: JSON readers often know no other
    if (!in.ReadInt(&hash)) return false;
    item->hash = static_cast<uint64_t>(hash);
    return !in.NextElement() ? in.ok() : in.Fail("wanted [offset, value, hash]");
  }

  bool ReadReads(JsonReader& in) {
    std::string_view name;
    for (in.BeginObject(); in.NextMember(&name);) {
      Item item;
      item.key = names_.IdOf(name);
      for (in.BeginArray(); in.NextElement();) {
        item.offset = -1;
        item.hash = 0;
        if (ReadItem(in, &item)) op_.AddRead(item);
      }
    }
    return in.ok();
  }

  bool ReadOffsets(JsonReader& in, std::vector<OffsetOf>* out) {
    std::string_view name;
    for (in.BeginObject(); in.NextMember(&name);) {
      OffsetOf entry{names_.IdOf(name), 0};
      if (in.ReadInt(&entry.offset)) out->push_back(entry);
    }
    return in.ok();
  }

  template <typename Add>
  bool ReadKeys(JsonReader& in, Add add) {
    for (in.BeginArray(); in.NextElement();) {
      int32_t key = 0;
      if (ReadKey(in, &key)) add(key);
    }
    return in.ok();
  }
  bool ReadTopics(JsonReader& in) {
    for (in.BeginArray(); in.NextElement();) {
      ReadText(in, &op_.topics.emplace_back());
    }
    return in.ok();
  }
  bool ReadKey(JsonReader& in, int32_t* key) {
    std::string_view name;
    if (!in.ReadString(&name)) return false;
    *key = names_.IdOf(name);
    return true;
  }
  static bool ReadText(JsonReader& in, std::string* out) {
    std::string_view text;
    if (!in.ReadString(&text)) return false;
    *out = text;
    return true;
  }

  Names& names_;
  Op& op_;
  std::string_view value_;
  bool has_type_ = false;
  bool has_kind_ = false;
};

// Writes the parts of a line, each with its comma.
class OpRenderer {
 public:
  OpRenderer(const Names& names, std::string* out) : names_(names), out_(*out) {}

  void Render(const Op& op) {
    Format(R"({{"process":{},"type":"{}","f":"{}")", op.process, NameOf(op.type), NameOf(op.kind));
    if (op.time_ns >= 0) Format(R"(,"time":{})", op.time_ns);
    if (op.crashed) out_ += R"(,"crashed":true)";
    RenderText("group", op.group);
    RenderText("producer", op.producer);
    if (op.epoch >= 0) Format(R"(,"epoch":{})", op.epoch);
    RenderText("text", op.note);
    if (op.kind == OpKind::kReplica) Format(R"(,"node":{})", op.node);
    RenderValue(op);
    if (!op.seeks.empty()) RenderOffsets(",\"seek\":", op.seeks);
    if (!op.high_watermarks.empty()) RenderOffsets(",\"hw\":", op.high_watermarks);
    if (!op.last_stable_offsets.empty()) RenderOffsets(",\"lso\":", op.last_stable_offsets);
    if (!op.rebalanced.empty()) {
      RenderList(",\"rebalanced\":", op.rebalanced,
                 [this](int32_t key) { Quote(names_.NameOf(key)); });
    }
    out_ += "}\n";
  }

 private:
  template <typename... Args>
  void Format(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }

  void Quote(std::string_view text) {
    out_ += '"';
    for (const char c : text) {
      if (c == '"' || c == '\\') {
        out_ += '\\';
        out_ += c;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        Format("\\u{:04x}", static_cast<int>(c));
      } else {
        out_ += c;
      }
    }
    out_ += '"';
  }
  void RenderText(std::string_view name, const std::string& text) {
    if (text.empty()) return;
    Format(R"(,"{}":)", name);
    Quote(text);
  }
  template <typename List, typename RenderOne>
  void RenderList(std::string_view before, const List& list, RenderOne render) {
    out_ += before;
    char separator = '[';
    for (const auto& element : list) {
      out_ += separator;
      separator = ',';
      render(element);
    }
    out_ += separator == '[' ? "[]" : "]";
  }
  void RenderOffsets(std::string_view before, const std::vector<OffsetOf>& offsets) {
    out_ += before;
    char separator = '{';
    for (const OffsetOf& entry : offsets) {
      out_ += separator;
      separator = ',';
      Quote(names_.NameOf(entry.key));
      Format(":{}", entry.offset);
    }
    out_ += separator == '{' ? "{}" : "}";
  }

  void RenderValue(const Op& op) {
    switch (op.kind) {
      case OpKind::kSend:
      case OpKind::kPoll:
      case OpKind::kTxn:
        RenderList(",\"value\":", op.steps, [&](const Step& step) { RenderStep(op, step); });
        if (!op.offsets.empty()) RenderOffsets(",\"offsets\":", op.offsets);
        return;
      case OpKind::kAssign:
        RenderList(",\"value\":", op.offsets,
                   [this](const OffsetOf& entry) { Quote(names_.NameOf(entry.key)); });
        return;
      case OpKind::kSubscribe:
      case OpKind::kCreateTopic:
      case OpKind::kDeleteTopic:
      case OpKind::kTopics:
        RenderList(",\"value\":", op.topics, [this](const std::string& topic) { Quote(topic); });
        return;
      case OpKind::kReplica:
        out_ += ",\"value\":";
        RenderReads(op, op.steps.empty() ? Step{} : op.steps.front());
        return;
      case OpKind::kInit:
      case OpKind::kNote:
        return;
      default:
        RenderOffsets(",\"value\":", op.offsets);
        return;
    }
  }

  void RenderStep(const Op& op, const Step& step) {
    if (step.is_send) {
      const Item& item = op.items[step.first];
      out_ += R"(["send",)";
      Quote(names_.NameOf(item.key));
      out_ += ',';
      RenderItem(item);
    } else {
      out_ += R"(["poll")";
      if (op.type != OpType::kInvoke) {
        out_ += ',';
        RenderReads(op, step);
      }
    }
    out_ += ']';
  }
  void RenderItem(const Item& item) {
    if (item.offset < 0) {
      Format("[null,{}", item.value);
    } else {
      Format("[{},{}", item.offset, item.value);
    }
    if (item.hash != 0) Format(",{}", static_cast<int64_t>(item.hash));
    out_ += ']';
  }
  // {"orders-0":[[offset,value],...],...}: records of one partition lie next to each other.
  void RenderReads(const Op& op, const Step& step) {
    out_ += '{';
    for (uint32_t i = step.first; i < step.first + step.count; ++i) {
      const Item& item = op.items[i];
      const bool same_key = i > step.first && op.items[i - 1].key == item.key;
      if (!same_key) {
        if (i > step.first) out_ += "],";
        Quote(names_.NameOf(item.key));
        out_ += ":[";
      } else {
        out_ += ',';
      }
      RenderItem(item);
    }
    out_ += step.count == 0 ? "}" : "]}";
  }

  const Names& names_;
  std::string& out_;
};

}  // namespace

std::string_view NameOf(OpType type) { return kTypes[static_cast<size_t>(type)].second; }

std::string_view NameOf(OpKind kind) {
  for (const auto& [value, text] : kKinds) {
    if (value == kind) return text;
  }
  return "";
}

int32_t Names::IdOf(std::string_view name) {
  const auto found = ids_.find(name);
  if (found != ids_.end()) return found->second;
  const auto id = static_cast<int32_t>(names_.size());
  ids_.emplace(names_.emplace_back(name), id);
  return id;
}

void Op::AddSend(Item item) {
  steps.push_back({true, static_cast<uint32_t>(items.size()), 1});
  items.push_back(item);
}

void Op::AddRead(Item item) {
  items.push_back(item);
  ++steps.back().count;
}

bool ParseOp(std::string_view line, Names& names, Op* op, std::string* error) {
  op->Clear();
  return OpParser(names, op).Parse(line, error);
}

void AppendJson(const Op& op, const Names& names, std::string* out) {
  OpRenderer(names, out).Render(op);
}

}  // namespace millrace::check
