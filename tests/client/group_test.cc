#include <atomic>
#include <set>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>

#include "client/fixture.h"

namespace millrace {
namespace {

using Partitions = std::vector<TopicPartition>;

struct Notes : RebalanceListener {
  std::vector<std::string> lines;
  std::function<void(Consumer&)> on_revoked, on_assigned;
  void OnAssigned(Consumer& c, const Partitions& tps) override {
    Write("assigned", tps);
    if (on_assigned) on_assigned(c);
  }
  void OnRevoked(Consumer& c, const Partitions& tps) override {
    Write("revoked", tps);
    if (on_revoked) on_revoked(c);
  }
  void OnLost(Consumer&, const Partitions& tps) override { Write("lost", tps); }
  void Write(std::string_view what, const Partitions& tps) {
    std::string line(what);
    for (const auto& tp : tps) line += fmt::format(" {}", tp.partition);
    lines.push_back(line);
  }
};

Consumer Member(const Embedded& m, ConsumerOptions options = {}) {
  if (options.group.empty()) options.group = "g";
  if (options.topics.empty()) options.topics = {"t"};
  return OrFail(m.client().NewConsumer(std::move(options)));
}

// Polls every member in turn until nothing changes; what they read.
std::vector<std::string> Settle(std::initializer_list<Consumer*> members, int rounds = 6) {
  std::vector<std::string> read;
  for (int i = 0; i < rounds; ++i)
    for (Consumer* member : members)
      for (const auto& value : Next(*member)) read.push_back(value);
  return read;
}

Offset CommittedOf(const Embedded& m, int32_t partition = 0) {
  const GroupInfo info = OrFail(m.admin().DescribeGroup("g"));
  const auto found = info.committed.find({"t", partition});
  return found == info.committed.end() ? -1 : found->second;
}

TEST_CASE("a member gets every partition, and goes on where the group stopped", "[client][group]") {
  Embedded m;
  m.Topic("t", 2);
  m.Produce("t", 0, Numbers(0, 3));
  {
    Consumer consumer = Member(m);
    CHECK(Settle({&consumer}) == Numbers(0, 3));
    CHECK(consumer.assignment() == Partitions{{"t", 0}, {"t", 1}});
    OrFail(consumer.Close(absl::Seconds(1)));
  }
  m.Produce("t", 0, Numbers(3, 5));
  Consumer consumer = Member(m);
  CHECK(Settle({&consumer}) == Numbers(3, 5));
}

TEST_CASE("each Poll commits what the one before returned, Close the last", "[client][group]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 4));
  Consumer consumer = Member(m, {.max_poll_records = 2});
  while (Next(consumer).empty()) {
  }
  CHECK(CommittedOf(m) == -1);
  CHECK(Next(consumer).size() == 2);
  CHECK(CommittedOf(m) == 2);
  SECTION("Close commits") {
    OrFail(consumer.Close(absl::Seconds(1)));
    CHECK(CommittedOf(m) == 4);
  }
  SECTION("the destructor does not: what may not have been processed comes again") {
    {
      const Consumer gone = std::move(consumer);
    }
    CHECK(CommittedOf(m) == 2);
    CHECK(OrFail(m.admin().DescribeGroup("g")).members.empty());
    Consumer next = Member(m);
    CHECK(Settle({&next}) == Numbers(2, 4));
  }
}

TEST_CASE("positions in a topic that was deleted are not committed in its namesake",
          "[client][group]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 4));
  Consumer consumer = OrFail(m.client().NewConsumer({.group = "g", .commits = Commits::kManual}));
  OrFail(consumer.Assign({{"t", 0}}));
  CHECK(Next(consumer) == Numbers(0, 4));
  OrFail(m.admin().DeleteTopic("t"));
  m.Topic("t");
  m.Produce("t", 0, Numbers(10, 20));
  CHECK(ErrorIdOf(consumer.Commit({{{"t", 0}, 3}})) == ErrorId::kUnknownTopic);
  CHECK(ErrorIdOf(consumer.CommitAsync({{{"t", 0}, 3}}).Get().status()) == ErrorId::kUnknownTopic);
  CHECK(Next(consumer) == Numbers(10, 20));
  OrFail(consumer.Commit({{{"t", 0}, 3}}));
  CHECK(CommittedOf(m) == 3);
}

TEST_CASE("committed offsets survive a reopening", "[client][group]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 4));
  {
    Consumer consumer = Member(m, {.commits = Commits::kManual});
    CHECK(Settle({&consumer}).size() == 4);
    OrFail(consumer.Commit({{{"t", 0}, 3}}));
  }
  m.Reopen();
  Consumer consumer = Member(m);
  CHECK(Settle({&consumer}) == Numbers(3, 4));
}

TEST_CASE("partitions are handed over one owner at a time, after a commit", "[client][group]") {
  Embedded m;
  m.Topic("t", 4);
  for (int p = 0; p < 4; ++p) m.Produce("t", p, {std::to_string(p)});
  const auto notes_a = std::make_shared<Notes>();
  const auto notes_b = std::make_shared<Notes>();
  Consumer a = Member(m, {.listener = notes_a});
  CHECK(Settle({&a}).size() == 4);
  CHECK(notes_a->lines == std::vector<std::string>{"assigned 0 1 2 3"});
  Consumer b = Member(m, {.listener = notes_b});
  CHECK(Settle({&b, &a}).empty());  // nothing is read twice
  CHECK(a.assignment().size() == 2);
  CHECK(b.assignment().size() == 2);
  std::set<TopicPartition> all;
  for (const auto& tp : a.assignment()) all.insert(tp);
  for (const auto& tp : b.assignment()) all.insert(tp);
  CHECK(all.size() == 4);
  REQUIRE(notes_a->lines.size() == 2);
  CHECK_THAT(notes_a->lines[1], Catch::StartsWith("revoked"));
  CHECK(notes_b->lines.size() >= 1);
  OrFail(a.Close(absl::Seconds(1)));
  CHECK_THAT(notes_a->lines.back(), Catch::StartsWith("revoked"));
  Settle({&b});
  CHECK(b.assignment().size() == 4);
  for (int p = 0; p < 4; ++p) m.Produce("t", p, {"more"});
  CHECK(Settle({&b}).size() == 4);
}

TEST_CASE("a member that does not poll in time loses its partitions and joins again",
          "[client][group]") {
  Embedded m;
  m.Topic("t", 2);
  m.Produce("t", 0, Numbers(0, 2));
  const auto notes = std::make_shared<Notes>();
  const ConsumerOptions options{.max_poll_interval = absl::Seconds(2)};
  ConsumerOptions with_notes = options;
  with_notes.listener = notes;
  Consumer sleeper = Member(m, with_notes);
  CHECK(Settle({&sleeper}).size() == 2);
  Consumer other = Member(m, options);
  Settle({&sleeper, &other});
  CHECK(sleeper.assignment().size() == 1);
  // Exactly the interval is in time.
  m.clock->Advance(absl::Seconds(2));
  Next(sleeper);
  CHECK(sleeper.assignment().size() == 1);
  for (int i = 0; i < 5; ++i) {
    m.clock->Advance(absl::Milliseconds(500));
    Next(other);
  }
  Settle({&other}, 3);
  CHECK(other.assignment().size() == 2);
  notes->lines.clear();
  Settle({&sleeper, &other});
  REQUIRE_FALSE(notes->lines.empty());
  CHECK_THAT(notes->lines.front(), Catch::StartsWith("lost"));
  CHECK(sleeper.assignment().size() == 1);
  CHECK(other.assignment().size() == 1);
  CHECK(m.log->Has(LogLevel::kWarning, "max_poll_interval"));
}

TEST_CASE("a member that waits inside Poll is not removed", "[client][group]") {
  Embedded m({.background_threads = 3});
  m.Topic("t");
  Consumer consumer = Member(m, {.max_poll_interval = absl::Seconds(2)});
  while (consumer.assignment().empty()) Next(consumer);
  std::atomic<bool> done{false};
  std::thread time([&] {
    for (int i = 0; i < 300 && !done; ++i) {
      m.clock->Advance(absl::Milliseconds(50));
      std::this_thread::yield();
      // The waiter looks at the clock about every millisecond; let it.
      m.broker->Sync().IgnoreError();
    }
    m.Produce("t", 0, {"v"});
  });
  std::vector<std::string> read;
  while (read.empty()) read = Values(OrFail(consumer.Poll(absl::InfiniteDuration())));
  done = true;
  time.join();
  CHECK(consumer.assignment().size() == 1);
}

TEST_CASE("a static member keeps its partitions while it is away", "[client][group]") {
  Embedded m;
  m.Topic("t", 2);
  const auto notes = std::make_shared<Notes>();
  Consumer stays = Member(m, {.listener = notes});
  std::optional<Consumer> one =
      Member(m, {.group_instance_id = "one", .max_poll_interval = absl::Minutes(5)});
  Settle({&stays, &*one});
  CHECK(stays.assignment().size() == 1);
  const Partitions had = one->assignment();
  OrFail(one->Close(absl::Seconds(1)));
  Settle({&stays});
  CHECK(stays.assignment().size() == 1);
  one = Member(m, {.group_instance_id = "one"});
  Settle({&stays, &*one});
  CHECK(one->assignment() == had);
}

TEST_CASE("kMarked commits the prefix that is done", "[client][group]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 5));
  Consumer consumer = Member(m, {.commits = Commits::kMarked});
  RecordBatch batch;
  while (batch.empty()) batch = OrFail(consumer.Poll(absl::ZeroDuration()));
  std::vector<RecordView> records(batch.begin(), batch.end());
  consumer.MarkDone(records[0]);
  consumer.MarkDone(records[1]);
  consumer.MarkDone(records[3]);
  Next(consumer);
  CHECK(CommittedOf(m) == 2);
  std::thread other([&] { consumer.MarkDone(records[2]); });
  other.join();
  OrFail(consumer.Commit());
  CHECK(CommittedOf(m) == 4);
  OrFail(consumer.Close(absl::Seconds(1)));
  CHECK(CommittedOf(m) == 4);
  consumer.MarkDone(records[4]);  // too late, and harmless
}

TEST_CASE("commits take effect in the order of the calls", "[client][group]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 5));
  Consumer consumer = Member(m, {.commits = Commits::kManual});
  CHECK(Settle({&consumer}).size() == 5);
  const Future<OffsetMap> first = consumer.CommitAsync({{{"t", 0}, 2}});
  OrFail(consumer.Commit({{{"t", 0}, 4}}));
  CHECK(OrFail(first.Get()) == OffsetMap{{{"t", 0}, 2}});
  CHECK(CommittedOf(m) == 4);
  CHECK(OrFail(consumer.Committed({{"t", 0}})) == OffsetMap{{{"t", 0}, 4}});
  CHECK(OrFail(consumer.CommitAsync().Get()) == OffsetMap{{{"t", 0}, 5}});
  SECTION("beyond the end is refused") {
    const Status status = consumer.Commit({{{"t", 0}, 6}});
    CHECK(ErrorIdOf(status) == ErrorId::kOffsetOutOfRange);
    CHECK(ErrorIdOf(consumer.CommitAsync({{{"t", 0}, 6}}).Get().status()) ==
          ErrorId::kOffsetOutOfRange);
    CHECK(CommittedOf(m) == 5);
  }
  SECTION("by a member that was removed is refused") {
    m.clock->Advance(absl::Minutes(6));
    const Status status = consumer.Commit({{{"t", 0}, 1}});
    CHECK(ErrorIdOf(status) == ErrorId::kUnknownMember);
    CHECK(CommittedOf(m) == 5);
  }
}

TEST_CASE("an asynchronous commit is answered whatever its executor does", "[client][group]") {
  class Ended : public Executor {
   public:
    void Post(absl::AnyInvocable<void()>) override { throw std::runtime_error("the loop ended"); }
  };
  std::shared_ptr<Executor> executor = std::make_shared<ManualExecutor>();  // nobody runs it
  if (GENERATE(false, true)) executor = std::make_shared<Ended>();
  Embedded m({.background_threads = GENERATE(0, 3), .client = {.executor = executor}});
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 5));
  Consumer consumer = Member(m, {.commits = Commits::kManual});
  CHECK(Settle({&consumer}).size() == 5);
  CHECK(OrFail(consumer.CommitAsync().Get()) == OffsetMap{{{"t", 0}, 5}});
  CHECK(CommittedOf(m) == 5);
}

