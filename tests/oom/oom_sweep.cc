// The out-of-memory sweep: a workload over the public API in which the n-th allocation fails, for n
// = 1, 2, 3 and on until it runs through; once only, and from then on. Whatever fails must be an
// error, never an exception, a crash or a hang, and what was acknowledged must be there when memory
// is back.
//   oom_sweep DIR [STRIDE [FIRST]]      every STRIDE-th allocation (1: all), from FIRST
// Prints harness=oom-sweep checked=N lost=N wrong=N.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <new>
#include <set>
#include <string>

#include "millrace/millrace.h"
#include "millrace/testing/manual_clock.h"

namespace {

std::atomic<int64_t> allocations_left{-1};  // -1: no failure is planned
std::atomic<bool> sticky{false};
std::atomic<bool> has_failed{false};

bool MustFail() {
  int64_t left = allocations_left.load(std::memory_order_relaxed);
  if (left < 0) return false;
  if (left == 0) {
    has_failed = true;
    if (!sticky) allocations_left = -1;
    return true;
  }
  allocations_left.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void* Allocate(size_t size, size_t alignment) {
  if (MustFail()) return nullptr;
  return alignment <= alignof(std::max_align_t)
             ? std::malloc(size)
             : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

}  // namespace

void* operator new(size_t size) {
  if (void* p = Allocate(size, 0)) return p;
  throw std::bad_alloc();
}
void* operator new(size_t size, std::align_val_t alignment) {
  if (void* p = Allocate(size, static_cast<size_t>(alignment))) return p;
  throw std::bad_alloc();
}
void* operator new(size_t size, const std::nothrow_t&) noexcept { return Allocate(size, 0); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }

namespace {

using namespace millrace;  // NOLINT(google-build-using-namespace): a program, not a header

// What was acknowledged, in storage that never allocates while failures are on.
struct Acknowledged {
  static constexpr int kMost = 64;
  bool record[kMost] = {};
  int64_t committed = -1;
  bool closed = false;
};

Env TestEnv() {
  static const auto clock =
      std::make_shared<testing::ManualClock>(absl::FromUnixSeconds(1700000000));
  Env env;
  env.clock = clock;
  return env;
}

BrokerOptions OptionsFor(const std::string& dir, const Env& env) {
  BrokerOptions options;
  options.directory = dir;
  options.background_threads = 0;
  options.env = env;
  options.client.log_level = LogLevel::kOff;
  return options;
}

// What a caller makes on its own account: before memory runs out.
struct Prepared {
  explicit Prepared(const std::string& dir, const Env& env) : broker(OptionsFor(dir, env)) {
    topic.partitions = 1;
    topic.segment_bytes = 8192;
    consumer.group = "readers";
    consumer.topics = {"events"};
    consumer.commits = Commits::kManual;
  }
  BrokerOptions broker;
  TopicOptions topic;
  ConsumerOptions consumer;
};

void Produce(const Client& client, Acknowledged& done) {
  auto producer = client.NewProducer();
  if (!producer.ok()) return;
  static const std::string kBig(3000, 'x');
  for (int i = 0; i < 8; ++i) {
    char text[8];
    std::snprintf(text, sizeof text, "%d", i);
    const auto sent =
        producer
            ->Send(
                {.topic = "events", .key = std::string_view(text), .value = std::string_view(kBig)})
            .Get(absl::Seconds(10));
    if (sent.ok()) done.record[i] = true;
  }
  for (int i = 8; i < 16; ++i) {
    char text[8];
    std::snprintf(text, sizeof text, "%d", i);
    producer
        ->Send({.topic = "events", .key = std::string_view(text), .value = "small"},
               [&done, i](const StatusOr<Delivery>& delivery) {
                 if (delivery.ok()) done.record[i] = true;
               })
        .IgnoreError();  // not accepted: the callback is never called
  }
  producer->Flush(absl::Seconds(10))
      .IgnoreError();  // what has no answer counts as not acknowledged
}

void Consume(const Client& client, ConsumerOptions options, Acknowledged& done) {
  auto consumer = client.NewConsumer(std::move(options));
  if (!consumer.ok()) return;
  for (int polls = 0; polls < 3; ++polls) {
    auto batch = consumer->Poll(absl::ZeroDuration());
    if (!batch.ok() || batch->empty()) continue;
    int64_t next = 0;
    for (const auto& slice : batch->slices()) next = slice.next_offset;
    if (consumer->Commit().ok() && next > done.committed) done.committed = next;
  }
  consumer->Close(absl::Seconds(5)).IgnoreError();  // the destructor does the rest
}

void Workload(Prepared prepared, int64_t fail_at, Acknowledged& done) {
  allocations_left = fail_at;
  auto broker = Broker::Open(std::move(prepared.broker));
  if (!broker.ok()) return;
  const Client client = broker->client();
  client.admin()
      .CreateTopic("events", std::move(prepared.topic), OnExists::kKeep)
      .IgnoreError();  // without the topic nothing is acknowledged below
  Produce(client, done);
  Consume(client, std::move(prepared.consumer), done);
  broker->RunMaintenance().IgnoreError();
  done.closed = broker->Close(absl::Seconds(5)).ok();
}

// With memory back: what was acknowledged is there.
int Lost(const std::string& dir, const Env& env, const Acknowledged& done) {
  auto broker = Broker::Open(OptionsFor(dir, env));
  if (!broker.ok()) {
    std::cerr << "does not open again: " << broker.status() << "\n";
    return 1;
  }
  std::set<std::string> found;
  auto consumer = broker->client().NewConsumer({.group = "readers"});
  if (!consumer.ok()) return 1;
  int lost = 0;
  if (consumer->Assign({{"events", 0}}).ok() && consumer->SeekToBeginning().ok()) {
    for (;;) {
      auto batch = consumer->Poll(absl::ZeroDuration());
      if (!batch.ok() || batch->empty()) break;
      for (const RecordView& record : *batch) found.emplace(record.key().str());
    }
    if (done.committed >= 0) {
      const auto committed = consumer->Committed({{"events", 0}});
      if (!committed.ok() || committed->empty() || committed->begin()->second < done.committed)
        ++lost;
    }
  } else if (done.committed >= 0) {
    ++lost;
  }
  for (int i = 0; i < Acknowledged::kMost; ++i)
    if (done.record[i] && !found.contains(std::to_string(i))) ++lost;
  if (lost > 0) std::cerr << "lost " << lost << " of what was acknowledged\n";
  return lost;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::cerr << "usage: oom_sweep DIR [STRIDE [FIRST]]\n", 2;
  const std::string dir = argv[1];
  const int64_t stride = argc > 2 ? std::max(1, std::atoi(argv[2])) : 1;
  const int64_t first = argc > 3 ? std::max(0, std::atoi(argv[3])) : 0;
  const auto env = TestEnv();
  int64_t checked = 0, lost = 0, wrong = 0;
  for (const bool from_then_on : {false, true}) {
    for (int64_t n = first;; n += stride) {
      std::filesystem::remove_all(dir);
      Acknowledged done;
      has_failed = false;
      sticky = from_then_on;
      Prepared prepared(dir, env);
      try {
        Workload(std::move(prepared), n, done);
      } catch (const std::exception& e) {
        allocations_left = -1;
        std::cerr << "allocation " << n << ": an exception left the library: " << e.what() << "\n";
        ++wrong;
      }
      allocations_left = -1;
      if (!has_failed) {
        if (!done.closed || !done.record[15] || done.committed < 0) {
          std::cerr << "the workload does not run through with memory enough\n";
          ++wrong;
        }
        break;
      }
      const int missing = Lost(dir, env, done);
      if (missing > 0) std::cerr << "allocation " << n << (from_then_on ? " and on" : "") << "\n";
      lost += missing;
      ++checked;
    }
  }
  std::filesystem::remove_all(dir);
  std::cout << "harness=oom-sweep checked=" << checked << " lost=" << lost << " wrong=" << wrong
            << "\n";
  return checked > 0 && lost == 0 && wrong == 0 ? 0 : 1;
}
