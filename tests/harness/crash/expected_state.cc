#include "harness/crash/expected_state.h"

#include <algorithm>

#include "harness/crash/verification.h"

namespace millrace::harness {

using check::Item;
using check::OffsetOf;
using check::Op;
using check::OpKind;
using check::OpType;

namespace {

constexpr size_t kMaxProblems = 20;

}  // namespace

void ExpectedState::Note(std::string problem) {
  if (problems_.size() < kMaxProblems) problems_.push_back(std::move(problem));
}

template <typename... Args>
void ExpectedState::Wrong(fmt::format_string<Args...> format, Args&&... args) {
  ++wrong_;
  Note("WRONG: " + fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
void ExpectedState::Lost(fmt::format_string<Args...> format, Args&&... args) {
  ++lost_;
  Note("LOST: " + fmt::format(format, std::forward<Args>(args)...));
}

void ExpectedState::BeginRun(Durability durability, SteadyClock::duration loss_window) {
  durability_ = durability;
  loss_window_ = loss_window;
  reader_ = -1;
  subscribers_.clear();
  resume_at_.clear();
}

void ExpectedState::PowerWasCut() {
  if (!power_cut_at_) power_cut_at_ = SteadyClock::now();
}

void ExpectedState::Add(const Op& op) {
  if (op.type == OpType::kInvoke) return Invoke(op);
  if (op.type == OpType::kAck) return Acknowledge(op);
  if (op.type != OpType::kOk) return;
  switch (op.kind) {
    case OpKind::kSend:
      return Acknowledge(op);
    case OpKind::kAssign:
      reader_ = op.process;
      for (auto& [key, partition] : partitions_) partition.reading.clear();
      return;
    case OpKind::kPoll:
      for (const Item& item : op.items) {
        Partition& partition = At(item.key);
        if (op.process == reader_) partition.reading.push_back(item);
        partition.visible_end = std::max(partition.visible_end, item.offset + 1);
        if (durability_ != Durability::kSynced) continue;
        partition.durable_end = std::max(partition.durable_end, item.offset + 1);
      }
      return op.process == reader_ ? void() : SeeGroupPoll(op);
    case OpKind::kFinal:
      return JudgeReading(op);
    case OpKind::kSubscribe:
      subscribers_[op.process] = op.group;
      return;
    case OpKind::kCommit:
      for (const OffsetOf& entry : op.offsets) {
        CommittedOffset& committed = committed_[{op.group, entry.key}];
        committed.least = std::max(committed.least, entry.offset);
        committed.parted_at.reset();
      }
      return;
    case OpKind::kCommitted:
      return SeeCommitted(op);
    case OpKind::kTrim:
      for (const OffsetOf& entry : op.offsets) At(entry.key).log_start = entry.offset;
      return;
    case OpKind::kCreateTopic:
    case OpKind::kDeleteTopic:
      for (const std::string& topic : op.topics) {
        topics_[topic].must_exist = op.kind == OpKind::kCreateTopic;
        topics_[topic].may_exist = op.kind == OpKind::kCreateTopic;
      }
      return;
    case OpKind::kTopics:
      return SeeTopics(op);
    default:
      return;
  }
}

void ExpectedState::Invoke(const Op& op) {
  for (const Item& item : op.items) {
    Partition& partition = At(item.key);
    partition.unread_at[item.value] = partition.unread.size();
    partition.unread.push_back({.process = op.process, .value = item.value, .hash = item.hash});
  }
  for (const OffsetOf& entry : op.offsets) {
    if (op.kind == OpKind::kCommit) {
      CommittedOffset& committed = committed_[{op.group, entry.key}];
      committed.most = std::max(committed.most, entry.offset);
      committed.asked = true;
    } else if (op.kind == OpKind::kTrim) {
      int64_t& most = At(entry.key).log_start_most;
      most = std::max(most, entry.offset);
    }
  }
  for (const std::string& topic : op.topics) {
    if (op.kind == OpKind::kCreateTopic) topics_[topic].may_exist = true;
    if (op.kind == OpKind::kDeleteTopic) topics_[topic].must_exist = false;
  }
}

void ExpectedState::Acknowledge(const Op& op) {
  const auto now = SteadyClock::now();
  for (const Item& item : op.items) {
    Partition& partition = At(item.key);
    const auto found = partition.unread_at.find(item.value);
    if (found == partition.unread_at.end()) continue;
    Sent& sent = partition.unread[found->second];
    if (sent.offset >= 0 && item.offset >= 0 && sent.offset != item.offset) {
      Wrong("{}: value {} was acknowledged at offset {} and at {}", names_.NameOf(item.key),
            item.value, sent.offset, item.offset);
    }
    if (item.offset >= 0) sent.offset = item.offset;
    if (sent.acknowledged) continue;
    sent.acknowledged = true;
    if (durability_ == Durability::kSynced) sent.safe_from = now;
    if (durability_ == Durability::kInterval) sent.safe_from = now + loss_window_;
  }
}

// A member that is alone in its group must go on where the group had committed.
void ExpectedState::SeeGroupPoll(const Op& op) {
  const bool alone =
      std::count_if(subscribers_.begin(), subscribers_.end(),
                    [&](const auto& entry) { return entry.second == op.group; }) == 1;
  int32_t last_key = -1;
  for (const Item& item : op.items) {
    if (std::exchange(last_key, item.key) == item.key) continue;
    const auto resume = resume_at_.find({op.group, item.key});
    if (resume == resume_at_.end()) continue;
    if (alone && item.offset != resume->second) {
      Wrong("group {} resumes {} at offset {}, but had committed {}", op.group,
            names_.NameOf(item.key), item.offset, resume->second);
    }
    resume_at_.erase(resume);
  }
}

void ExpectedState::SeeCommitted(const Op& op) {
  for (const OffsetOf& entry : op.offsets) {
    CommittedOffset& committed = committed_[{op.group, entry.key}];
    if (entry.offset < committed.least) {
      Lost("group {}, {}: offset {} is committed, but {} was accepted", op.group,
           names_.NameOf(entry.key), entry.offset, committed.least);
    }
    // What the automatic group had read when it was cut short is not known to the last record.
    if (entry.offset > committed.most && op.group != kAutomatic) {
      Wrong("group {}, {}: offset {} is committed, but at most {} was asked for", op.group,
            names_.NameOf(entry.key), entry.offset, committed.most);
    }
    // A commit that nobody saw the end of, as none of the automatic group's is seen: another offset
    // says that it has happened, the same one says nothing.
    const bool asked = std::exchange(committed.asked, false) || op.group == kAutomatic;
    const bool same = std::exchange(committed.seen, entry.offset) == entry.offset;
    const bool unknown = committed.parted_at && same && asked;
    if (!same) committed.parted_at.reset();
    // The directory was recovered: what did not happen by now never will.
    committed.least = committed.most = entry.offset;
    const Partition& partition = At(entry.key);
    if (entry.offset > partition.end() || committed.parted_at) {
      committed.parted_at = std::min(committed.parted_at.value_or(entry.offset), partition.end());
      committed.least = *committed.parted_at;
    }
    if (!unknown)
      resume_at_[{op.group, entry.key}] = std::max(committed.least, partition.log_start);
  }
}

void ExpectedState::SeeTopics(const Op& op) {
  for (auto& [name, topic] : topics_) {
    const bool exists = std::count(op.topics.begin(), op.topics.end(), name) > 0;
    if (topic.must_exist && !exists) Lost("topic {} was created, but is not there", name);
    if (!topic.may_exist && exists) Wrong("topic {} was deleted, but is there", name);
    topic = {exists, exists};
    if (exists) continue;
    std::erase_if(partitions_, [&, topic_name = std::string_view(name)](const auto& entry) {
      const std::string_view partition = names_.NameOf(entry.first);
      return partition.substr(0, partition.rfind('-')) == topic_name;
    });
  }
  for (const std::string& name : op.topics) {
    if (!topics_.contains(name)) Wrong("topic {} is there, but nobody created it", name);
  }
}

void ExpectedState::JudgeReading(const Op& final) {
  for (const OffsetOf& entry : final.offsets) {
    Partition& partition = At(entry.key);
    int64_t start = 0;
    for (const OffsetOf& begin : final.seeks) {
      if (begin.key == entry.key) start = begin.offset;
    }
    JudgeBounds(entry.key, partition, start, entry.offset);
    JudgeOldRecords(entry.key, partition, start);
    JudgeSends(entry.key, partition, start, JudgeNewRecords(entry.key, partition));

    partition.log.clear();
    for (const Item& item : partition.reading) partition.log[item.offset] = item;
    partition.unread.clear();
    partition.unread_at.clear();
    partition.reading.clear();
    partition.log_start = partition.log_start_most = start;
    partition.visible_end = partition.durable_end = entry.offset;
  }
  power_cut_at_.reset();
  ++readings_;
}

void ExpectedState::JudgeBounds(int32_t key, const Partition& partition, int64_t start,
                                int64_t end) {
  const std::string& name = names_.NameOf(key);
  if (start < partition.log_start || start > partition.log_start_most) {
    Wrong("{}: the log starts at offset {}, but should between {} and {}", name, start,
          partition.log_start, partition.log_start_most);
  }
  const int64_t least_end = power_cut_at_ ? partition.durable_end : partition.visible_end;
  if (end < least_end)
    Lost("{}: a client has read up to {}, but the end is {}", name, least_end, end);
  // Nothing here writes control batches, and nothing compacts.
  int64_t expected = start;
  for (const Item& item : partition.reading) {
    if (item.offset != expected) Wrong("{}: offset {} follows {}", name, item.offset, expected - 1);
    expected = item.offset + 1;
  }
  if (expected != end) Wrong("{}: the records end at {}, the log at {}", name, expected, end);
}

void ExpectedState::JudgeOldRecords(int32_t key, const Partition& partition, int64_t start) {
  std::map<int64_t, const Item*> now;
  for (const Item& item : partition.reading) now[item.offset] = &item;
  for (const auto& [offset, item] : partition.log) {
    if (offset < start) continue;
    const auto found = now.find(offset);
    if (found == now.end()) {
      Lost("{}, offset {}: value {} was read before, and is gone", names_.NameOf(key), offset,
           item.value);
    } else if (found->second->value != item.value || found->second->hash != item.hash) {
      Wrong("{}, offset {}: value {} was read before, and now {} or other bytes",
            names_.NameOf(key), offset, item.value, found->second->value);
    }
  }
}

std::map<int64_t, int64_t> ExpectedState::JudgeNewRecords(int32_t key, const Partition& partition) {
  std::map<int64_t, int64_t> found;
  for (const Item& item : partition.reading) {
    if (partition.log.contains(item.offset)) continue;
    const auto place = partition.unread_at.find(item.value);
    if (place == partition.unread_at.end()) {
      Wrong("{}, offset {}: value {} was not sent here, or lies here twice", names_.NameOf(key),
            item.offset, item.value);
      continue;
    }
    const Sent& sent = partition.unread[place->second];
    if (!found.emplace(item.value, item.offset).second) {
      Wrong("{}, offset {}: value {} lies here twice", names_.NameOf(key), item.offset, item.value);
    }
    if (sent.hash != item.hash) {
      Wrong("{}, offset {}: value {} is not what was sent", names_.NameOf(key), item.offset,
            item.value);
    }
    if (sent.acknowledged && sent.offset >= 0 && sent.offset != item.offset) {
      Wrong("{}, offset {}: value {} was acknowledged at offset {}", names_.NameOf(key),
            item.offset, item.value, sent.offset);
    }
  }
  return found;
}

void ExpectedState::JudgeSends(int32_t key, const Partition& partition, int64_t start,
                               const std::map<int64_t, int64_t>& found) {
  struct Progress {
    int64_t last_offset = -1;
    bool ended = false;  // a record is not there, so no later one may be
  };
  std::map<int64_t, Progress> progress;  // by process
  const bool was_trimmed = start > 0;
  for (const Sent& sent : partition.unread) {
    Progress& of = progress[sent.process];
    const auto place = found.find(sent.value);
    if (place != found.end()) {
      if (of.ended || place->second < of.last_offset) {
        Wrong("{}, offset {}: value {} is there, but not what its sender sent before it, or after",
              names_.NameOf(key), place->second, sent.value);
      }
      of.last_offset = place->second;
      continue;
    }
    if (sent.acknowledged && sent.offset >= 0 && sent.offset < start) continue;
    // Nobody knows whether this one was written and then deleted with the oldest.
    if (!sent.acknowledged && was_trimmed) continue;
    of.ended = true;
    const bool may_be_gone = power_cut_at_ && sent.safe_from > *power_cut_at_;
    if (sent.acknowledged && !may_be_gone) {
      Lost("{}: value {} of process {} was acknowledged at offset {}, and is gone",
           names_.NameOf(key), sent.value, sent.process, sent.offset);
    }
  }
}

}  // namespace millrace::harness
