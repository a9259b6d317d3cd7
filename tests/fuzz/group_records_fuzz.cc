// A log of __consumer_offsets from any bytes: what reads is written again and must read the same;
// what a coordinator makes of it is what its snapshot makes, and it goes on working.
#include <algorithm>
#include <optional>
#include <type_traits>
#include <vector>

#include "base/byte_reader.h"
#include "coordinator/group_coordinator.h"
#include "fuzz/fuzz.h"
#include "schema/group_records.h"

namespace millrace::coordinator {
namespace {

using View = std::span<const std::byte>;

using fuzz::Require;

class OneTopic final : public TopicsView {
 public:
  std::optional<Topic> Find(std::string_view name) const override {
    if (name != "t") return std::nullopt;
    return Topic{Uuid{}, 3};
  }
  void ForEach(const std::function<void(std::string_view, const Topic&)>& fn) const override {
    fn("t", *Find("t"));
  }
  uint64_t version() const override { return 1; }
};

void CheckRecord(View key_bytes, std::optional<View> value_bytes) {
  const auto any_key = schema::DecodeGroupKey(key_bytes);
  Require(any_key.ok() == schema::DumpGroupKey(key_bytes).ok());
  schema::DumpGroupValue(key_bytes, value_bytes).IgnoreError();  // must only not crash
  if (!any_key.ok()) return;
  std::visit(
      [&]<typename Key>(const Key& key) {
        if constexpr (schema::Message<Key>) {
          const auto again = schema::DecodeGroupKey(*schema::EncodeGroupKey(key));
          Require(again.ok() && *again == schema::GroupRecordKey(key));
          if (!value_bytes.has_value()) return;
          using Value = typename schema::GroupValueOf<Key>::type;
          auto value = schema::DecodeGroupValue<Value>(*value_bytes);
          if (!value.ok()) return;
          // The newest version has no place for it.
          if constexpr (std::is_same_v<Value, schema::OffsetCommitValue>)
            value->expire_timestamp = -1;
          const auto encoded = schema::EncodeGroupValue(*value);
          Require(encoded.ok() && *schema::DecodeGroupValue<Value>(*encoded) == *value);
        }
      },
      *any_key);
}

bool ReplayOne(GroupCoordinator& to, View key, std::optional<View> value) {
  return to.Replay(key, value).ok();
}

void ReplayAll(GroupCoordinator& to, const std::vector<StateRecord>& records) {
  for (const StateRecord& record : records) {
    Require(ReplayOne(to, record.key,
                      record.value ? std::optional<View>(*record.value) : std::nullopt));
  }
}

bool Same(const std::vector<StateRecord>& a, const std::vector<StateRecord>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const StateRecord& x, const StateRecord& y) {
                      return x.key == y.key && x.value == y.value;
                    });
}

// What it does next must not depend on what the log said.
void GoOn(GroupCoordinator& groups) {
  const OneTopic topics;
  absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  groups.FinishLoading(now, topics);
  const auto listed = groups.List();
  for (const auto& [name, state] : listed) {
    Heartbeat beat;
    beat.group = name;
    beat.member_id = "fuzz";
    beat.topics = std::vector<std::string>{"t"};
    groups.OnHeartbeat(beat, now, topics).status().IgnoreError();  // an instance id may be in use
    Require(groups.Describe(name).ok());
  }
  while (groups.NextDeadline() != absl::InfiniteFuture()) {
    now = groups.NextDeadline();
    groups.Tick(now, topics);
    Require(groups.NextDeadline() > now);
  }
  for (const auto& [name, state] : listed) Require(groups.Delete(name).ok());
}

}  // namespace

// The input is a list of: length of the key, of the value in steps of four (255: a tombstone),
// both.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ByteReader in(std::span(reinterpret_cast<const std::byte*>(data), size));
  GroupCoordinator groups("fuzz");
  while (in.ok() && in.remaining() > 0) {
    const auto key_size = in.Integer<uint8_t>();
    const auto value_size = in.Integer<uint8_t>();
    const View key = in.Bytes(key_size);
    std::optional<View> value;
    if (value_size != 255)
      value = in.rest().first(std::min<size_t>(in.remaining(), value_size * 4u));
    if (value.has_value()) in.Bytes(value->size());
    if (!in.ok()) break;
    CheckRecord(key, value);
    ReplayOne(groups, key, value);
  }
  const auto snapshot = groups.Snapshot();
  GroupCoordinator copy("fuzz");
  ReplayAll(copy, snapshot);
  Require(Same(copy.Snapshot(), snapshot));
  GoOn(groups);
  return 0;
}

}  // namespace millrace::coordinator