TEST_CASE("a pattern takes in topics that come later", "[client][group]") {
  Embedded m;
  m.Topic("orders-eu");
  m.Topic("other");
  Consumer consumer = OrFail(m.client().NewConsumer({.group = "g"}));
  CHECK(ErrorIdOf(consumer.SubscribePattern("orders-(")) == ErrorId::kInvalidArgument);
  OrFail(consumer.SubscribePattern("orders-.*"));
  Settle({&consumer});
  CHECK(consumer.assignment() == Partitions{{"orders-eu", 0}});
  m.Topic("orders-us");
  m.Produce("orders-us", 0, {"v"});
  CHECK(Settle({&consumer}) == std::vector<std::string>{"v"});
  OrFail(consumer.Unsubscribe());
  CHECK(consumer.assignment().empty());
  CHECK(ErrorIdOf(consumer.Poll(absl::ZeroDuration()).status()) == ErrorId::kNotAssigned);
  OrFail(consumer.Subscribe({"other"}));
  Settle({&consumer});
  CHECK(consumer.assignment() == Partitions{{"other", 0}});
  OrFail(consumer.Subscribe({"orders-us"}));  // in place of the others
  Settle({&consumer});
  CHECK(consumer.assignment() == Partitions{{"orders-us", 0}});
}

