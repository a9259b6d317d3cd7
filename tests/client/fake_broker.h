#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/endian.h"
#include "base/errors.h"
#include "base/mutex.h"
#include "broker/broker.h"
#include "client/context.h"
#include "millrace/testing/manual_clock.h"
#include "record/batch.h"

namespace millrace::client {

// A partition that keeps what is appended and answers when it is told to. Thread-safe.
class FakePartition : public broker::Partition {
 public:
  explicit FakePartition(TopicPartition name) : Partition(std::move(name), Uuid{}) {}

  Status Append(const record::EncodedBatch& batch, const broker::AppendOptions& options,
                broker::AppendDone done) override {
    if (on_append) on_append();
    MutexLock lock(mu_);
    ++appends_;
    last_options_ = options;
    if (!refuse_.ok()) return refuse_;
    record::AssignOffset(batch.buffer.data(), end_, 0);
    Pending pending{.answer = {.base_offset = end_, .next_offset = end_ + batch.record_count},
                    .done = std::move(done)};
    end_ = pending.answer.next_offset;
    const auto bytes = batch.bytes();
    log_.insert(log_.end(), bytes.begin(), bytes.end());
    pending_.push_back(std::move(pending));
    if (!hold_) AnswerLocked(absl::OkStatus());
    return absl::OkStatus();
  }
  Status SyncTo(Offset) override {
    MutexLock lock(mu_);
    ++syncs_;
    AnswerLocked(absl::OkStatus());
    return absl::OkStatus();
  }
  StatusOr<broker::FetchResult> Fetch(Offset from, size_t, broker::ReadLevel) override {
    MutexLock lock(mu_);
    broker::FetchResult result;
    result.next_offset = from;
    result.high_watermark = result.last_stable_offset = end_;
    if (from >= end_) return result;
    result.buffer = pool_.Get(log_.size());
    std::copy(log_.begin(), log_.end(), result.buffer.data());
    result.bytes = {result.buffer.data(), log_.size()};
    result.next_offset = end_;
    return result;
  }
  bool is_open() const override { return true; }
  Status EnsureOpen() override { return absl::OkStatus(); }
  Offset log_start() const override { return 0; }
  Offset high_watermark() const override { return log_end(); }
  Offset last_stable_offset() const override { return log_end(); }
  Offset log_end() const override {
    MutexLock lock(mu_);
    return end_;
  }
  Offset durable_end() const override { return log_end(); }
  int32_t leader_epoch() const override { return 0; }
  StatusOr<std::optional<log::PartitionLog::OffsetForTime>> FindTime(int64_t) override {
    return std::nullopt;
  }
  StatusOr<std::optional<log::PartitionLog::OffsetForTime>> FindMaxTimestamp() override {
    return std::nullopt;
  }
  std::optional<log::EpochEnd> EndOfEpoch(int32_t) const override { return std::nullopt; }
  StatusOr<std::shared_ptr<log::PartitionLog>> log() override {
    return std::shared_ptr<log::PartitionLog>();
  }
  void AddListener(std::shared_ptr<Bell>) override {}
  void RemoveListener(const Bell*) override {}
  bool deleted() const override { return false; }

  // ---- for tests
  void Hold(bool hold) {
    MutexLock lock(mu_);
    hold_ = hold;
  }
  void Refuse(Status status) {
    MutexLock lock(mu_);
    refuse_ = std::move(status);
  }
  void Answer(const Status& status = absl::OkStatus()) {
    MutexLock lock(mu_);
    AnswerLocked(status);
  }
  int appends() const {
    MutexLock lock(mu_);
    return appends_;
  }
  int syncs() const {
    MutexLock lock(mu_);
    return syncs_;
  }
  size_t pending() const {
    MutexLock lock(mu_);
    return pending_.size();
  }
  broker::AppendOptions last_options() const {
    MutexLock lock(mu_);
    return last_options_;
  }
  std::vector<std::byte> log_bytes() const {
    MutexLock lock(mu_);
    return log_;
  }
  std::function<void()> on_append;  // on the appending thread, before anything else

 private:
  struct Pending {
    broker::Appended answer;
    broker::AppendDone done;
  };
  void AnswerLocked(const Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    std::deque<Pending> pending;
    pending.swap(pending_);
    mu_.Unlock();
    for (Pending& p : pending)
      p.done(status.ok() ? StatusOr<broker::Appended>(p.answer)
                         : StatusOr<broker::Appended>(status));
    mu_.Lock();
  }

