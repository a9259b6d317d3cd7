// Prints one JSON line a case, so that a driver can run Millrace between other systems. Usage:
//   millrace-peer-bench [CASE_PREFIX...]      all cases, or those that begin with one of the
//   prefixes ("append_1KiB_b1" is not meant for "append_1KiB_b100")
// Environment: PEERS_DATA (data folder), SCALE (record counts), CAP_S (longest append), TAIL_S
// (length of a fixed-rate case). An append is a callback Send (or SendAll of 100) under Flush::kOs
// unless its name says sync: then Flush::kEachBatch, durable at the answer.
#include <malloc.h>
#include <sched.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <iostream>
#include <thread>

#include "bench/workload.h"
#include "millrace/millrace.h"

namespace {

using bench::NowNs;
using namespace millrace;  // NOLINT(google-build-using-namespace): a program, not a header

struct Size {
  const char* name;
  size_t bytes;
  uint64_t records;
};

std::vector<std::string> prefixes;
bool Wanted(std::string_view name) {
  const auto matches = [&](const std::string& prefix) {
    if (!name.starts_with(prefix)) return false;
    const std::string_view rest = name.substr(prefix.size());
    return rest.empty() || rest.front() < '0' || rest.front() > '9';
  };
  return prefixes.empty() || std::any_of(prefixes.begin(), prefixes.end(), matches);
}

[[noreturn]] void Die(const Status& status) {
  std::cerr << status << "\n";
  std::exit(1);
}
void Check(const Status& status) {
  if (!status.ok()) Die(status);
}
template <typename T>
T Check(StatusOr<T> result) {
  if (!result.ok()) Die(result.status());
  return *std::move(result);
}

std::string DataDir() { return bench::EnvText("PEERS_DATA", "/tmp/peers-data") + "/millrace"; }

// A broker on an empty directory with one topic of one partition.
Broker FreshBroker(Flush flush) {
  std::filesystem::remove_all(DataDir());
  std::filesystem::create_directories(DataDir());
  Broker broker = Check(Broker::Open({.directory = DataDir(), .flush = flush}));
  Check(broker.client().admin().CreateTopic("events", {.partitions = 1}));
  return broker;
}

void CheckDelivery(const StatusOr<Delivery>& delivery) {
  if (!delivery.ok()) Die(delivery.status());
}

uint64_t sink = 0;

void Read(Broker& broker, const Size& size, uint64_t records) {
  Consumer consumer = Check(broker.client().NewConsumer({.max_poll_records = 4096}));
  Check(consumer.Assign({{"events", 0}}));
  const int64_t start = NowNs();
  uint64_t seen = 0;
  while (seen < records) {
    const RecordBatch batch = Check(consumer.Poll(absl::Seconds(10)));
    if (batch.empty()) Die(absl::DataLossError("the log ended early"));
    for (const RecordView& record : batch) sink += bench::Touch(record.value().str());
    seen += batch.size();
  }
  bench::Print({.name = std::string("read_") + size.name,
                .records = seen,
                .bytes = seen * size.bytes,
                .seconds = static_cast<double>(NowNs() - start) / 1e9});
}

void Append(const Size& size, int batch) {
  const std::string name = fmt::format("append_{}_b{}", size.name, batch);
  const bool read = batch == 100 && Wanted(std::string("read_") + size.name);
  if (!Wanted(name) && !read) return;
  Broker broker = FreshBroker(Flush::kOs);
  Producer producer = Check(broker.client().NewProducer());
  const bench::Pool pool(size.bytes);
  const int64_t start = NowNs();
  const int64_t stop = start + static_cast<int64_t>(bench::EnvNumber("CAP_S", 4) * 1e9);
  uint64_t sent = 0;
  std::vector<ProducerRecord> records;
  while (sent < size.records && NowNs() < stop) {
    if (batch == 1) {
      Check(
          producer.Send({.topic = "events", .value = std::string_view(pool[sent])}, CheckDelivery));
      ++sent;
      continue;
    }
    records.clear();
    for (int i = 0; i < batch && sent < size.records; ++i, ++sent)
      records.push_back({.topic = "events", .value = std::string_view(pool[sent])});
    for (const auto& delivery : producer.SendAll(records)) CheckDelivery(delivery);
  }
  Check(producer.Flush());
  bench::Print({.name = name,
                .records = sent,
                .bytes = sent * size.bytes,
                .seconds = static_cast<double>(NowNs() - start) / 1e9});
  if (read) Read(broker, size, sent);
}

// Durable appends by `threads`, each waiting for its own.
void SyncAppend(const std::string& name, int threads) {
  if (!Wanted(name)) return;
  Broker broker = FreshBroker(Flush::kEachBatch);
  Producer producer = Check(broker.client().NewProducer());
  const bench::Pool pool(1024);
  std::vector<std::vector<int64_t>> latencies(static_cast<size_t>(threads));
  const int64_t start = NowNs();
  {
    std::vector<std::jthread> workers;
    for (int t = 0; t < threads; ++t) {
      workers.emplace_back([&, t] {
        auto& mine = latencies[static_cast<size_t>(t)];
        for (uint64_t i = 0; NowNs() - start < 2'000'000'000 && i < 5000; ++i) {
          const int64_t before = NowNs();
          CheckDelivery(
              producer.Send({.topic = "events", .value = std::string_view(pool[i])}).Get());
          mine.push_back(NowNs() - before);
        }
      });
    }
  }
  const double seconds = static_cast<double>(NowNs() - start) / 1e9;
  std::vector<int64_t> all;
  for (const auto& mine : latencies) all.insert(all.end(), mine.begin(), mine.end());
  bench::Print({.name = name,
                .records = all.size(),
                .bytes = all.size() * 1024,
                .seconds = seconds,
                .latencies_ns = std::move(all)});
}

// Durable appends with 64 records under way from one thread.
void SyncAppendInFlight() {
  const std::string name = "sync_append_1KiB_inflight64";
  if (!Wanted(name)) return;
  Broker broker = FreshBroker(Flush::kEachBatch);
  Producer producer = Check(broker.client().NewProducer());
  const bench::Pool pool(1024);
  std::atomic<int> in_flight{0};
  const int64_t start = NowNs();
  uint64_t sent = 0;
  for (; NowNs() - start < 2'000'000'000; ++sent) {
    int now;
    while ((now = in_flight.load()) >= 64) in_flight.wait(now);
    in_flight.fetch_add(1);
    Check(producer.Send({.topic = "events", .value = std::string_view(pool[sent])},
                        [&](const StatusOr<Delivery>& delivery) {
                          CheckDelivery(delivery);
                          in_flight.fetch_sub(1);
                          in_flight.notify_one();
                        }));
  }
  Check(producer.Flush());
  bench::Print({.name = name,
                .records = sent,
                .bytes = sent * 1024,
                .seconds = static_cast<double>(NowNs() - start) / 1e9});
}

enum class Reader { kSleeps, kPolls };

// Producer thread to consumer thread at a fixed rate, open loop: latency from the intended send
// time to the touch of the record.
void Tail(const std::string& name, double rate, Flush flush, Reader reader) {
  if (!Wanted(name)) return;
  Broker broker = FreshBroker(flush);
  Producer producer = Check(broker.client().NewProducer());
  const double seconds = bench::EnvNumber("TAIL_S", 4);
  const auto total = static_cast<uint64_t>(rate * seconds);
  std::vector<int64_t> latencies;
  latencies.reserve(total);
  std::atomic<bool> ready{false};
  std::thread consumer_thread([&] {
    Consumer consumer = Check(broker.client().NewConsumer());
    Check(consumer.Assign({{"events", 0}}));
    ready = true;
    while (latencies.size() < total) {
      const RecordBatch batch = Check(
          consumer.Poll(reader == Reader::kSleeps ? absl::Seconds(10) : absl::ZeroDuration()));
      if (batch.empty()) sched_yield();
      for (const RecordView& record : batch) {
        int64_t due;
        std::memcpy(&due, record.value().str().data(), sizeof due);
        sink += bench::Touch(record.value().str());
        latencies.push_back(NowNs() - due);
      }
    }
  });
  while (!ready) sched_yield();
  std::string record = bench::JsonRecord(1024, 1);
  const int64_t start = NowNs() + 100'000'000;
  bool held = true;
  for (uint64_t i = 0; i < total; ++i) {
    int64_t due = start + static_cast<int64_t>(static_cast<double>(i) * 1e9 / rate);
    if (held && NowNs() - start > static_cast<int64_t>(3 * seconds * 1e9)) held = false;
    if (!held) due = NowNs();  // too slow for the rate: let the consumer finish, and say so
    while (NowNs() < due) sched_yield();
    std::memcpy(record.data(), &due, sizeof due);
    Check(producer.Send({.topic = "events", .value = std::string_view(record)}, CheckDelivery));
  }
  consumer_thread.join();
  const double elapsed = static_cast<double>(NowNs() - start) / 1e9;
  held = held && elapsed <= seconds * 1.05;
  latencies.erase(latencies.begin(), latencies.begin() + static_cast<int64_t>(total / 10));
  bench::Print({.name = name,
                .records = total,
                .bytes = total * 1024,
                .seconds = elapsed,
                .latencies_ns = std::move(latencies),
                .extra = held ? "" : R"(,"note":"rate not held")"});
}

// What the program holds of the heap. Not the resident size: that is what it once held.
double HeapBytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd);
}