TEST_CASE("partitions that are added are taken in", "[client][group]") {
  Embedded m;
  m.Topic("t", 1);
  Consumer consumer = Member(m);
  Settle({&consumer});
  OrFail(m.admin().AddPartitions("t", 3));
  m.Produce("t", 2, {"v"});
  CHECK(Settle({&consumer}) == std::vector<std::string>{"v"});
  CHECK(consumer.assignment().size() == 3);
}

TEST_CASE("a listener may commit, seek and pause, and not poll", "[client][group]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 5));
  const auto notes = std::make_shared<Notes>();
  std::vector<ErrorId> ids;
  notes->on_assigned = [&](Consumer& c) {
    OrFail(c.Seek({"t", 0}, 3));
    ids.push_back(ErrorIdOf(c.Poll(absl::ZeroDuration()).status()));
    ids.push_back(ErrorIdOf(c.Close(absl::Seconds(1))));
    ids.push_back(ErrorIdOf(c.Unsubscribe()));
  };
  notes->on_revoked = [&](Consumer& c) { OrFail(c.Commit({{{"t", 0}, 4}})); };
  Consumer consumer = Member(m, {.commits = Commits::kManual, .listener = notes});
  CHECK(Settle({&consumer}) == Numbers(3, 5));
  CHECK(ids == std::vector<ErrorId>(3, ErrorId::kReentrant));
  OrFail(consumer.Close(absl::Seconds(1)));
  CHECK(CommittedOf(m) == 4);
}