  BufferPool pool_;
  mutable Mutex mu_;
  bool hold_ ABSL_GUARDED_BY(mu_) = false;
  Status refuse_ ABSL_GUARDED_BY(mu_);
  Offset end_ ABSL_GUARDED_BY(mu_) = 0;
  int appends_ ABSL_GUARDED_BY(mu_) = 0;
  int syncs_ ABSL_GUARDED_BY(mu_) = 0;
  broker::AppendOptions last_options_ ABSL_GUARDED_BY(mu_);
  std::vector<std::byte> log_ ABSL_GUARDED_BY(mu_);
  std::deque<Pending> pending_ ABSL_GUARDED_BY(mu_);
};

// A broker of fake partitions whose timers run when the test says so. Groups are not there.
class FakeBroker : public broker::Broker {
 public:
  explicit FakeBroker(int background_threads = 3) {
    clock_ = std::make_shared<testing::ManualClock>(absl::FromUnixMillis(1'700'000'000'000));
    random_ = testing::SeededRandom(1);
    options_.background_threads = background_threads;
    options_.env.clock = clock_;
    options_.env.random = random_;
    image_ = std::make_shared<broker::MetadataImage>();
  }

  std::vector<std::shared_ptr<FakePartition>> AddTopic(
      const std::string& name, int partitions, std::map<std::string, std::string> config = {}) {
    std::vector<std::shared_ptr<FakePartition>> made;
    auto topic = std::make_shared<broker::TopicImage>();
    topic->name = name;
    topic->config = std::move(config);
    topic->partitions.resize(static_cast<size_t>(partitions));
    for (int i = 0; i < partitions; ++i) made.push_back(NewPartition(name, i));
    Publish(name, topic, {made.begin(), made.end()});
    return made;
  }
  void GrowTopic(const std::string& name, int partitions) {
    std::vector<std::shared_ptr<broker::Partition>> all = OrEmpty(name);
    auto topic = std::make_shared<broker::TopicImage>(*image_->topics.at(name));
    topic->partitions.resize(static_cast<size_t>(partitions));
    for (auto i = static_cast<int>(all.size()); i < partitions; ++i)
      all.push_back(NewPartition(name, i));
    Publish(name, topic, std::move(all));
  }
  // Answers and forgets all that it holds back, and that refers to what refers to it: nothing in a
  // real broker is held back for ever.
  void LetGo() {
    std::vector<std::shared_ptr<FakePartition>> made;
    std::multimap<absl::Duration, absl::AnyInvocable<void()>> timers;
    {
      MutexLock lock(mu_);
      made = made_;
      timers.swap(timers_);
    }
    for (const auto& partition : made) {
      partition->Hold(false);
      partition->Answer();
    }
  }
  // Runs the timers that are due.
  void RunTimers() {
    for (;;) {
      absl::AnyInvocable<void()> task;
      {
        MutexLock lock(mu_);
        auto first = timers_.begin();
        if (first == timers_.end() || first->first > clock_->Elapsed()) return;
        task = std::move(first->second);
        timers_.erase(first);
      }
      task();
    }
  }
  size_t timers() const {
    MutexLock lock(mu_);
    return timers_.size();
  }
  testing::ManualClock& manual_clock() { return *clock_; }

  std::shared_ptr<const broker::MetadataImage> metadata() const override {
    MutexLock lock(mu_);
    return image_;
  }
  uint64_t metadata_version() const override { return metadata()->version; }
  StatusOr<std::shared_ptr<broker::Partition>> FindPartition(std::string_view topic,
                                                             int32_t partition) override {
    auto all = FindTopic(topic, false);
    if (!all.ok()) return all.status();
    return all->at(static_cast<size_t>(partition));
  }
  StatusOr<std::vector<std::shared_ptr<broker::Partition>>> FindTopic(std::string_view topic,
                                                                      bool) override {
    MutexLock lock(mu_);
    ++lookups_;
    const auto found = partitions_.find(topic);
    if (found == partitions_.end())
      return MakeError(ErrorId::kUnknownTopic, "there is no such topic", {.topic = topic});
    return found->second;
  }
  int lookups() const {
    MutexLock lock(mu_);
    return lookups_;
  }
  void AddMetadataListener(std::shared_ptr<Bell> bell) override {
    MutexLock lock(mu_);
    bells_.push_back(std::move(bell));
  }
  void RemoveMetadataListener(const Bell* bell) override {
    MutexLock lock(mu_);
    std::erase_if(bells_, [&](const auto& b) { return b.get() == bell; });
  }
  uint64_t CallAt(absl::Duration when, absl::AnyInvocable<void()> task) override {
    MutexLock lock(mu_);
    timers_.emplace(when, std::move(task));
    return 1;
  }
  void CancelCall(uint64_t) override {}
  Status Sync() override { return absl::OkStatus(); }
  Status RunMaintenance() override {
    RunTimers();
    for (auto& [name, all] : partitions_)
      for (auto& partition : all) partition->SyncTo(partition->log_end()).IgnoreError();
    return absl::OkStatus();
  }
  Status Close(absl::Duration) override { return absl::OkStatus(); }
  bool closed() const override { return false; }
  Status usable() const override { return absl::OkStatus(); }
  Clock& clock() override { return *clock_; }
  Random& random() override { return *random_; }
  BufferPool& buffers() override { return pool_; }
  const broker::Metrics& metrics() const override { return metrics_; }
  const broker::Options& options() const override { return options_; }
  const std::string& incarnation() const override { return incarnation_; }

