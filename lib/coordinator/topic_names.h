#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "coordinator/group_coordinator.h"
#include "coordinator/partitions.h"

namespace millrace::coordinator {

// The names of topics by id: state and records have ids, members speak in names.
class TopicNames {
 public:
  void Refresh(const TopicsView& topics);
  // For a topic that the view finds but does not list (internal ones).
  void Add(const Uuid& id, std::string_view name) {
    names_.insert_or_assign(id, std::string(name));
  }

  // Partitions of topics that are gone are left out.
  std::vector<TopicPartition> ToNames(const Partitions& partitions) const;
  static Partitions ToIds(const std::vector<TopicPartition>& partitions, const TopicsView& topics);

 private:
  std::optional<uint64_t> seen_;
  std::map<Uuid, std::string> names_;
};

}  // namespace millrace::coordinator