TEST_CASE("a listener that throws is that call's error", "[client][group]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, {"v"});
  const auto notes = std::make_shared<Notes>();
  notes->on_assigned = [](Consumer&) { throw std::runtime_error("bang"); };
  Consumer consumer = Member(m, {.listener = notes});
  Status status;
  while (status.ok()) status = consumer.Poll(absl::ZeroDuration()).status();
  CHECK(absl::IsAborted(status));
  CHECK_THAT(std::string(status.message()), Catch::Contains("bang"));
  CHECK(Settle({&consumer}) == std::vector<std::string>{"v"});
}

TEST_CASE("a consumer may be destroyed in its listener", "[client][group]") {
  Embedded m;
  m.Topic("t");
  const auto notes = std::make_shared<Notes>();
  auto consumer = std::make_unique<Consumer>(Member(m, {.listener = notes}));
  notes->on_assigned = [&](Consumer&) { consumer.reset(); };
  Consumer& alias = *consumer;
  Status status;
  while (status.ok() && consumer != nullptr) status = alias.Poll(absl::ZeroDuration()).status();
  CHECK(ErrorIdOf(status) == ErrorId::kClosed);
  CHECK(OrFail(m.admin().DescribeGroup("g")).members.empty());
}

TEST_CASE("positions in a topic that was deleted are not those of one that has its name now",
          "[client][group]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, {"a", "b", "c"});
  const Commits commits = GENERATE(Commits::kOnNextPoll, Commits::kMarked);
  Consumer consumer = OrFail(m.client().NewConsumer({.group = "g", .commits = commits}));
  OrFail(GENERATE(false, true) ? consumer.Subscribe({"t"}) : consumer.Assign({{"t", 0}}));
  const RecordBatch before = OrFail(consumer.Poll(absl::ZeroDuration()));
  CHECK(before.size() == 3);
  if (GENERATE(false, true))
    for (const RecordView& record : before) consumer.MarkDone(record);
  OrFail(m.admin().DeleteTopic("t"));
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 5));
  std::vector<std::string> read;
  for (int i = 0; i < 4; ++i)
    for (const std::string& value : Next(consumer)) read.push_back(value);
  CHECK(read == Numbers(0, 5));
  if (commits != Commits::kMarked) return;
  for (const RecordView& record : before) consumer.MarkDone(record);
  OrFail(consumer.Commit());
  CHECK(OrFail(consumer.Committed({{"t", 0}})) == OffsetMap{{{"t", 0}, 0}});
}