// A directory with 1,000 partitions that each hold a record, closed cleanly: time to open it, and
// what a partition takes of memory that was looked at, and one that was written to.
void CleanOpen() {
  const std::string name = "open_clean_1000_partitions";
  if (!Wanted(name)) return;
  constexpr int kPartitions = 1000;
  const auto send_to_each = [](Broker& broker) {
    Producer producer = Check(broker.client().NewProducer());
    std::vector<ProducerRecord> records;
    for (int p = 0; p < kPartitions; ++p)
      records.push_back({.topic = "many", .partition = p, .value = "idle"});
    for (const auto& delivery : producer.SendAll(records)) CheckDelivery(delivery);
    Check(producer.Close(absl::Seconds(10)));
  };
  {
    Broker broker = FreshBroker(Flush::kOs);
    Check(broker.client().admin().CreateTopic("many", {.partitions = kPartitions}));
    send_to_each(broker);
    Check(broker.Close(absl::Minutes(1)));
  }
  const double before = HeapBytes();
  const int64_t start = NowNs();
  Broker broker = Check(Broker::Open({.directory = DataDir(), .flush = Flush::kOs}));
  const int64_t opened = NowNs();
  std::vector<TopicPartition> all;
  for (int p = 0; p < kPartitions; ++p) all.push_back({"many", p});
  Consumer consumer = Check(broker.client().NewConsumer());
  const OffsetMap ends = Check(consumer.EndOffsets(all));
  for (const auto& [partition, end] : ends)
    if (end != 1) Die(absl::DataLossError("a partition lost its record"));
  const double looked_at = (HeapBytes() - before) / kPartitions;
  send_to_each(broker);
  const double written_to = (HeapBytes() - before) / kPartitions;
  bench::Print(
      {.name = name,
       .records = kPartitions,
       .seconds = static_cast<double>(opened - start) / 1e9,
       .extra = fmt::format(R"(,"open_ms":{:.3f},"bytes_per_idle_partition":{:.0f})"
                            R"(,"bytes_per_used_partition":{:.0f})",
                            static_cast<double>(opened - start) / 1e6, looked_at, written_to)});
}

}  // namespace

