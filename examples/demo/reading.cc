#include "reading.h"

#include <algorithm>

namespace demo {
namespace {

using millrace::Status;

constexpr absl::Duration kPatience = absl::Seconds(10);

// Whether nothing is left to read; false while the group has not assigned anything yet.
millrace::StatusOr<bool> AtEnd(millrace::Consumer& consumer) {
  const auto assigned = consumer.assignment();
  const auto ends = consumer.EndOffsets(assigned);
  if (!ends.ok()) return ends.status();
  return !assigned.empty() && std::all_of(ends->begin(), ends->end(), [&](const auto& end) {
    const auto position = consumer.position(end.first);
    return position && *position >= end.second;
  });
}

}  // namespace

Status ReadToEnd(millrace::Consumer& consumer,
                 const std::function<Status(const millrace::RecordView&)>& visit) {
  for (;;) {
    const auto done = AtEnd(consumer);
    if (!done.ok()) return done.status();
    if (*done) return absl::OkStatus();
    auto batch = consumer.Poll(absl::Milliseconds(20));
    if (!batch.ok()) return batch.status();
    for (const millrace::RecordView& record : *batch)
      if (Status status = visit(record); !status.ok()) return status;
  }
}

Status ReadPartition(const millrace::Client& client, const millrace::TopicPartition& partition,
                     const std::function<Status(const millrace::RecordView&)>& visit) {
  auto consumer = client.NewConsumer();
  if (!consumer.ok()) return consumer.status();
  if (Status status = consumer->Assign({partition}); !status.ok()) return status;
  if (Status status = consumer->SeekToBeginning(); !status.ok()) return status;
  if (Status status = ReadToEnd(*consumer, visit); !status.ok()) return status;
  return consumer->Close(kPatience);
}

}  // namespace demo
