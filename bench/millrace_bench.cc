// Benchmarks with the floor beside each: what the bare system call, or the bare memory, would cost.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

#include <benchmark/benchmark.h>

#include "bench/workload.h"
#include "millrace/millrace.h"

namespace {

constexpr size_t kRecordBytes = 1024;

std::string DataDir() {
  return bench::EnvText("PEERS_DATA", "/tmp/peers-data") + "/millrace-bench";
}

void ReportBatches(benchmark::State& state) {
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.SetBytesProcessed(state.iterations() * state.range(0) * static_cast<int64_t>(kRecordBytes));
}

millrace::Broker FreshBroker(millrace::Flush flush) {
  std::filesystem::remove_all(DataDir());
  std::filesystem::create_directories(DataDir());
  auto broker = millrace::Broker::Open({.directory = DataDir(), .flush = flush});
  if (!broker.ok()) std::abort();
  if (!broker->client().admin().CreateTopic("events").ok()) std::abort();
  return *std::move(broker);
}

void AppendUnder(benchmark::State& state, millrace::Flush flush) {
  millrace::Broker broker = FreshBroker(flush);
  auto producer = broker.client().NewProducer();
  if (!producer.ok()) return state.SkipWithError("no producer");
  const std::string value = bench::JsonRecord(kRecordBytes, 1);
  std::vector<millrace::ProducerRecord> records;
  for (auto _ : state) {
    records.clear();
    for (int64_t i = 0; i < state.range(0); ++i)
      records.push_back({.topic = "events", .value = std::string_view(value)});
    for (const auto& delivery : producer->SendAll(records))
      if (!delivery.ok()) return state.SkipWithError("append failed");
  }
  ReportBatches(state);
}

// One batch of range(0) records of 1 KiB, in the page cache when it is answered.
void BM_Append(benchmark::State& state) { AppendUnder(state, millrace::Flush::kOs); }
BENCHMARK(BM_Append)->ArgName("batch")->Arg(1)->Arg(100)->UseRealTime();

void BM_Append_PeerWrite(benchmark::State& state) {  // The floor: same bytes, no log.
  const std::string batch(kRecordBytes * static_cast<size_t>(state.range(0)), 'x');
  std::filesystem::create_directories(DataDir());
  const int fd = ::open(DataDir().c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  for (auto _ : state) {
    if (::write(fd, batch.data(), batch.size()) < 0) return state.SkipWithError("write failed");
  }
  ::close(fd);
  ReportBatches(state);
}
BENCHMARK(BM_Append_PeerWrite)->ArgName("batch")->Arg(1)->Arg(100)->UseRealTime();

// The same, durable when it is answered.
void BM_SyncAppend(benchmark::State& state) { AppendUnder(state, millrace::Flush::kEachBatch); }
BENCHMARK(BM_SyncAppend)->ArgName("batch")->Arg(1)->Arg(100)->UseRealTime();

void BM_SyncAppend_PeerFdatasync(benchmark::State& state) {
  const std::string batch(kRecordBytes * static_cast<size_t>(state.range(0)), 'x');
  std::filesystem::create_directories(DataDir());
  const int fd = ::open(DataDir().c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  for (auto _ : state) {
    if (::write(fd, batch.data(), batch.size()) < 0 || ::fdatasync(fd) != 0)
      return state.SkipWithError("write failed");
  }
  ::close(fd);
  ReportBatches(state);
}
BENCHMARK(BM_SyncAppend_PeerFdatasync)->ArgName("batch")->Arg(1)->Arg(100)->UseRealTime();

// Reads range(0) records of 1 KiB in order through Poll, over and over.
void BM_Read(benchmark::State& state) {
  millrace::Broker broker = FreshBroker(millrace::Flush::kOs);
  const std::string value = bench::JsonRecord(kRecordBytes, 1);
  {
    auto producer = broker.client().NewProducer();
    std::vector<millrace::ProducerRecord> records(
        static_cast<size_t>(state.range(0)), {.topic = "events", .value = std::string_view(value)});
    if (!producer.ok()) return state.SkipWithError("no producer");
    for (const auto& delivery : producer->SendAll(records))
      if (!delivery.ok()) return state.SkipWithError("append failed");
  }
  auto consumer = broker.client().NewConsumer({.max_poll_records = 4096});
  if (!consumer.ok() || !consumer->Assign({{"events", 0}}).ok())
    return state.SkipWithError("no consumer");
  uint64_t sum = 0;
  for (auto _ : state) {
    if (!consumer->SeekToBeginning().ok()) return state.SkipWithError("no seek");
    for (int64_t seen = 0; seen < state.range(0);) {
      auto batch = consumer->Poll(absl::Seconds(5));
      if (!batch.ok() || batch->empty()) return state.SkipWithError("no records");
      for (const millrace::RecordView& record : *batch) sum += bench::Touch(record.value().str());
      seen += static_cast<int64_t>(batch->size());
    }
  }
  benchmark::DoNotOptimize(sum);
  ReportBatches(state);
}
BENCHMARK(BM_Read)->ArgName("records")->Arg(10000)->UseRealTime();

void BM_Read_PeerPread(benchmark::State& state) {
  const size_t size = kRecordBytes * static_cast<size_t>(state.range(0));
  std::filesystem::create_directories(DataDir());
  const int fd = ::open(DataDir().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  const std::string bytes(size, 'x');
  if (::write(fd, bytes.data(), size) < 0) return state.SkipWithError("write failed");
  std::string buffer(1 << 20, '\0');
  uint64_t sum = 0;
  for (auto _ : state) {
    for (size_t at = 0; at < size; at += buffer.size()) {
      const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(at));
      if (n <= 0) return state.SkipWithError("read failed");
      sum += bench::Touch(std::string_view(buffer).substr(0, static_cast<size_t>(n)));
    }
  }
  benchmark::DoNotOptimize(sum);
  ::close(fd);
  ReportBatches(state);
}
BENCHMARK(BM_Read_PeerPread)->ArgName("records")->Arg(10000)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