int main(int argc, char** argv) {
  prefixes.assign(argv + 1, argv + argc);
  const double scale = bench::EnvNumber("SCALE", 1);
  const auto scaled = [&](double n) { return static_cast<uint64_t>(n * scale); };
  for (const Size& size : {Size{"100B", 100, scaled(1e6)}, Size{"1KiB", 1024, scaled(3e5)},
                           Size{"10KiB", 10240, scaled(3e4)}})
    for (const int batch : {1, 100}) Append(size, batch);
  SyncAppend("sync_append_1KiB_b1", 1);
  SyncAppend("sync_append_1KiB_t16", 16);
  SyncAppendInFlight();
  Tail("tail_10k", 1e4, Flush::kOs, Reader::kSleeps);
  Tail("tail_100k", 1e5, Flush::kOs, Reader::kSleeps);
  Tail("tail_poll_10k", 1e4, Flush::kOs, Reader::kPolls);
  Tail("tail_poll_100k", 1e5, Flush::kOs, Reader::kPolls);
  Tail("tail_sync_1k", 1e3, Flush::kEachBatch, Reader::kSleeps);
  CleanOpen();
  std::filesystem::remove_all(DataDir());
  return sink == 0x5eed ? 3 : 0;  // uses what was read, so that no compiler may drop the reading
}
