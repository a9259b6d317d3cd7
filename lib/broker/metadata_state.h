#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "schema/metadata_records.h"

namespace millrace::broker {

// The node id of a broker by itself: the only replica of every partition.
inline constexpr int32_t kNodeId = 1;

// Kafka's topics for the broker's own state. Users read them; they do not create or delete them.
bool IsInternalTopic(std::string_view name);

schema::PartitionRecord MakePartitionRecord(const Uuid& topic_id, int32_t partition,
                                            const PartitionImage& image);
schema::ConfigRecord MakeConfigRecord(std::string topic, std::string key,
                                      std::optional<std::string> value);

// What the records of the metadata log add up to. Belongs to one thread at a time.
class MetadataState {
 public:
  // Takes one record in. corrupt_log for one that contradicts those before it, unsupported_version
  // for one that this program does not keep: a snapshot would lose it.
  Status Apply(const schema::MetadataRecord& record);
  // The image of all that was applied, with the next version.
  std::shared_ptr<const MetadataImage> Publish();
  // Begins anew from nothing; versions go on.
  void Clear();
  // Records that bring an empty state here.
  std::vector<schema::MetadataRecord> Snapshot() const;

  int64_t next_producer_id() const { return next_producer_id_; }
  // Topics that were deleted and whose folders may still be there.
  const std::set<Uuid>& tombstones() const { return tombstones_; }
  void ClearTombstone(const Uuid& id) { tombstones_.erase(id); }

 private:
  Status On(const schema::TopicRecord& record);
  Status On(const schema::PartitionRecord& record);
  Status On(const schema::PartitionChangeRecord& record);
  Status On(const schema::RemoveTopicRecord& record);
  Status On(const schema::ConfigRecord& record);
  Status On(const schema::FeatureLevelRecord& record);
  Status On(const schema::ProducerIdsRecord& record);
  Status On(const schema::NoOpRecord&) { return absl::OkStatus(); }
  template <typename Other>
  Status On(const Other& record);

  // The topic, copied from the published image on its first change; null when unknown.
  TopicImage* Draft(const Uuid& id);

  MetadataImage image_;  // without the drafts
  std::map<Uuid, std::shared_ptr<TopicImage>> drafts_;
  std::map<Uuid, std::string> names_;
  std::map<std::string, Uuid, std::less<>> ids_;
  std::map<std::string, int16_t> features_;
  std::set<Uuid> tombstones_;
  int64_t next_producer_id_ = 0;
};

}  // namespace millrace::broker
