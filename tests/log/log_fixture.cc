#include "log/log_fixture.h"

#include <fmt/format.h>

#include "record/for_each_record.h"

namespace millrace::log {

BufferPool& TestPool() {
  static BufferPool pool;
  return pool;
}

std::vector<std::byte> MakeBatch(const std::vector<std::string>& values, int64_t timestamp_ms) {
  record::BatchBuilder builder(TestPool());
  for (const std::string& value : values) builder.Append(timestamp_ms++, Bytes("k"), Bytes(value));
  const auto batch = OrFail(builder.Finish());
  const auto bytes = batch.bytes();
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> MakeProducerBatch(const std::vector<std::string>& values,
                                         int64_t producer_id, int16_t epoch, int32_t sequence,
                                         int64_t timestamp_ms) {
  std::vector<std::byte> batch = MakeBatch(values, timestamp_ms);
  record::AssignProducer(batch.data(), producer_id, epoch, sequence, record::PayloadCrc(batch));
  return batch;
}

std::vector<std::byte> WithHeader(std::vector<std::byte> batch,
                                  const std::function<void(record::BatchHeader&)>& change) {
  auto header = OrFail(record::ParseHeader(batch));
  change(header);
  record::StoreHeader(header, batch.data());
  header.crc = record::ComputeCrc(batch);
  record::StoreHeader(header, batch.data());
  return batch;
}

StatusOr<AppendResult> TryAppend(PartitionLog& log, const std::vector<std::string>& values,
                                 int64_t timestamp_ms, int32_t epoch) {
  std::vector<std::byte> batch = MakeBatch(values, timestamp_ms);
  return log.Append(batch, {.leader_epoch = epoch}, /*verified=*/false);
}

AppendResult Append(PartitionLog& log, const std::vector<std::string>& values, int64_t timestamp_ms,
                    int32_t epoch) {
  return OrFail(TryAppend(log, values, timestamp_ms, epoch));
}

StatusOr<AppendResult> TryAppendFrom(PartitionLog& log, const std::vector<std::string>& values,
                                     int64_t producer_id, int16_t epoch, int32_t sequence) {
  std::vector<std::byte> batch = MakeProducerBatch(values, producer_id, epoch, sequence);
  return log.Append(batch, {.leader_epoch = std::max(0, log.latest_epoch())}, /*verified=*/false);
}

StatusOr<std::vector<Seen>> TryReadAll(PartitionLog& log, Offset from, Offset below,
                                       size_t max_bytes) {
  std::vector<Seen> seen;
  while (from < below) {
    auto read = log.Read(from, below, max_bytes, TestPool());
    if (!read.ok()) return read.status();
    if (read->bytes.empty()) break;
    const Status walked =
        record::ForEachRecord(read->bytes, 1 << 20, TestPool(), [&](const auto& fields) {
          if (fields.offset >= from)
            seen.push_back({fields.offset, std::string(fields.key.str()),
                            std::string(fields.value.str()), fields.timestamp_ms});
          return absl::OkStatus();
        });
    if (!walked.ok()) return walked;
    from = read->next_offset;
  }
  return seen;
}

std::vector<Seen> ReadAll(PartitionLog& log, Offset from) {
  return OrFail(TryReadAll(log, from < 0 ? log.log_start() : from, log.log_end()));
}

std::string Values(const std::vector<Seen>& records) {
  std::string text;
  for (const Seen& seen : records) text += fmt::format("{}{}", text.empty() ? "" : " ", seen.value);
  return text;
}

Status OneLog::TryOpen(bool read_only) {
  auto opened = LogDirectory::Open(files, clock,
                                   {.path = path, .read_only = read_only, .random = random.get()});
  if (!opened.ok()) return opened.status();
  directory = *std::move(opened);
  auto partition = directory->OpenPartition("orders-0", kTopic, 0, config, !read_only);
  if (!partition.ok()) {
    directory.reset();
    return partition.status();
  }
  log = *std::move(partition);
  return absl::OkStatus();
}

Status OneLog::TryClose() {
  const Status status = directory->CloseCleanly({log.get()}, absl::InfiniteFuture());
  log.reset();
  directory.reset();
  return status;
}

std::string OneLog::PathOf(std::string_view name) const {
  return fmt::format("{}/orders-0/{}", path, name);
}

}  // namespace millrace::log
