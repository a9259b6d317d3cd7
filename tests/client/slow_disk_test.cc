// A disk that hangs in its syncs holds nobody for longer than was asked.
#include <poll.h>

#include <chrono>
#include <condition_variable>
#include <thread>

#include "client/fixture.h"
#include "millrace/testing/simulated_disk.h"

namespace millrace {
namespace {

// A disk whose syncs can be held up.
class HeldDisk {
 public:
  HeldDisk() {
    disk->SetFaults([this](const testing::DiskCall& call) {
      const bool sync = call.op == testing::DiskOp::kSync || call.op == testing::DiskOp::kSyncDir;
      return sync && MaybeHold() ? std::optional(testing::Fault()) : std::nullopt;
    });
    OrFail(disk->CreateDir("/log"));
  }
  ~HeldDisk() { Release(); }
  void Hold() {
    MutexLock lock(mu_);
    holding_ = true;
  }
  void Release() {
    MutexLock lock(mu_);
    holding_ = false;
    changed_.NotifyAll();
  }
  void ReleaseWithError() {
    MutexLock lock(mu_);
    failing_ = true;
    holding_ = false;
    changed_.NotifyAll();
  }
  void Mend() {
    MutexLock lock(mu_);
    failing_ = false;
  }
  // Whether a call waits in here, and always did since the last Hold: nothing has ended it.
  bool holds() const {
    MutexLock lock(mu_);
    return holding_ && held_ > 0;
  }
  void AwaitHeld() const {
    MutexLock lock(mu_);
    while (held_ == 0) changed_.Wait(mu_);
  }

  const std::shared_ptr<testing::SimulatedDisk> disk = std::make_shared<testing::SimulatedDisk>(1);

 private:
  bool MaybeHold() {  // whether the call fails
    MutexLock lock(mu_);
    ++held_;
    changed_.NotifyAll();
    // A call that waits for this anyway must fail the test, not hang it.
    const auto guard = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (holding_ && std::chrono::steady_clock::now() < guard)
      changed_.WaitWith(mu_, [&](auto& cv, auto& held) { cv.wait_until(held, guard); });
    holding_ = false;
    --held_;
    return failing_;
  }
  mutable Mutex mu_;
  mutable CondVar changed_;
  bool holding_ ABSL_GUARDED_BY(mu_) = false;
  bool failing_ ABSL_GUARDED_BY(mu_) = false;
  int held_ ABSL_GUARDED_BY(mu_) = 0;
};

// A broker on it, on real time, whose syncs are those of its own threads.
struct Slow {
  explicit Slow(BrokerOptions options = {}) {
    options.directory = "/log";
    options.env.files = held.disk;
    options.client.log = log;
    opened = options;
    broker = std::make_unique<Broker>(OrFail(Broker::Open(options)));
    OrFail(broker->client().admin().CreateTopic("t", {.partitions = 2}));
    Send("first");
  }
  Client client() const { return broker->client(); }
  void Send(const std::string& value) {
    Producer producer = OrFail(client().NewProducer());
    OrFail(producer.Send({.topic = "t", .partition = 0, .value = value}).Get());
  }
  // A member that has read what there is.
  Consumer Member(ConsumerOptions options = {}) {
    options.group = "g";
    options.topics = {"t"};
    Consumer consumer = OrFail(client().NewConsumer(std::move(options)));
    while (OrFail(consumer.Poll(absl::Seconds(10))).empty()) {
    }
    return consumer;
  }
  Offset Committed() {
    const GroupInfo info = OrFail(client().admin().DescribeGroup("g"));
    const auto found = info.committed.find({"t", 0});
    return found == info.committed.end() ? -1 : found->second;
  }

