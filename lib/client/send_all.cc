#include <algorithm>
#include <new>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/no_throw.h"
#include "base/status_macros.h"
#include "client/embedded_producer.h"
#include "client/payload.h"

namespace millrace::client {

// One call of SendAll. Records are encoded into batches of the call's own, one a lane, which then
// join their lanes whole; so nothing is locked a record, and other threads' records do not mix in.
// It goes in rounds: when the buffer's bound is reached, what was gathered so far is appended and
// waited for.
class EmbeddedProducer::Call {
 public:
  Call(EmbeddedProducer& producer, const SendOptions& options,
       std::vector<StatusOr<Delivery>>& answers)
      : producer_(producer), options_(options), answers_(answers) {}

  void Add(ProducerRecord& r, size_t index, absl::Time now) {
    Status status = NoThrow([&] { return TryAdd(r, index, now); });
    if (!status.ok()) answers_[index] = std::move(status);
  }
  // Appends what was gathered, and waits for every answer.
  void FinishRound();

 private:
  struct Group {
    std::shared_ptr<Lane> lane;
    std::vector<BatchRef> batches;  // the last one is being filled
    LaneSettings settings;
  };

  Status TryAdd(ProducerRecord& r, size_t index, absl::Time now);
  void Put(const Placed& placed, Completion completion, Space& space);
  Group& GroupOf(const Placed& placed);
  bool BeginsBatch(const Placed& placed);
  Status Reserve(const Placed& placed, Space* space);
  Status Join(const Group& group);
  void Refuse(const Group& group, const Status& why);

