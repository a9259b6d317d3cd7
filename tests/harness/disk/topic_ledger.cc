#include "harness/disk/topic_ledger.h"

#include <charconv>
#include <utility>

#include <absl/time/time.h>
#include <fmt/format.h>

#include "harness/support/rng.h"

namespace millrace::harness {
namespace {

constexpr size_t kDigits = 12;

}  // namespace

std::string ValueOf(int64_t id, size_t size) {
  std::string value = fmt::format("{:012}", id);
  Rng rng(static_cast<uint64_t>(id));
  while (value.size() < size) value += static_cast<char>(rng.Next());
  return value;
}

Status TopicLedger::Send(Producer& producer, size_t size) {
  const int64_t id = next_id_++;
  sent_.insert(id);
  const StatusOr<Delivery> delivery =
      producer.Send({.topic = topic_, .partition = 0, .value = ValueOf(id, size)})
          .Get(absl::Seconds(60));
  if (!delivery.ok()) return delivery.status();
  acknowledged_[delivery->offset] = id;
  return absl::OkStatus();
}

Status TopicLedger::SendUntilFailure(Producer& producer, size_t size, int64_t most) {
  for (int64_t i = 0; i < most; ++i) {
    if (const Status status = Send(producer, size); !status.ok()) return status;
  }
  return absl::OkStatus();
}

TopicLedger::Comparison TopicLedger::Compare(const Client& client) const {
  Comparison result;
  const auto wrong = [&](std::string what) {
    ++result.wrong;
    if (result.first_problem.empty()) result.first_problem = std::move(what);
  };
  const TopicPartition tp{topic_, 0};
  StatusOr<Consumer> consumer = client.NewConsumer();
  Status status = consumer.status();
  if (status.ok()) status = consumer->Assign({tp});
  if (status.ok()) status = consumer->SeekToBeginning();
  if (!status.ok()) {
    wrong(status.ToString());
    return result;
  }
  const StatusOr<OffsetMap> begin = consumer->BeginningOffsets({tp});
  const StatusOr<OffsetMap> end = consumer->EndOffsets({tp});
  if (!begin.ok() || !end.ok()) {
    wrong("the ends of the log cannot be told");
    return result;
  }
  std::map<Offset, int64_t> found;
  std::set<int64_t> ids;
  for (Offset next = begin->at(tp); next < end->at(tp);) {
    const StatusOr<RecordBatch> batch = consumer->Poll(absl::Seconds(20));
    if (!batch.ok() || batch->empty()) {
      wrong(batch.ok() ? "no record comes, but the end is not reached" : batch.status().ToString());
      return result;
    }
    for (const RecordView& record : *batch) {
      const std::string_view value = record.value().str();
      int64_t id = -1;
      std::from_chars(value.data(), value.data() + std::min(value.size(), kDigits), id);
      if (record.offset() != next)
        wrong(fmt::format("offset {} follows {}", record.offset(), next));
      if (!sent_.contains(id) || value != ValueOf(id, value.size()) || !ids.insert(id).second) {
        wrong(fmt::format("offset {}: not a record that was sent, or twice", record.offset()));
      }
      found[record.offset()] = id;
      next = record.offset() + 1;
      ++result.read;
    }
  }
  for (const auto& [offset, id] : acknowledged_) {
    const auto place = found.find(offset);
    if (offset < begin->at(tp) || (place != found.end() && place->second == id)) continue;
    ++result.lost;
    if (result.first_problem.empty()) {
      result.first_problem = fmt::format("record {} was acknowledged at offset {}", id, offset);
    }
  }
  return result;
}

}  // namespace millrace::harness
