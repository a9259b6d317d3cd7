#include <algorithm>
#include <utility>

#include "coordinator/coordinator_impl.h"
#include "coordinator/subscription.h"

namespace millrace::coordinator {
namespace {

using Topics = std::map<std::string, TopicsView::Topic, std::less<>>;

// The topics that each member gets partitions of, and all of them by name.
struct Subscriptions {
  std::vector<std::vector<Uuid>> by_member;  // in the order of the members
  Topics topics;
};

Subscriptions Resolve(Group& group, const TopicsView& view) {
  if (group.topics_seen != view.version()) group.pattern_topics.clear();
  Subscriptions out;
  std::map<std::string, std::vector<std::string>, std::less<>> patterns;
  const auto add = [&](const std::string& name, std::vector<Uuid>& ids) {
    auto known = out.topics.find(name);
    if (known == out.topics.end()) {
      const auto topic = view.Find(name);
      if (!topic.has_value()) return;
      known = out.topics.emplace(name, *topic).first;
    }
    ids.push_back(known->second.id);
  };
  for (const auto& [id, member] : group.members) {
    auto& ids = out.by_member.emplace_back();
    for (const std::string& name : member.topics) add(name, ids);
    if (!member.topic_pattern.empty()) {
      auto [matching, is_new] = patterns.try_emplace(member.topic_pattern);
      if (is_new) {
        const auto before = group.pattern_topics.find(member.topic_pattern);
        matching->second = before != group.pattern_topics.end()
                               ? std::move(before->second)
                               : TopicsMatching(member.topic_pattern, view);
      }
      for (const std::string& name : matching->second) add(name, ids);
    }
    std::ranges::sort(ids);
    const auto repeated = std::ranges::unique(ids);
    ids.erase(repeated.begin(), repeated.end());
  }
  group.pattern_topics = std::move(patterns);  // those that nobody uses any more are gone
  return out;
}

// Names, ids and sizes of the topics in one number, which a restart compares. Never 0: none.
int64_t HashOf(const Topics& topics) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  const auto add = [&](const void* bytes, size_t count) {
    for (size_t i = 0; i < count; ++i)
      hash = (hash ^ static_cast<const unsigned char*>(bytes)[i]) * 0x100000001b3;
  };
  for (const auto& [name, topic] : topics) {
    add(name.c_str(), name.size() + 1);
    add(topic.id.bytes.data(), topic.id.bytes.size());
    const std::string partitions = std::to_string(topic.partitions);
    add(partitions.c_str(), partitions.size() + 1);
  }
  return static_cast<int64_t>(std::max<uint64_t>(hash, 1));
}

Assignment Assign(const Group& group, const Subscriptions& subscriptions) {
  AssignorInput input;
  for (const auto& [name, topic] : subscriptions.topics) input.topics[topic.id] = topic.partitions;
  auto topics = subscriptions.by_member.begin();
  for (const auto& [id, member] : group.members)
    input.members.push_back({id, member.instance_id, *topics++, member.target});
  return FindAssignor(AssignorOf(group))(input);
}

}  // namespace

std::string_view AssignorOf(const Group& group) {
  std::map<std::string_view, int> votes;
  for (const auto& [id, member] : group.members) {
    // A log that another program wrote may name one that we do not know.
    if (FindAssignor(member.assignor) != nullptr) ++votes[member.assignor];
  }
  if (votes.empty()) return kDefaultAssignor;
  return std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; })->first;
}

void GroupCoordinator::Impl::UpdateTarget(const std::string& name, bool members_changed,
                                          absl::Time now, const TopicsView& topics,
                                          Journal& journal) {
  Group* const found = table.Find(name);
  if (found == nullptr)
    return;  // it went with its last member: only a log without its record does that
  Group& group = *found;
  if (!members_changed && group.topics_seen == topics.version()) return;
  const Subscriptions subscriptions = Resolve(group, topics);
  group.topics_seen = topics.version();
  for (const auto& [topic_name, topic] : subscriptions.topics) names.Add(topic.id, topic_name);
  const int64_t hash = HashOf(subscriptions.topics);
  if (!members_changed && hash == group.metadata_hash && group.epoch == group.assignment_epoch)
    return;

  journal.Put(schema::ConsumerGroupMetadataKey{name},
              {.epoch = NextEpoch(group.epoch), .metadata_hash = hash});
  Assignment assignment = Assign(group, subscriptions);
  auto target = assignment.begin();
  for (auto& [id, member] : group.members) {
    if (member.target != *target) {
      journal.Put(schema::ConsumerGroupTargetAssignmentMemberKey{name, id}, ToRecord(*target));
    }
    ++target;
  }
  journal.Put(schema::ConsumerGroupTargetAssignmentMetadataKey{name},
              {.assignment_epoch = group.epoch, .assignment_timestamp = absl::ToUnixMillis(now)});
}

}  // namespace millrace::coordinator