TEST_CASE("without subscription a group is only where offsets are kept", "[client][group]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 4));
  {
    Consumer consumer = m.Reader("t", 0, {.group = "g", .max_poll_records = 2});
    CHECK(Next(consumer) == Numbers(0, 2));
    OrFail(consumer.Close(absl::Seconds(1)));
  }
  Consumer consumer = m.Reader("t", 0, {.group = "g"});
  CHECK(Next(consumer) == Numbers(2, 4));
  CHECK(ErrorIdOf(consumer.Subscribe({"t"})) == ErrorId::kInvalidArgument);
}

TEST_CASE("groups are described, altered and deleted", "[client][group]") {
  Embedded m;
  m.Topic("t", 2);
  m.Produce("t", 0, Numbers(0, 5));
  Admin admin = m.admin();
  {
    Consumer consumer = Member(m, {.group_instance_id = "one", .assignor = "range"});
    Settle({&consumer});
    const GroupInfo info = OrFail(admin.DescribeGroup("g"));
    CHECK(info.state == "Stable");
    CHECK(info.protocol == "range");
    CHECK(info.kind == "consumer");
    REQUIRE(info.members.size() == 1);
    CHECK(info.members[0].instance_id == "one");
    CHECK(info.members[0].client_id == "millrace");
    CHECK(info.members[0].assignment.size() == 2);
    CHECK(info.committed.at({"t", 0}) == 5);
    CHECK(info.lag.at({"t", 0}) == 0);
    CHECK(ErrorIdOf(admin.DeleteGroup("g")) == ErrorId::kGroupNotEmpty);
    CHECK(ErrorIdOf(admin.AlterGroupOffsets("g", {{{"t", 0}, 1}})) == ErrorId::kGroupNotEmpty);
    OrFail(consumer.Unsubscribe());
  }
  m.clock->Advance(absl::Minutes(6));  // the static member is not expected any more
  OrFail(m.broker->RunMaintenance());
  CHECK(OrFail(admin.ListGroups()) == std::vector<std::string>{"g"});
  OrFail(admin.AlterGroupOffsets("g", {{{"t", 0}, 1}}));
  CHECK(OrFail(admin.DescribeGroup("g")).lag.at({"t", 0}) == 4);
  OrFail(admin.DeleteGroupOffsets("g", {{"t", 0}}));
  CHECK(OrFail(admin.DescribeGroup("g")).committed.empty());
  OrFail(admin.DeleteGroup("g"));
  CHECK(ErrorIdOf(admin.DescribeGroup("g").status()) == ErrorId::kGroupNotFound);
}

}  // namespace
}  // namespace millrace