  // Not there.
  Status CreateTopic(const broker::CreateTopicRequest&) override { return No(); }
  Status DeleteTopic(std::string_view) override { return No(); }
  Status AddPartitions(std::string_view, int32_t) override { return No(); }
  Status AlterConfig(std::string_view,
                     const std::map<std::string, std::optional<std::string>>&) override {
    return No();
  }
  StatusOr<std::vector<broker::ConfigEntry>> DescribeConfig(std::string_view) const override {
    return No();
  }
  Status DeleteRecords(const OffsetMap&) override { return No(); }
  StatusOr<int64_t> AllocateProducerId() override { return No(); }
  void RunApart(absl::AnyInvocable<void()> task) override { task(); }
  Status PrepareGroup(std::string_view) override { return No(); }
  StatusOr<coordinator::HeartbeatReply> GroupHeartbeat(const coordinator::Heartbeat&,
                                                       std::shared_ptr<Bell>,
                                                       broker::SyncDone) override {
    return No();
  }
  void GroupTouch(std::string_view, std::string_view) override {}
  uint64_t GroupVersion(std::string_view) const override { return 0; }
  Status CommitOffsets(const coordinator::OffsetCommit&, broker::SyncDone) override { return No(); }
  StatusOr<std::map<TopicPartition, coordinator::CommittedOffset>> CommittedOffsets(
      std::string_view) override {
    return No();
  }
  Status AlterGroupOffsets(std::string_view, const OffsetMap&) override { return No(); }
  Status DeleteGroupOffsets(std::string_view, const std::vector<TopicPartition>&) override {
    return No();
  }
  StatusOr<std::vector<std::pair<std::string, coordinator::GroupState>>> ListGroups() override {
    return No();
  }
  StatusOr<coordinator::GroupDescription> DescribeGroup(std::string_view) override { return No(); }
  Status DeleteGroup(std::string_view) override { return No(); }
  Status Checkpoint(const std::string&) override { return No(); }
  std::vector<std::pair<TopicPartition, log::RecoveryReport>> recovery_reports() const override {
    return {};
  }

 private:
  using Partitions = std::vector<std::shared_ptr<broker::Partition>>;
  static Status No() { return MakeError(ErrorId::kUnimplemented, "not in the fake broker"); }
  std::shared_ptr<FakePartition> NewPartition(const std::string& topic, int number) {
    auto partition = std::make_shared<FakePartition>(TopicPartition{topic, number});
    MutexLock lock(mu_);
    made_.push_back(partition);
    return partition;
  }
  Partitions OrEmpty(const std::string& name) {
    MutexLock lock(mu_);
    return partitions_[name];
  }
  void Publish(const std::string& name, std::shared_ptr<const broker::TopicImage> topic,
               Partitions partitions) {
    std::vector<std::shared_ptr<Bell>> bells;
    {
      MutexLock lock(mu_);
      auto next = std::make_shared<broker::MetadataImage>(*image_);
      next->version++;
      next->topics[name] = std::move(topic);
      image_ = next;
      partitions_[name] = std::move(partitions);
      bells = bells_;
    }
    for (const auto& bell : bells) bell->Ring();
  }

  std::shared_ptr<testing::ManualClock> clock_;
  std::shared_ptr<Random> random_;
  broker::Options options_;
  broker::Metrics metrics_;
  BufferPool pool_;
  const std::string incarnation_ = "incarnation";
  mutable Mutex mu_;
  std::shared_ptr<const broker::MetadataImage> image_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, Partitions, std::less<>> partitions_ ABSL_GUARDED_BY(mu_);
  std::vector<std::shared_ptr<FakePartition>> made_ ABSL_GUARDED_BY(mu_);
  std::vector<std::shared_ptr<Bell>> bells_ ABSL_GUARDED_BY(mu_);
  std::multimap<absl::Duration, absl::AnyInvocable<void()>> timers_ ABSL_GUARDED_BY(mu_);
  int lookups_ ABSL_GUARDED_BY(mu_) = 0;
};

// Declared before a producer, it makes the broker let go once the producer is gone.
struct LetGoAtEnd {
  explicit LetGoAtEnd(std::shared_ptr<FakeBroker> its_broker) : broker(std::move(its_broker)) {}
  ~LetGoAtEnd() { broker->LetGo(); }
  LetGoAtEnd(const LetGoAtEnd&) = delete;
  LetGoAtEnd& operator=(const LetGoAtEnd&) = delete;
  const std::shared_ptr<FakeBroker> broker;
};

inline std::shared_ptr<Context> FakeContext(const std::shared_ptr<FakeBroker>& broker,
                                            ClientOptions options = {}) {
  auto log = std::make_shared<Logger>(options.log, options.log_level);
  return std::make_shared<Context>(std::move(options), ClientConfig{}, std::move(log), broker);
}

}  // namespace millrace::client