  EmbeddedProducer& producer_;
  const SendOptions& options_;
  std::vector<StatusOr<Delivery>>& answers_;
  std::vector<Group> groups_;
  std::unordered_map<const Lane*, size_t> index_;  // of groups_, once there are many
  size_t last_group_ = 0;
};

Status EmbeddedProducer::Call::TryAdd(ProducerRecord& r, size_t index, absl::Time now) {
  Completion completion;
  if (producer_.context_->options.observer != nullptr) producer_.Observe(r, completion);
  Placed placed;
  MILLRACE_RETURN_IF_ERROR(producer_.Prepare(r, now, &placed));
  Space space(*producer_.hub_);
  MILLRACE_RETURN_IF_ERROR(Reserve(placed, &space));
  completion.slot = &answers_[index];
  completion.timestamp_ms = placed.record.timestamp_ms;
  Put(placed, std::move(completion), space);
  return absl::OkStatus();
}

bool EmbeddedProducer::Call::BeginsBatch(const Placed& placed) {
  const Group& group = GroupOf(placed);
  return group.batches.empty() || group.batches.back()->builder.size_bytes() + placed.record.bytes >
                                      group.settings.batch_bytes;
}

void EmbeddedProducer::Call::Put(const Placed& placed, Completion completion, Space& space) {
  Group& group = GroupOf(placed);
  if (BeginsBatch(placed)) {
    if (!group.batches.empty())
      placed.topic->sticky->Leave(group.lane->partition()->name().partition);
    BatchRef batch = group.lane->NewBatch(space.for_batch);
    space.for_batch = 0;
    group.batches.push_back(std::move(batch));
    group.batches.back()->allowed_bytes = group.settings.max_batch_bytes;
    group.batches.back()->awaited = true;
    // The caller syncs the first, the sync lane the others at the same time.
    group.batches.back()->caller_syncs = &group == &groups_.front();
    group.batches.back()->sync = options_.sync;
  }
  Batch& batch = *group.batches.back();
  batch.completions.push_back(std::move(completion));
  try {
    batch.builder.Append(placed.record.timestamp_ms, placed.record.key, placed.record.value,
                         placed.record.headers);
  } catch (const std::bad_alloc&) {
    batch.completions.pop_back();
    throw;
  }
  batch.charged_bytes += std::exchange(space.for_record, 0);
}

EmbeddedProducer::Call::Group& EmbeddedProducer::Call::GroupOf(const Placed& placed) {
  constexpr size_t kFew = 16;
  const Lane* const lane = placed.lane;
  if (last_group_ < groups_.size() && groups_[last_group_].lane.get() == lane)
    return groups_[last_group_];
  if (groups_.size() <= kFew) {
    for (last_group_ = 0; last_group_ < groups_.size(); ++last_group_)
      if (groups_[last_group_].lane.get() == lane) return groups_[last_group_];
  } else if (const auto found = index_.find(lane); found != index_.end()) {
    last_group_ = found->second;
    return groups_[last_group_];
  }
  last_group_ = groups_.size();
  const std::shared_ptr<Lane>& shared =
      placed.topic->lanes[static_cast<size_t>(lane->partition()->name().partition)];
  groups_.push_back({.lane = shared, .batches = {}, .settings = shared->settings()});
  if (groups_.size() == kFew + 1)
    for (size_t i = 0; i < groups_.size(); ++i) index_[groups_[i].lane.get()] = i;
  else if (groups_.size() > kFew)
    index_[lane] = last_group_;
  return groups_[last_group_];
}

Status EmbeddedProducer::Call::Reserve(const Placed& placed, Space* space) {
  DeliveryHub& hub = *producer_.hub_;
  const size_t charge = placed.record.charge;
  size_t batch_charge = BeginsBatch(placed) ? hub.BatchCharge(charge) : 0;
  if (!hub.TryReserve(charge + batch_charge)) {
    FinishRound();
    batch_charge = hub.BatchCharge(charge);
    MILLRACE_RETURN_IF_ERROR(producer_.Reserve(charge + batch_charge, options_.stop, true));
  }
  space->Hold(charge, batch_charge);
  return absl::OkStatus();
}

void EmbeddedProducer::Call::Refuse(const Group& group, const Status& why) {
  for (const BatchRef& batch : group.batches) {
    for (const Completion& completion : batch->completions) *completion.slot = why;
    producer_.hub_->Release(std::exchange(batch->charged_bytes, 0), batch->completions.size());
    batch->completions.clear();
  }
}

// Its lane was closed before the batches could join it: the producer was, or the topic changed.
Status EmbeddedProducer::Call::Join(const Group& group) {
  if (group.lane->Enqueue(group.batches)) return absl::OkStatus();
  MILLRACE_RETURN_IF_ERROR(producer_.usable());
  const TopicPartition& name = group.lane->partition()->name();
  return MakeError(ErrorId::kUnknownTopic,
                   fmt::format("topic '{}' was deleted or changed meanwhile", name.topic),
                   {.topic = name.topic, .partition = name.partition});
}

void EmbeddedProducer::Call::FinishRound() {
  std::vector<Group> groups;
  groups.swap(groups_);
  index_.clear();
  for (Group& group : groups) {
    const Status joined = NoThrow([&] { return Join(group); });
    if (joined.ok()) continue;
    Refuse(group, joined);
    group.batches.clear();
  }
  // Appended by this thread, or by the one that was at it: then the write is waited for. Of the
  // syncs this thread does what nobody else is doing.
  for (const Group& group : groups) {
    for (const BatchRef& batch : group.batches) {
      const auto written = [&] {
        return batch->told.load(std::memory_order_acquire) ||
               batch->end.load(std::memory_order_acquire) >= 0;
      };
      if (!written()) producer_.hub_->WaitUntil(written, [&] { return producer_.Drive(); });
      if (batch->told.load(std::memory_order_acquire)) continue;
      // It is answered with it; unless there was no memory for the sync, and none may come.
      try {
        group.lane->partition()->SyncTo(batch->end.load()).IgnoreError();
      } catch (const std::bad_alloc&) {
        producer_.hub_->Answer(*batch, OutOfMemory());
      }
    }
  }
  const auto all_told = [&] {
    return std::ranges::all_of(groups, [](const Group& group) {
      return std::ranges::all_of(group.batches, [](const BatchRef& batch) {
        return batch->told.load(std::memory_order_acquire);
      });
    });
  };
  if (!all_told()) producer_.hub_->WaitUntil(all_told, [&] { return producer_.Drive(); });
}

std::vector<StatusOr<Delivery>> EmbeddedProducer::SendAll(std::span<ProducerRecord> rs,
                                                          const SendOptions& o) {
  std::vector<StatusOr<Delivery>> answers;
  if (const Status status = usable(); !status.ok()) {
    answers.assign(rs.size(), status);
    return answers;
  }
  answers.assign(rs.size(), Status(absl::StatusCode::kUnknown, ""));
  Call call(*this, o, answers);
  const absl::Time now = context_->clock->Now();
  for (size_t i = 0; i < rs.size(); ++i) call.Add(rs[i], i, now);
  call.FinishRound();
  return answers;
}

}  // namespace millrace::client
