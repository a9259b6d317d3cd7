#include "coordinator/assignor.h"

#include <algorithm>
#include <queue>
#include <tuple>
#include <utility>

namespace millrace::coordinator {
namespace {

struct NamedAssignor {
  std::string_view name;
  Assignor assign;
};
constexpr NamedAssignor kAssignors[] = {{"range", AssignRange}, {"uniform", AssignUniform}};

using SubscribersByTopic = std::map<Uuid, std::vector<size_t>>;

SubscribersByTopic Subscribers(const AssignorInput& input) {
  SubscribersByTopic subscribers;
  for (size_t m = 0; m < input.members.size(); ++m) {
    for (const Uuid& topic : input.members[m].topics) {
      if (input.topics.contains(topic)) subscribers[topic].push_back(m);
    }
  }
  return subscribers;
}

// The uniform assignment while it is made: who has how many, and which of each topic.
class Balance {
 public:
  explicit Balance(const AssignorInput& input)
      : input_(input), subscribers_(Subscribers(input)), loads_(input.members.size()) {}

  Assignment Run() {
    KeepCurrent();
    GiveOutTheRest();
    // Each move brings the loads of two members closer, so that this ends.
    while (EvenOut()) {
    }
    Assignment assignment(input_.members.size());
    for (const auto& [topic, owners] : owners_) {
      for (size_t p = 0; p < owners.size(); ++p)
        assignment[owners[p]].push_back({topic, static_cast<int32_t>(p)});
    }
    return assignment;
  }

 private:
  static constexpr size_t kNobody = SIZE_MAX;

  void KeepCurrent() {
    for (const auto& [topic, subscribers] : subscribers_)
      owners_[topic].assign(static_cast<size_t>(input_.topics.at(topic)), kNobody);
    for (size_t m = 0; m < input_.members.size(); ++m) {
      for (const auto& [topic, partition] : input_.members[m].current) {
        const auto owners = owners_.find(topic);
        if (owners == owners_.end() || !std::ranges::binary_search(subscribers_[topic], m))
          continue;
        if (static_cast<size_t>(partition) >= owners->second.size()) continue;
        size_t& owner = owners->second[static_cast<size_t>(partition)];
        if (owner == kNobody) Give(owner, m);
      }
    }
  }

  // What has no owner goes to the least loaded subscriber; topics with few subscribers come first,
  // since the others have the choice.
  void GiveOutTheRest() {
    std::vector<std::pair<size_t, Uuid>> order;
    for (const auto& [topic, subscribers] : subscribers_)
      order.emplace_back(subscribers.size(), topic);
    std::ranges::sort(order);
    for (const auto& [count, topic] : order) {
      using Entry = std::pair<size_t, size_t>;  // load, member
      std::priority_queue<Entry, std::vector<Entry>, std::greater<>> least_loaded;
      for (const size_t m : subscribers_[topic]) least_loaded.emplace(loads_[m], m);
      for (size_t& owner : owners_[topic]) {
        if (owner != kNobody) continue;
        const size_t m = least_loaded.top().second;
        least_loaded.pop();
        Give(owner, m);
        least_loaded.emplace(loads_[m], m);
      }
    }
  }

  // Moves partitions from the most to the least loaded subscriber of each topic while that helps.
  bool EvenOut() {
    bool moved = false;
    for (auto& [topic, owners] : owners_) {
      std::map<size_t, std::vector<size_t>> owned;  // member: its partitions of the topic
      for (size_t p = 0; p < owners.size(); ++p) owned[owners[p]].push_back(p);
      const auto by_load = [&](size_t a, size_t b) { return loads_[a] < loads_[b]; };
      const auto& subscribers = subscribers_[topic];
      while (!owned.empty()) {
        const auto from =
            std::ranges::max_element(owned, by_load, [](const auto& entry) { return entry.first; });
        const size_t to = *std::ranges::min_element(subscribers, by_load);
        if (loads_[from->first] < loads_[to] + 2) break;
        const size_t partition = from->second.back();
        from->second.pop_back();
        --loads_[from->first];
        if (from->second.empty()) owned.erase(from);
        Give(owners[partition], to);
        owned[to].push_back(partition);
        moved = true;
      }
    }
    return moved;
  }

  void Give(size_t& owner, size_t member) {
    owner = member;
    ++loads_[member];
  }

  const AssignorInput& input_;
  SubscribersByTopic subscribers_;
  std::vector<size_t> loads_;                   // by member
  std::map<Uuid, std::vector<size_t>> owners_;  // by topic and partition
};

}  // namespace

Assignment AssignUniform(const AssignorInput& input) { return Balance(input).Run(); }

Assignment AssignRange(const AssignorInput& input) {
  Assignment assignment(input.members.size());
  for (auto& [topic, subscribers] : Subscribers(input)) {
    // Static members first, so that a dynamic one that comes or goes moves as little as it can.
    std::ranges::sort(subscribers, {}, [&](size_t m) {
      const AssignorMember& member = input.members[m];
      return std::tuple(member.instance_id.empty(), member.instance_id, member.id);
    });
    const auto partitions = static_cast<size_t>(input.topics.at(topic));
    const size_t share = partitions / subscribers.size();
    const size_t with_one_more = partitions % subscribers.size();
    size_t next = 0;
    for (size_t i = 0; i < subscribers.size(); ++i) {
      const size_t end = next + share + (i < with_one_more ? 1 : 0);
      for (; next < end; ++next)
        assignment[subscribers[i]].push_back({topic, static_cast<int32_t>(next)});
    }
  }
  return assignment;
}

Assignor FindAssignor(std::string_view name) {
  for (const NamedAssignor& known : kAssignors) {
    if (known.name == name) return known.assign;
  }
  return nullptr;
}

std::string KnownAssignors() {
  std::string names;
  for (const NamedAssignor& known : kAssignors) {
    if (!names.empty()) names += ", ";
    names += known.name;
  }
  return names;
}

}  // namespace millrace::coordinator
