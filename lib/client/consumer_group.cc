#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <re2/re2.h>

#include "base/errors.h"
#include "base/no_throw.h"
#include "base/status_macros.h"
#include "broker/topic_config.h"
#include "client/embedded_consumer.h"

// What a consumer reads: assigned by hand, or shared out by its group (KIP-848).
namespace millrace::client {
namespace {

// A heartbeat may bring another assignment, giving that up yet another; in practice two or three
// rounds settle it, and what does not is taken up by the next Poll.
constexpr int kMaxRounds = 8;
// In this time nearly every sync is done. For so long even a Poll that should not wait waits, once
// a heartbeat, so that the first one knows its partitions.
constexpr absl::Duration kSyncGrace = absl::Milliseconds(20);
// The same for the making of __consumer_offsets, once: some ten syncs.
constexpr absl::Duration kPrepareGrace = absl::Milliseconds(100);

Status CheckPattern(const std::string& pattern) {
  const re2::RE2 compiled(pattern, re2::RE2::Quiet);
  if (compiled.ok()) return absl::OkStatus();
  return MakeError(ErrorId::kInvalidArgument,
                   fmt::format("'{}' is no RE2 pattern: {}", pattern, compiled.error()));
}

bool WasRemoved(ErrorId id) {
  return id == ErrorId::kUnknownMember || id == ErrorId::kFencedMember ||
         id == ErrorId::kStaleMemberEpoch;
}

}  // namespace

// ---- the partitions that are read

Status EmbeddedConsumer::AddCursors(const Partitions& tps) {
  std::vector<Cursor> added;
  for (const TopicPartition& tp : tps) {
    MILLRACE_ASSIGN_OR_RETURN(auto partition,
                              context_->broker->FindPartition(tp.topic, tp.partition));
    auto info = std::make_shared<SliceInfo>();
    info->partition = tp;
    if (options_.commits == Commits::kMarked) info->marks = std::make_shared<MarkTracker>();
    added.push_back(std::make_shared<PartitionCursor>(
        std::move(partition), std::move(info),
        CursorOptions{.level = options_.isolation == Isolation::kReadCommitted
                                   ? broker::ReadLevel::kCommitted
                                   : broker::ReadLevel::kUncommitted,
                      .max_expanded_bytes = options_.max_pinned_bytes,
                      .account = account_}));
  }
  // All of them or none, should memory run out.
  std::map<TopicPartition, Cursor> by_name;
  for (const Cursor& cursor : added) by_name.emplace(cursor->name(), cursor);
  order_.reserve(order_.size() + added.size());
  size_t listening = 0;
  try {
    for (; listening < added.size(); ++listening) added[listening]->partition().AddListener(bell_);
  } catch (const std::bad_alloc&) {
    while (listening-- > 0) added[listening]->partition().RemoveListener(bell_.get());
    throw;
  }
  MutexLock lock(mu_);
  cursors_.merge(by_name);
  order_.insert(order_.end(), added.begin(), added.end());
  return absl::OkStatus();
}

void EmbeddedConsumer::DropAllCursors() {
  MutexLock lock(mu_);
  for (const Cursor& cursor : order_) cursor->partition().RemoveListener(bell_.get());
  order_.clear();
  cursors_.clear();
  next_ = 0;
}

void EmbeddedConsumer::DropCursors(const Partitions& tps) {
  MutexLock lock(mu_);
  for (const TopicPartition& tp : tps) {
    const auto found = cursors_.find(tp);
    if (found == cursors_.end()) continue;
    found->second->partition().RemoveListener(bell_.get());
    std::erase(order_, found->second);
    cursors_.erase(found);
  }
  next_ = 0;
}

Status EmbeddedConsumer::Assign(Partitions partitions) {
  const Use use(*this, Nested::kRefused);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  if (mode_ == Mode::kSubscribed)
    return MakeError(ErrorId::kInvalidArgument,
                     "the consumer is subscribed; Unsubscribe before Assign");
  // Of a topic that is gone; one of the same name may have come since.
  Partitions gone;
  for (const Cursor& cursor : order_)
    if (cursor->partition().deleted()) gone.push_back(cursor->name());
  DropCursors(gone);
  const std::set<TopicPartition> wanted(partitions.begin(), partitions.end());
  Partitions added;
  Partitions removed;
  const Partitions had = assignment();
  std::ranges::set_difference(wanted, had, std::back_inserter(added));
  std::ranges::set_difference(had, wanted, std::back_inserter(removed));
  MILLRACE_RETURN_IF_ERROR(AddCursors(added));
  DropCursors(removed);
  mode_ = Mode::kAssigned;
  bell_->Ring();  // the next Poll finds where they stand
  return absl::OkStatus();
}

// ---- subscribing

Status EmbeddedConsumer::SubscribeTo(std::vector<std::string> topics, std::string pattern) {
  if (options_.group.empty())
    return MakeError(ErrorId::kInvalidGroup,
                     "subscribing needs ConsumerOptions::group; without one, Assign partitions");
  if (mode_ == Mode::kAssigned)
    return MakeError(ErrorId::kInvalidArgument,
                     "partitions are assigned by hand; Unsubscribe before Subscribe");
  for (const std::string& topic : topics) MILLRACE_RETURN_IF_ERROR(broker::CheckTopicName(topic));
  topics_ = std::move(topics);
  pattern_ = std::move(pattern);
  subscription_changed_ = true;
  mode_ = Mode::kSubscribed;
  bell_->Ring();
  return absl::OkStatus();
}

Status EmbeddedConsumer::Subscribe(Consumer&, std::vector<std::string> topics) {
  const Use use(*this, Nested::kRefused);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  if (topics.empty())
    return MakeError(ErrorId::kInvalidArgument,
                     "no topics to subscribe to; Unsubscribe ends a subscription");
  return SubscribeTo(std::move(topics), {});
}

Status EmbeddedConsumer::SubscribePattern(Consumer&, std::string re2) {
  const Use use(*this, Nested::kRefused);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  if (re2.empty()) return MakeError(ErrorId::kInvalidArgument, "the pattern is empty");
  MILLRACE_RETURN_IF_ERROR(CheckPattern(re2));
  return SubscribeTo({}, std::move(re2));
}

Status EmbeddedConsumer::Unsubscribe(Consumer& self) {
  const Use use(*this, Nested::kRefused);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  const absl::Duration began = context_->clock->Elapsed();
  const absl::Duration timeout = context_->options.close_timeout;
  Status status = CommitAtEnd(timeout);
  if (mode_ == Mode::kSubscribed) {
    const Status told = Tell(self, &RebalanceListener::OnRevoked, assignment());
    if (status.ok()) status = told;
  }
  const Status left = LeaveAndDrop(timeout - (context_->clock->Elapsed() - began));
  return status.ok() ? left : status;
}

Status EmbeddedConsumer::Leave(absl::Duration timeout) {
  // It may have joined without knowing yet.
  if (mode_ != Mode::kSubscribed || (member_epoch_ <= 0 && !reply_.has_value()))
    return absl::OkStatus();
  coordinator::Heartbeat beat;
  beat.group = options_.group;
  beat.member_id = member_id_;
  // A static member is expected back (KIP-345).
  beat.member_epoch = options_.group_instance_id.empty() ? -1 : -2;
  beat.instance_id = options_.group_instance_id;
  const auto synced = std::make_shared<SyncFuture>(context_, context_->clock);
  Status status = context_->broker->GroupHeartbeat(beat, nullptr, synced->done({})).status();
  if (WasRemoved(ErrorIdOf(status))) return absl::OkStatus();  // then it is out already
  if (!status.ok()) return status;
  return synced->Get(std::max(timeout, absl::ZeroDuration()), {}).status();
}

// Destructors come here: what is kept goes, whether there is memory to say good-bye or not. The
// group then removes the member when its time is over.
Status EmbeddedConsumer::LeaveAndDrop(absl::Duration timeout) {
  Status status = NoThrow([&] { return Leave(timeout); });
  DropAllCursors();
  mode_ = Mode::kNone;
  reply_.reset();
  member_epoch_ = 0;
  target_.clear();
  topics_.clear();
  pattern_.clear();
  subscription_changed_ = report_owned_ = false;
  return status;
}

// ---- being a member

coordinator::Heartbeat EmbeddedConsumer::MakeBeat() const {
  coordinator::Heartbeat beat;
  beat.group = options_.group;
  beat.member_id = member_id_;
  beat.member_epoch = member_epoch_;
  beat.instance_id = options_.group_instance_id;
  beat.client_id = context_->options.client_id;
  beat.client_host = "in-process";
  // Touches are sent at most every twentieth of the interval; it must not seem shorter for that.
  beat.poll_timeout = options_.max_poll_interval + options_.max_poll_interval / 20;
  beat.rebalance_timeout = beat.poll_timeout;
  if (member_epoch_ == 0 || subscription_changed_ || reply_lost_) {
    beat.topics = topics_;
    beat.topic_pattern = pattern_;
  }
  if (member_epoch_ == 0 && !options_.assignor.empty()) beat.assignor = options_.assignor;
  if (member_epoch_ == 0 || report_owned_ || reply_lost_) beat.owned = assignment();
  return beat;
}

void EmbeddedConsumer::TouchGroup() {
  const absl::Duration now = context_->clock->Elapsed();
  if (now - last_touch_ < options_.max_poll_interval / 20) return;
  last_touch_ = now;
  context_->broker->GroupTouch(options_.group, member_id_);
}

Status EmbeddedConsumer::StepGroup(Consumer& self) {
  for (int round = 0; round < kMaxRounds; ++round) {
    const bool news = member_epoch_ <= 0 || subscription_changed_ || report_owned_ || reply_lost_ ||
                      context_->broker->GroupVersion(options_.group) != seen_version_;
    if (news) {
      const Status ready = PrepareGroup(PrepareGrace());
      if (preparing_ != nullptr) return absl::OkStatus();  // the bell rings when it is
      MILLRACE_RETURN_IF_ERROR(ready);
    }
    if (!reply_.has_value() && news) MILLRACE_RETURN_IF_ERROR(Beat(self));
    if (closed_.load()) return absl::OkStatus();
    if (!reply_.has_value() && news) continue;  // removed: it joins anew
    if (!reply_.has_value() || !reply_->synced->ready()) {
      TouchGroup();
      return absl::OkStatus();
    }
    MILLRACE_RETURN_IF_ERROR(TakeReply(self));
    if (closed_.load()) return absl::OkStatus();
  }
  bell_->Ring();  // more to do at once
  return absl::OkStatus();
}

// The first use of a group makes and loads what its state is kept in. timed_out: not yet; it goes
// on, and the bell rings after it.
Status EmbeddedConsumer::PrepareGroup(absl::Duration timeout) {
  if (group_ready_) return absl::OkStatus();
  if (preparing_ == nullptr)
    preparing_ = SyncFuture::RunApart(
        context_, Clock::Real(),
        [group = options_.group](broker::Broker& broker) { return broker.PrepareGroup(group); },
        bell_);
  preparing_->Get(timeout, {}).IgnoreError();
  if (!preparing_->ready())
    return MakeError(ErrorId::kTimedOut,
                     fmt::format("group '{}': its state is not there yet; the disk is busy with it",
                                 options_.group));
  const Status status = preparing_->Get(absl::ZeroDuration(), {}).status();
  preparing_ = nullptr;
  group_ready_ = status.ok();
  return status;
}

// As long as a call may wait for it that should not wait.
absl::Duration EmbeddedConsumer::PrepareGrace() const {
  return preparing_ == nullptr ? kPrepareGrace : absl::ZeroDuration();
}

// Tells the group what is new. What it answers waits in reply_ until it is durable.
Status EmbeddedConsumer::Beat(Consumer& self) {
  const uint64_t version = context_->broker->GroupVersion(options_.group);
  const coordinator::Heartbeat beat = MakeBeat();
  subscription_changed_ = report_owned_ = false;  // the beat says it
  reply_lost_ = true;  // until it is taken in: memory may run out on its way
  last_touch_ = context_->clock->Elapsed();
  const auto synced = std::make_shared<SyncFuture>(context_, Clock::Real());
  auto reply = context_->broker->GroupHeartbeat(
      beat, bell_, [bell = bell_, done = synced->done({})](const Status& status) mutable {
        done(status);
        bell->Ring();  // the Poll that waits, or the next one
      });
  if (!reply.ok()) {
    if (member_epoch_ == 0 || !WasRemoved(ErrorIdOf(reply.status()))) return reply.status();
    return Lose(self);  // the group went on without this member; it joins anew, with nothing
  }
  reply_ = {.reply = *std::move(reply), .version = version, .synced = synced};
  synced->Get(kSyncGrace, {}).IgnoreError();
  return absl::OkStatus();
}

Status EmbeddedConsumer::TakeReply(Consumer& self) {
  Reply taken = *std::exchange(reply_, std::nullopt);
  MILLRACE_RETURN_IF_ERROR(taken.synced->Get(absl::ZeroDuration(), {}).status());
  member_epoch_ = taken.reply.member_epoch;
  seen_version_ = taken.version;
  reply_lost_ = false;
  if (taken.reply.assignment.has_value()) {
    target_ = *std::move(taken.reply.assignment);
    std::ranges::sort(target_);
  }
  return Reconcile(self);
}

// First gives up what is not in the target any more, and says so with the next heartbeat; only then
// takes what is new, so that no partition has two owners.
Status EmbeddedConsumer::Reconcile(Consumer& self) {
  const Partitions owned = assignment();
  Partitions revoked;
  std::ranges::set_difference(owned, target_, std::back_inserter(revoked));
  if (!revoked.empty()) {
    context_->metrics->rebalances.fetch_add(1, std::memory_order_relaxed);
    report_owned_ = true;  // also where this fails: the next round takes it up
    return Revoke(self, revoked);
  }
  Partitions added;
  std::ranges::set_difference(target_, owned, std::back_inserter(added));
  if (added.empty()) return absl::OkStatus();
  context_->metrics->rebalances.fetch_add(1, std::memory_order_relaxed);
  report_owned_ = true;
  Partitions taken;
  for (const TopicPartition& tp : added) {
    if (const Status status = AddCursors({tp}); status.ok())
      taken.push_back(tp);
    else  // deleted meanwhile; the group will see that, too
      MILLRACE_LOG(*context_->log, kInfo, Text(status));
  }
  return Tell(self, &RebalanceListener::OnAssigned, taken);
}

Status EmbeddedConsumer::Revoke(Consumer& self, const Partitions& tps) {
  const std::set<TopicPartition> only(tps.begin(), tps.end());
  if (const Status status = CommitBeforeRevoke(only); !status.ok())
    // The next owner reads from the last commit on: some records twice, none not at all.
    MILLRACE_LOG(*context_->log, kWarning,
                 fmt::format("committing before partitions are handed over: {}", Text(status)));
  const Status told = Tell(self, &RebalanceListener::OnRevoked, tps);
  DropCursors(tps);
  return told;
}

Status EmbeddedConsumer::Lose(Consumer& self) {
  const Partitions lost = assignment();
  context_->metrics->partitions_lost.fetch_add(lost.size(), std::memory_order_relaxed);
  MILLRACE_LOG(*context_->log, kWarning,
               fmt::format("group '{}' removed this member (did it not poll for "
                           "max_poll_interval, {}?); it joins again",
                           options_.group, absl::FormatDuration(options_.max_poll_interval)));
  member_epoch_ = 0;
  target_.clear();
  const Status told = Tell(self, &RebalanceListener::OnLost, lost);
  DropCursors(lost);
  return told;
}

Status EmbeddedConsumer::Tell(Consumer& self, ListenerCall call, const Partitions& tps) {
  if (options_.listener == nullptr || tps.empty()) return absl::OkStatus();
  try {
    (options_.listener.get()->*call)(self, tps);
  } catch (...) {
    context_->metrics->callbacks_threw.fetch_add(1, std::memory_order_relaxed);
    return CurrentException("the rebalance listener");
  }
  return absl::OkStatus();
}

// ---- the end

Status EmbeddedConsumer::Close(Consumer& self, absl::Duration timeout) {
  const Use use(*this, Nested::kRefused);
  MILLRACE_RETURN_IF_ERROR(use.status());
  if (context_->forked()) return context_->usable();
  if (closed_.load()) return absl::OkStatus();
  if (Status gone = context_->usable(); !gone.ok()) {
    closed_.store(true);
    // Nothing to leave any more. What was read and not committed is read again by the next member.
    return CommitsItself() && !options_.group.empty() && !Uncommitted(nullptr).empty()
               ? gone
               : absl::OkStatus();
  }
  const absl::Duration began = context_->clock->Elapsed();
  Status status = CommitAtEnd(timeout);
  if (WasRemoved(ErrorIdOf(status)) && mode_ == Mode::kSubscribed) {
    const Status told = Lose(self);
    if (status.ok()) status = told;
  } else if (mode_ == Mode::kSubscribed) {
    const Status told = Tell(self, &RebalanceListener::OnRevoked, assignment());
    if (status.ok()) status = told;
  }
  closed_.store(true);
  const Status left = LeaveAndDrop(timeout - (context_->clock->Elapsed() - began));
  return status.ok() ? left : status;
}

void EmbeddedConsumer::Abandon() {
  if (context_->forked() || closed_.exchange(true)) return;
  const Use use(*this, Nested::kAllowed);
  if (!use.status().ok() || depth_ > 1) {
    abandoned_ = use.status().ok();  // inside a listener: the call around it ends the membership
    return;
  }
  if (!context_->usable().ok()) return;
  // Nobody is there to be told.
  LeaveAndDrop(context_->options.close_timeout).IgnoreError();
}

}  // namespace millrace::client