  HeldDisk held;
  std::shared_ptr<LogLines> log = std::make_shared<LogLines>();
  BrokerOptions opened;
  std::unique_ptr<Broker> broker;
};

constexpr absl::Duration kShort = absl::Milliseconds(10);

bool Readable(int fd, int timeout_ms) {
  pollfd polled{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&polled, 1, timeout_ms) == 1;
}

TEST_CASE("a commit waits no longer than it was told", "[client][slow_disk]") {
  Slow m({.background_threads = GENERATE(1, 2, 3)});
  Consumer consumer = m.Member({.commits = Commits::kManual});
  OrFail(consumer.Commit({{{"t", 0}, 0}}));
  m.held.Hold();
  const Status status = consumer.Commit(kShort);
  CHECK(m.held.holds());
  CHECK(absl::IsDeadlineExceeded(status));
  CHECK(DetailOf(status)->persistence == Persistence::kPossiblyPersisted);
  m.held.Release();
  OrFail(consumer.Commit());
  CHECK(m.Committed() == 1);
}

TEST_CASE("an asynchronous commit keeps no thread waiting", "[client][slow_disk]") {
  Slow m;
  Consumer consumer = m.Member({.commits = Commits::kManual});
  OrFail(consumer.Commit({{{"t", 0}, 0}}));
  m.held.Hold();
  Future<OffsetMap> committed = consumer.CommitAsync();
  CHECK_FALSE(committed.ready());
  CHECK(absl::IsDeadlineExceeded(committed.Get(kShort).status()));
  // The thread that calls back is free for others.
  Producer producer = OrFail(m.client().NewProducer({.acks = Acks::kLeader}));
  std::atomic<bool> called{false};
  OrFail(producer.Send({.topic = "t", .partition = 0, .value = "x"},
                       [&](const StatusOr<Delivery>&) { called.store(true); }));
  OrFail(producer.Flush(absl::Seconds(10)));
  CHECK(called.load());
  CHECK(m.held.holds());
  m.held.Release();
  CHECK(OrFail(committed.Get()) == OffsetMap{{{"t", 0}, 1}});
}

TEST_CASE("a member that joins while the disk hangs is not kept in Poll", "[client][slow_disk]") {
  Slow m;
  m.Member().Close(absl::Seconds(10)).IgnoreError();  // the group's topic is there
  const Offset before =
      OrFail(m.client().admin().DescribeTopic("__consumer_offsets")).partitions.front().end;
  m.held.Hold();
  Consumer consumer = OrFail(m.client().NewConsumer({.group = "h", .topics = {"t"}}));
  const int fd = consumer.event_fd();
  for (int i = 0; i < 50; ++i) CHECK(OrFail(consumer.Poll(absl::ZeroDuration())).empty());
  CHECK(consumer.assignment().empty());  // nothing is done on the strength of what may be lost
  SECTION("it waits until its time is over") { CHECK(OrFail(consumer.Poll(kShort)).empty()); }
  SECTION("it hears that it is to stop") {
    std::stop_source stop;
    std::thread stopper([&] { stop.request_stop(); });
    CHECK(absl::IsCancelled(consumer.Poll(absl::InfiniteDuration(), stop.get_token()).status()));
    stopper.join();
  }
  SECTION("it hears Wake") {
    consumer.Wake();
    CHECK(absl::IsCancelled(consumer.Poll(absl::InfiniteDuration()).status()));
  }
  SECTION("it leaves within its time") {
    CHECK(absl::IsDeadlineExceeded(consumer.Close(kShort)));
    CHECK(m.held.holds());
    m.held.Release();
    CHECK(OrFail(m.client().admin().DescribeGroup("h")).members.empty());
    return;
  }
  CHECK(m.held.holds());
  OrFail(consumer.Poll(absl::ZeroDuration()));  // takes note of the descriptor
  CHECK_FALSE(Readable(fd, 0));
  m.held.Release();
  CHECK(Readable(fd, 10'000));
  size_t read = 0;
  while (read == 0) read += OrFail(consumer.Poll(absl::Seconds(10))).size();
  CHECK(read == 1);
  // One heartbeat was enough: the Polls have not written the group anew each.
  const Offset after =
      OrFail(m.client().admin().DescribeTopic("__consumer_offsets")).partitions.front().end;
  CHECK(after - before < 20);
}

TEST_CASE("the first use of a directory's groups keeps nobody waiting", "[client][slow_disk]") {
  Slow m;
  m.held.Hold();
  SECTION("a member's Poll") {
    Consumer consumer = OrFail(m.client().NewConsumer({.group = "g", .topics = {"t"}}));
    for (int i = 0; i < 20; ++i) CHECK(OrFail(consumer.Poll(absl::ZeroDuration())).empty());
    CHECK(OrFail(consumer.Poll(kShort)).empty());
    CHECK(m.held.holds());
    m.held.Release();
    CHECK(OrFail(consumer.Poll(absl::Seconds(10))).size() == 1);
  }
  SECTION("a commit") {
    Consumer consumer = OrFail(m.client().NewConsumer({.group = "g", .commits = Commits::kManual}));
    OrFail(consumer.Assign({{"t", 0}}));
    const Status status = consumer.Commit({{{"t", 0}, 1}}, kShort);
    CHECK(absl::IsDeadlineExceeded(status));
    CHECK(DetailOf(status)->persistence == Persistence::kNotPersisted);
    CHECK(m.held.holds());
    m.held.Release();
    OrFail(consumer.Commit({{{"t", 0}, 1}}));
    CHECK(m.Committed() == 1);
  }
  SECTION("a commit between two polls") {
    Consumer consumer = OrFail(m.client().NewConsumer({.group = "g"}));
    OrFail(consumer.Assign({{"t", 0}}));
    CHECK(OrFail(consumer.Poll(kShort)).size() == 1);
    CHECK(OrFail(consumer.Poll(kShort)).empty());
    CHECK(m.held.holds());
    m.held.Release();
    OrFail(consumer.Close(absl::Seconds(10)));
    CHECK(m.Committed() == 1);
  }
}

TEST_CASE("a sender does not wait for a partition to be made", "[client][slow_disk]") {
  Slow m;
  Producer producer = OrFail(m.client().NewProducer());
  m.held.Hold();
  std::vector<Offset> offsets;  // by the thread that calls back
  const auto note = [&](const StatusOr<Delivery>& d) { offsets.push_back(OrFail(d).offset); };
  OrFail(producer.TrySend({.topic = "t", .partition = 1, .value = "a"}, note));
  OrFail(producer.Send({.topic = "t", .partition = 1, .value = "b"}, note));
  Future<Delivery> third = producer.Send({.topic = "t", .partition = 1, .value = "c"});
  CHECK(absl::IsDeadlineExceeded(third.Get(kShort).status()));
  CHECK(absl::IsDeadlineExceeded(producer.Flush(kShort)));
  CHECK(m.held.holds());
  m.held.Release();
  CHECK(OrFail(third.Get()).offset == 2);
  OrFail(producer.Flush());
  CHECK(offsets == std::vector<Offset>{0, 1});
}

TEST_CASE("an admin's call takes its timeout", "[client][slow_disk]") {
  Slow m({.client = {.admin_timeout = kShort}});
  Admin admin = m.client().admin();
  m.held.Hold();
  const Status status = admin.CreateTopic("u", {});
  CHECK(absl::IsDeadlineExceeded(status));
  CHECK(DetailOf(status)->persistence == Persistence::kPossiblyPersisted);
  CHECK(absl::IsDeadlineExceeded(admin.DeleteTopic("t")));
  CHECK(m.held.holds());
  m.held.Release();
  // Both are done all the same, in this order.
  while (OrFail(admin.ListTopics()) != std::vector<std::string>{"u"}) std::this_thread::yield();
}

TEST_CASE("a consumer ends within its time", "[client][slow_disk]") {
  Slow m({.client = {.close_timeout = kShort}});
  Consumer consumer = m.Member();
  OrFail(consumer.Poll(absl::ZeroDuration()));  // commits
  m.Send("second");
  CHECK(OrFail(consumer.Poll(absl::Seconds(10))).size() == 1);
  m.held.Hold();
  SECTION("closed") { CHECK(absl::IsDeadlineExceeded(consumer.Close(kShort))); }
  SECTION("unsubscribed") { CHECK(absl::IsDeadlineExceeded(consumer.Unsubscribe())); }
  SECTION("destroyed") { const Consumer gone = std::move(consumer); }
  CHECK(m.held.holds());
  // Both took effect, and are on their way to the disk.
  m.held.Release();
  CHECK(OrFail(m.client().admin().DescribeGroup("g")).members.empty());
  CHECK(m.Committed() >= 1);
}

TEST_CASE("a partition is given up while the disk hangs", "[client][slow_disk]") {
  Slow m;
  Consumer first = m.Member();
  m.held.Hold();
  Consumer second = OrFail(m.client().NewConsumer({.group = "g", .topics = {"t"}}));
  CHECK(OrFail(second.Poll(absl::ZeroDuration())).empty());
  for (int i = 0; i < 5; ++i) OrFail(first.Poll(kShort));
  CHECK(m.held.holds());
  m.held.Release();
  while (first.assignment().size() != 1 || second.assignment().size() != 1) {
    OrFail(first.Poll(kShort));
    OrFail(second.Poll(kShort));
  }
  CHECK(m.Committed() == 1);
}

TEST_CASE("a broker closes within its time, and ends when the disk lets it",
          "[client][slow_disk]") {
  auto m = std::make_unique<Slow>(
      BrokerOptions{.background_threads = GENERATE(1, 3), .client = {.close_timeout = kShort}});
  Producer producer = OrFail(m->client().NewProducer());
  m->held.Hold();
  Future<Delivery> delivery = producer.Send({.topic = "t", .partition = 0, .value = "second"});
  m->held.AwaitHeld();
  SECTION("closed") {
    CHECK(absl::IsDeadlineExceeded(m->broker->Close(kShort)));
    CHECK(m->held.holds());
    const Status unknown = delivery.Get().status();
    CHECK(ErrorIdOf(unknown) == ErrorId::kClosed);
    CHECK(DetailOf(unknown)->persistence == Persistence::kPossiblyPersisted);
    CHECK(absl::IsDeadlineExceeded(m->broker->Close(absl::ZeroDuration())));
    CHECK(ErrorIdOf(Broker::Open(m->opened).status()) == ErrorId::kAlreadyOpen);
    CHECK(m->held.holds());
    const size_t lines = m->log->size();
    m->held.ReleaseWithError();  // which is worth a line of the log
    CHECK_FALSE(m->broker->Close(absl::InfiniteDuration()).ok());
    CHECK(m->log->size() == lines);  // but its sink may be gone by now
    m->held.Mend();
  }
  SECTION("destroyed") {
    {
      const Producer gone = std::move(producer);
    }
    m->broker = nullptr;
    CHECK(m->held.holds());
    CHECK(ErrorIdOf(Broker::Open(m->opened).status()) == ErrorId::kAlreadyOpen);
    m->held.Release();
    CHECK_FALSE(delivery.Get().ok());
  }
  // What was acknowledged is there, and what was not perhaps.
  StatusOr<Broker> again = Broker::Open(m->opened);
  while (ErrorIdOf(again.status()) == ErrorId::kAlreadyOpen) {
    std::this_thread::yield();
    again = Broker::Open(m->opened);
  }
  OrFail(again.status());
  Consumer reader = OrFail(again->client().NewConsumer());
  OrFail(reader.Assign({{"t", 0}}));
  OrFail(reader.SeekToBeginning({{"t", 0}}));
  CHECK(Values(OrFail(reader.Poll(absl::Seconds(10)))).front() == "first");
}

}  // namespace
}  // namespace millrace
