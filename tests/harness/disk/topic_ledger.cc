#include "harness/disk/topic_ledger.h"

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

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

namespace {

// Reads all of the partition. Not OK: it could not be read to its end; what came before is in
// `out`.
Status ReadAll(const Client& client, const TopicPartition& tp, Offset* begin,
               std::vector<std::pair<Offset, std::string>>* out) {
  StatusOr<Consumer> consumer = client.NewConsumer();
  if (!consumer.ok()) return consumer.status();
  if (const Status status = consumer->Assign({tp}); !status.ok()) return status;
  if (const Status status = consumer->SeekToBeginning(); !status.ok()) return status;
  const StatusOr<OffsetMap> begins = consumer->BeginningOffsets({tp});
  const StatusOr<OffsetMap> ends = consumer->EndOffsets({tp});
  if (!begins.ok()) return begins.status();
  if (!ends.ok()) return ends.status();
  *begin = begins->at(tp);
  for (Offset next = *begin; next < ends->at(tp);) {
    const StatusOr<RecordBatch> batch = consumer->Poll(absl::Seconds(20));
    if (!batch.ok()) return batch.status();
    if (batch->empty()) return absl::DeadlineExceededError("no record comes before the end");
    for (const RecordView& record : *batch) {
      out->emplace_back(record.offset(), record.value().str());
      next = record.offset() + 1;
    }
  }
  return absl::OkStatus();
}

int64_t IdOf(std::string_view value) {
  int64_t id = -1;
  std::from_chars(value.data(), value.data() + std::min(value.size(), kDigits), id);
  return id;
}

}  // namespace

TopicLedger::Comparison TopicLedger::Compare(const Client& client) const {
  Comparison result;
  const auto note = [&](std::string problem) {
    if (result.first_problem.empty()) result.first_problem = std::move(problem);
  };
  Offset begin = 0;
  std::vector<std::pair<Offset, std::string>> records;
  if (const Status status = ReadAll(client, {topic_, 0}, &begin, &records); !status.ok()) {
    ++result.wrong;
    note(status.ToString());
  }
  std::map<Offset, int64_t> found;
  std::set<int64_t> ids;
  Offset expected = begin;
  for (const auto& [offset, value] : records) {
    const int64_t id = IdOf(value);
    const bool right = sent_.contains(id) && value == ValueOf(id, value.size());
    if (!right || !ids.insert(id).second || offset != expected) {
      ++result.wrong;
      note(fmt::format("offset {} (wanted {}): not a record that was sent, or twice", offset,
                       expected));
    }
    found[offset] = id;
    expected = offset + 1;
  }
  result.read = records.size();
  for (const auto& [offset, id] : acknowledged_) {
    const auto place = found.find(offset);
    if (offset < begin || (place != found.end() && place->second == id)) continue;
    ++result.lost;
    note(fmt::format("record {} was acknowledged at offset {}", id, offset));
  }
  return result;
}

}  // namespace millrace::harness
