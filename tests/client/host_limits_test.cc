// A process that is short of something: files, stack, uninterrupted system calls, itself.
#include <pthread.h>
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <thread>

#include <fmt/format.h>

#include "client/child.h"
#include "client/real_files.h"

namespace millrace {
namespace {

using Catch::Contains;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// Everything that a user does, in its usual order. What went wrong, or nothing.
std::string UseAll(const std::string& directory) {
  auto broker = Broker::Open({.directory = directory, .background_threads = 0});
  if (!broker.ok()) return Described(broker.status());
  const Client client = broker->client();
  Status status = client.admin().CreateTopic("t", {.partitions = 2}, OnExists::kKeep);
  for (const auto codec : {Compression::kNone, Compression::kGzip, Compression::kSnappy,
                           Compression::kLz4, Compression::kZstd}) {
    auto producer = client.NewProducer({.compression = codec});
    if (!producer.ok()) return Described(producer.status());
    status.Update(producer->Send({.topic = "t", .partition = 0, .value = std::string(5000, 'x')})
                      .Get()
                      .status());
    status.Update(producer->Close(absl::Seconds(10)));
  }
  auto consumer = client.NewConsumer({.group = "g"});
  if (!consumer.ok()) return Described(consumer.status());
  status.Update(consumer->SubscribePattern("t|(a+)+b"));
  size_t read = 0;
  for (int i = 0; i < 100 && read < 5; ++i) {
    const auto batch = consumer->Poll(absl::ZeroDuration());
    status.Update(batch.status());
    if (batch.ok()) read += batch->size();
  }
  if (read != 5) return fmt::format("{} records were read", read);
  status.Update(consumer->Commit());
  status.Update(consumer->Close(absl::Seconds(10)));
  status.Update(client.admin().DescribeGroup("g").status());
  status.Update(client.admin().CreateTopic("no/topic").ok() ? absl::UnknownError("made")
                                                            : absl::OkStatus());
  status.Update(client.admin().DeleteTopic("t"));
  status.Update(broker->Close());
  return status.ok() ? "" : Described(status);
}

}  // namespace

TEST_CASE("open files that do not suffice are an error, and lose nothing", "[client][limits]") {
  // How far it gets with so few, then with enough.
  const auto with_files = [](const std::string& directory, rlim_t files) -> std::string {
    const auto allow = [](rlim_t count) {
      const struct rlimit limit = {.rlim_cur = count, .rlim_max = 1024};
      return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
    };
    if (!allow(files)) return "no limit";
    auto broker = Broker::Open({.directory = directory, .background_threads = 0});
    Status status = broker.status();
    int acknowledged = 0;
    for (int i = 0; i < 10 && status.ok(); ++i) {
      const std::string topic = fmt::format("t{}", i);
      auto producer = broker->client().NewProducer();
      status = broker->client().admin().CreateTopic(topic);
      if (status.ok()) status = producer->Send({.topic = topic, .value = "v"}).Get().status();
      if (status.ok()) acknowledged = i + 1;
    }
    allow(1024);
    if (broker.ok() && !broker->Close().ok()) return "the close failed";
    const auto again = Broker::Open({.directory = directory, .background_threads = 0});
    if (!again.ok()) return "then: " + Described(again.status());
    for (int i = 0; i < acknowledged; ++i) {
      Consumer consumer = OrFail(again->client().NewConsumer());
      OrFail(consumer.Assign({{fmt::format("t{}", i), 0}}));
      if (OrFail(consumer.Poll(absl::ZeroDuration())).size() != 1) return "lost";
    }
    return status.ok() ? "enough" : Described(status);
  };
  const TemporaryDirectory base;
  int refused = 0;
  for (const rlim_t files : {6, 7, 8, 10, 16}) {
    const std::string directory = fmt::format("{}/{}", base.path(), files);
    const std::string said = SaidByChild([&] { return with_files(directory, files); });
    INFO(files);
    if (said == "enough") continue;
    ++refused;
    CHECK_THAT(said, Catch::StartsWith("too_many_files: ") && Contains(directory) &&
                         Contains("raise RLIMIT_NOFILE"));
  }
  CHECK(refused > 0);
  CHECK(refused < 5);
}

TEST_CASE("a file may not grow past RLIMIT_FSIZE, and the process lives", "[client][limits]") {
  const TemporaryDirectory base;
  CHECK_THAT(SaidByChild([&]() -> std::string {
               Broker broker =
                   OrFail(Broker::Open({.directory = base.path(), .background_threads = 0}));
               OrFail(broker.client().admin().CreateTopic("t"));
               Producer producer = OrFail(broker.client().NewProducer());
               OrFail(producer.Send({.topic = "t", .value = "v"}).Get());
               const struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY};
               if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return "no limit";
               Status status;
               const std::string value(100'000, 'x');
               for (int i = 0; i < 20 && status.ok(); ++i)
                 status = producer.Send({.topic = "t", .value = value}).Get().status();
               const std::string said = Described(status);
               status = producer.Send({.topic = "t", .value = "small"}).Get().status();
               return said + (status.ok() ? "; a small one fits" : Described(status));
             }),
             Contains("no_space: ") && Contains(base.path() + "/t-0/00000000000000000000.log") &&
                 Contains("past RLIMIT_FSIZE of 1048576 bytes") && Contains("a small one fits"));
}

TEST_CASE("a thread of 64 KiB of stack can do everything", "[client][limits]") {
  const TemporaryDirectory base;
  struct Work {
    std::string directory;
    std::string said = "did not run";
  } work{base.path(), {}};
  pthread_attr_t attributes;
  REQUIRE(::pthread_attr_init(&attributes) == 0);
  // A sanitizer's frames are many times as large.
  REQUIRE(::pthread_attr_setstacksize(&attributes, (kSanitized ? 1024 : 64) << 10) == 0);
  pthread_t thread;
  REQUIRE(::pthread_create(
              &thread, &attributes,
              [](void* argument) -> void* {
                auto* const w = static_cast<Work*>(argument);
                w->said = UseAll(w->directory);
                return nullptr;
              },
              &work) == 0);
  ::pthread_join(thread, nullptr);
  ::pthread_attr_destroy(&attributes);
  CHECK(work.said == "");
}

TEST_CASE("a storm of signals interrupts no call", "[client][limits]") {
  const TemporaryDirectory base;
  struct sigaction action = {};
  action.sa_handler = [](int) {};  // without SA_RESTART
  struct sigaction before = {};
  REQUIRE(::sigaction(SIGUSR1, &action, &before) == 0);
  std::atomic<bool> done{false};
  const pthread_t self = ::pthread_self();
  std::thread storm([&] {
    while (!done) {
      ::pthread_kill(self, SIGUSR1);
      std::this_thread::yield();
    }
  });
  std::string said;
  for (int i = 0; i < 20 && said.empty(); ++i) said = UseAll(base.path());
  {
    const Client client = OrFail(Open("memory:"));
    OrFail(client.admin().CreateTopic("t"));
    Consumer consumer = OrFail(client.NewConsumer());
    OrFail(consumer.Assign({{"t", 0}}));
    CHECK(OrFail(consumer.Poll(absl::Milliseconds(20))).empty());
  }
  done = true;
  storm.join();
  REQUIRE(::sigaction(SIGUSR1, &before, nullptr) == 0);
  CHECK(said == "");
}

TEST_CASE("a forked child is told what it may not do", "[client][limits]") {
  const TemporaryDirectory base;
  Broker broker = OrFail(Broker::Open({.directory = base.path(), .background_threads = 0}));
  const Client client = broker.client();
  OrFail(client.admin().CreateTopic("t"));
  Producer producer = OrFail(client.NewProducer());
  const std::string forked =
      "forked: opened before fork(); a child process must open its own or use none";
  for (const auto& call : std::vector<std::function<Status()>>{
           [&] { return producer.Send({.topic = "t"}).Get().status(); },
           [&] { return producer.Flush(); }, [&] { return client.NewConsumer().status(); },
           [&] { return client.admin().ListTopics().status(); }, [&] { return broker.Sync(); },
           [&] { return broker.RunMaintenance(); },
           [&] { return broker.Checkpoint(base.path() + "/copy"); },
           [&] { return broker.Close(); }}) {
    CHECK(SaidByChild([&] { return Described(call()); }) == forked);
  }
  OrFail(producer.Send({.topic = "t", .value = "v"}).Get());
}

}  // namespace millrace
