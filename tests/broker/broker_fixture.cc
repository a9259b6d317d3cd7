#include "broker_fixture.h"

#include "record/for_each_record.h"

namespace millrace::broker {

Options Machine::options() {
  Options options;
  options.directory = "data";
  options.background_threads = 0;
  options.scrub_bytes_per_second = 0;
  options.env = {.files = disk, .clock = clock, .random = random};
  options.log = [this](Severity severity, std::string_view message) {
    if (severity >= Severity::kWarning) warnings.emplace_back(message);
  };
  return options;
}

void Abandon(std::shared_ptr<Broker>& broker) {
  // Its disk lives on as an object that nobody looks at any more.
  broker->Close(absl::Seconds(1)).IgnoreError();
  broker = nullptr;
}

record::EncodedBatch MakeBatch(BufferPool& pool, const std::vector<std::string>& values,
                               int64_t timestamp_ms, std::optional<std::string> key) {
  record::BatchBuilder builder(pool);
  for (const std::string& value : values) {
    builder.Append(timestamp_ms, key ? Bytes(*key) : Bytes(), Bytes(value));
  }
  return OrFail(builder.Finish());
}

std::shared_ptr<Answer> AppendLater(Broker& broker, Partition& partition,
                                    const std::vector<std::string>& values, AppendOptions options) {
  auto answer = std::make_shared<Answer>();
  const auto batch = MakeBatch(broker.buffers(), values, absl::ToUnixMillis(broker.clock().Now()));
  const Status accepted = partition.Append(
      batch, options, [answer](const StatusOr<Appended>& result) { answer->result = result; });
  if (!accepted.ok()) answer->result = accepted;
  return answer;
}

StatusOr<Appended> Append(Broker& broker, Partition& partition,
                          const std::vector<std::string>& values, AppendOptions options) {
  options.caller_syncs = true;
  const auto answer = AppendLater(broker, partition, values, options);
  if (!answer->given()) partition.SyncTo(INT64_MAX).IgnoreError();  // the answer says it too
  REQUIRE(answer->given());
  return *answer->result;
}

namespace {

// What `synced`, which a call for groups was given, is told.
Status SyncGroups(Broker& broker, const std::shared_ptr<std::optional<Status>>& synced) {
  if (!synced->has_value())
    for (const auto& partition : OrFail(broker.FindTopic("__consumer_offsets", false)))
      partition->SyncTo(INT64_MAX).IgnoreError();  // the answer says it too
  REQUIRE(synced->has_value());
  return **synced;
}

SyncDone Into(const std::shared_ptr<std::optional<Status>>& synced) {
  return [synced](const Status& status) { *synced = status; };
}

}  // namespace

Status CommitOffsets(Broker& broker, const coordinator::OffsetCommit& commit, bool durable) {
  if (!durable) return broker.CommitOffsets(commit, nullptr);
  const auto synced = std::make_shared<std::optional<Status>>();
  const Status status = broker.CommitOffsets(commit, Into(synced));
  return status.ok() ? SyncGroups(broker, synced) : status;
}

StatusOr<coordinator::HeartbeatReply> GroupHeartbeat(Broker& broker,
                                                     const coordinator::Heartbeat& beat,
                                                     std::shared_ptr<Bell> bell) {
  const auto synced = std::make_shared<std::optional<Status>>();
  auto reply = broker.GroupHeartbeat(beat, std::move(bell), Into(synced));
  if (!reply.ok()) return reply;
  if (const Status status = SyncGroups(broker, synced); !status.ok()) return status;
  return reply;
}

std::vector<std::string> Values(Partition& partition, Offset from) {
  std::vector<std::string> values;
  BufferPool pool;
  while (true) {
    const FetchResult fetched = OrFail(partition.Fetch(from, 1 << 20, ReadLevel::kCommitted));
    if (fetched.bytes.empty()) return values;
    OrFail(record::ForEachRecord(fetched.bytes, 1 << 28, pool, [&](const auto& fields) {
      if (fields.offset >= from) values.emplace_back(fields.value.str());
      return absl::OkStatus();
    }));
    from = fetched.next_offset;
  }
}

std::shared_ptr<Partition> MakeTopic(Broker& broker, const std::string& name, ConfigMap config) {
  CreateTopicRequest request;
  request.name = name;
  request.config = std::move(config);
  OrFail(broker.CreateTopic(request));
  return OrFail(broker.FindPartition(name, 0));
}

}  // namespace millrace::broker
