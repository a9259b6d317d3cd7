#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "client/embedded_consumer.h"

// What a consumer commits, and when.
namespace millrace::client {
namespace {

bool IsAboutMembership(ErrorId id) {
  return id == ErrorId::kUnknownMember || id == ErrorId::kFencedMember ||
         id == ErrorId::kStaleMemberEpoch;
}

constexpr absl::Duration kFirstCommit = absl::Seconds(30);

}  // namespace

coordinator::OffsetCommit EmbeddedConsumer::MakeCommit(const OffsetMap& next) const {
  coordinator::OffsetCommit commit;
  commit.group = options_.group;
  if (mode_ == Mode::kSubscribed) {
    commit.member_id = member_id_;
    commit.member_epoch = member_epoch_;
  }
  for (const auto& [tp, offset] : next) {
    coordinator::CommittedOffset& committed = commit.offsets[tp];
    committed.offset = offset;
    // What was read up to here was there in this epoch. Should a crash take it, the next epoch
    // begins below the offset, and that shows.
    if (const Cursor cursor = Find(tp); cursor != nullptr) {
      committed.leader_epoch = cursor->partition().leader_epoch();
      commit.topic_ids[tp.topic] = cursor->partition().topic_id();
    } else if (auto partition = context_->broker->FindPartition(tp.topic, tp.partition);
               partition.ok()) {
      committed.leader_epoch = (*partition)->leader_epoch();
    }
  }
  return commit;
}

// What Poll returned (kMarked: what of it is done without a gap) and no commit says yet. Not of a
// topic that was deleted: one of the same name may be there by now, and has other records.
OffsetMap EmbeddedConsumer::Uncommitted(const std::set<TopicPartition>* only) const {
  OffsetMap next;
  for (const Cursor& cursor : order_) {
    if (only != nullptr && !only->contains(cursor->name())) continue;
    if (cursor->partition().deleted()) continue;
    Offset offset = cursor->position();
    if (options_.commits == Commits::kMarked) {
      const std::optional<Offset> prefix = cursor->info()->marks->prefix();
      if (!prefix.has_value()) continue;
      offset = *prefix;
    } else if (!cursor->returned_any) {
      continue;
    }
    if (offset != PartitionCursor::kUnknown && offset != cursor->committed)
      next[cursor->name()] = offset;
  }
  return next;
}

void EmbeddedConsumer::CommitWritten(const OffsetMap& next) {
  for (const auto& [tp, offset] : next)
    if (const Cursor cursor = Find(tp); cursor != nullptr) {
      cursor->committed = offset;
      if (cursor->position() == offset) cursor->returned_any = false;
    }
}

void EmbeddedConsumer::NoteCommit(const OffsetMap& next, const Status& status) {
  (status.ok() ? context_->metrics->commits : context_->metrics->commit_failures)
      .fetch_add(1, std::memory_order_relaxed);
  if (status.ok()) CommitWritten(next);
  if (context_->options.observer != nullptr) {
    try {
      context_->options.observer->OnCommitted(next, status);
    } catch (...) {
      context_->metrics->callbacks_threw.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

Status EmbeddedConsumer::CommitAndWait(const OffsetMap& next, absl::Duration timeout) {
  const absl::Duration began = context_->clock->Elapsed();
  Status status = PrepareGroup(timeout);
  if (status.ok()) {
    const auto synced = std::make_shared<SyncFuture>(context_, context_->clock);
    status = context_->broker->CommitOffsets(MakeCommit(next), synced->done({}));
    const absl::Duration left = timeout - (context_->clock->Elapsed() - began);
    if (status.ok()) status = synced->Get(std::max(left, absl::ZeroDuration()), {}).status();
  }
  NoteCommit(next, status);
  return status;
}

// The previous Poll's records were dealt with: that is what calling Poll again says. An error is
// told once; as long as it stays the same, it is counted and the next Poll tries again.
std::optional<Status> EmbeddedConsumer::CommitBetweenPolls() {
  if (!CommitsItself() || options_.group.empty()) return std::nullopt;
  if (mode_ == Mode::kSubscribed && member_epoch_ <= 0) return std::nullopt;
  const OffsetMap next = Uncommitted(nullptr);
  if (next.empty()) return std::nullopt;
  Status status = PrepareGroup(PrepareGrace());
  if (preparing_ != nullptr) return std::nullopt;  // the next Poll commits
  if (status.ok()) status = context_->broker->CommitOffsets(MakeCommit(next), nullptr);
  NoteCommit(next, status);
  const ErrorId id = ErrorIdOf(status);
  const bool told = commit_failing_ && id == last_commit_error_;
  commit_failing_ = !status.ok();
  last_commit_error_ = id;
  // A member that was removed learns it from its group right after, and its listener then.
  if (status.ok() || told || (mode_ == Mode::kSubscribed && IsAboutMembership(id)))
    return std::nullopt;
  return Annotate(status, fmt::format("committing positions of group '{}'", options_.group));
}

bool EmbeddedConsumer::CommitsAtEnd() const {
  return CommitsItself() && !options_.group.empty() &&
         (mode_ != Mode::kSubscribed || member_epoch_ > 0);
}

Status EmbeddedConsumer::CommitAtEnd(absl::Duration timeout) {
  if (!CommitsAtEnd()) return absl::OkStatus();
  // Even with nothing new: what was committed between polls may still wait to be written.
  return CommitAndWait(Uncommitted(nullptr), timeout);
}

// Written before the group can hear that they were given up; so it is never less durable than that.
Status EmbeddedConsumer::CommitBeforeRevoke(const std::set<TopicPartition>& only) {
  if (!CommitsAtEnd()) return absl::OkStatus();
  const OffsetMap next = Uncommitted(&only);
  Status status = context_->broker->CommitOffsets(MakeCommit(next), [](const Status&) {});
  NoteCommit(next, status);
  return status;
}

Status EmbeddedConsumer::Commit(const OffsetMap* next, absl::Duration timeout) {
  const Use use(*this, Nested::kAllowed);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  if (options_.group.empty())
    return MakeError(ErrorId::kInvalidGroup, "the consumer has no group to commit for");
  return CommitAndWait(next != nullptr ? *next : Uncommitted(nullptr), timeout);
}

// Accepted now, in the order of the calls; but the first one waits for the group's state.
Future<OffsetMap> EmbeddedConsumer::CommitAsync(const OffsetMap* next) {
  const auto failed = [](const Status& status) { return FutureAccess::Ready<OffsetMap>(status); };
  const Use use(*this, Nested::kAllowed);
  if (!use.status().ok()) return failed(use.status());
  if (Status status = usable(); !status.ok()) return failed(status);
  if (options_.group.empty())
    return failed(MakeError(ErrorId::kInvalidGroup, "the consumer has no group to commit for"));
  const OffsetMap offsets = next != nullptr ? *next : Uncommitted(nullptr);
  const auto state = std::make_shared<SyncFuture>(context_, context_->clock);
  Status status = PrepareGroup(kFirstCommit);
  if (status.ok())
    status = context_->broker->CommitOffsets(MakeCommit(offsets), state->done(offsets));
  NoteCommit(offsets, status);
  return status.ok() ? FutureAccess::Make<OffsetMap>(state) : failed(status);
}

void EmbeddedConsumer::MarkDone(const RecordView& r) {
  if (!RecordViewAccess::Valid(r)) return;
  const Entry& entry = RecordViewAccess::EntryOf(r);
  if (entry.slice->marks == nullptr) return;
  entry.slice->marks->Done(entry.fields.offset);
}

}  // namespace millrace::client
