#include <atomic>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/no_throw.h"
#include "base/status_macros.h"
#include "client/embedded_consumer.h"

// What a consumer commits, and when.
namespace millrace::client {
namespace {

bool IsAboutMembership(ErrorId id) {
  return id == ErrorId::kUnknownMember || id == ErrorId::kFencedMember ||
         id == ErrorId::kStaleMemberEpoch;
}

// Accepted, and on its way to stable storage: by a task of the executor, or by a thread that waits
// without a bound. It may be the very thread that the executor runs its tasks on.
class CommitFuture : public FutureState<OffsetMap> {
 public:
  // `nothing_new` is a commit of the same member without offsets: it syncs what came before it.
  CommitFuture(const std::shared_ptr<Context>& context, coordinator::OffsetCommit nothing_new,
               OffsetMap offsets)
      : FutureState(context->clock, context->executor()),
        context_(context),
        nothing_new_(std::move(nothing_new)),
        offsets_(std::move(offsets)) {}

  // Syncs and answers, unless another thread has begun to.
  void Settle(broker::Broker& broker) {
    if (begun_.exchange(true)) return;
    Set(NoThrow([&]() -> StatusOr<OffsetMap> {
      Status status = broker.CommitOffsets(nothing_new_, /*durable=*/true);
      // The member has left meanwhile, or was removed; either has written what was accepted
      // before.
      if (IsAboutMembership(ErrorIdOf(status))) status = broker.Sync();
      MILLRACE_RETURN_IF_ERROR(status);
      return std::move(offsets_);
    }));
  }

 protected:
  absl::Duration Drive(bool unbounded) override {
    const std::shared_ptr<Context> context = context_.lock();
    if (context == nullptr) return absl::InfiniteDuration();
    if (unbounded) Settle(*context->broker);
    return context->Drive();
  }

 private:
  const std::weak_ptr<Context> context_;
  const coordinator::OffsetCommit nothing_new_;
  OffsetMap offsets_;
  std::atomic<bool> begun_{false};
};

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
    if (const Cursor cursor = Find(tp); cursor != nullptr)
      committed.leader_epoch = cursor->partition().leader_epoch();
    else if (auto partition = context_->broker->FindPartition(tp.topic, tp.partition);
             partition.ok())
      committed.leader_epoch = (*partition)->leader_epoch();
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

Status EmbeddedConsumer::CommitNow(const OffsetMap& next, bool durable) {
  const Status status = context_->broker->CommitOffsets(MakeCommit(next), durable);
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
  return status;
}

// The previous Poll's records were dealt with: that is what calling Poll again says. An error is
// told once; as long as it stays the same, it is counted and the next Poll tries again.
std::optional<Status> EmbeddedConsumer::CommitBetweenPolls() {
  if (!CommitsItself() || options_.group.empty()) return std::nullopt;
  if (mode_ == Mode::kSubscribed && member_epoch_ <= 0) return std::nullopt;
  const OffsetMap next = Uncommitted(nullptr);
  if (next.empty()) return std::nullopt;
  Status status = CommitNow(next, /*durable=*/false);
  const ErrorId id = ErrorIdOf(status);
  const bool told = commit_failing_ && id == last_commit_error_;
  commit_failing_ = !status.ok();
  last_commit_error_ = id;
  // A member that was removed learns it from its group right after, and its listener then.
  if (status.ok() || told || (mode_ == Mode::kSubscribed && IsAboutMembership(id)))
    return std::nullopt;
  return Annotate(status, fmt::format("committing positions of group '{}'", options_.group));
}

Status EmbeddedConsumer::CommitAtEnd(const std::set<TopicPartition>* only) {
  if (!CommitsItself() || options_.group.empty()) return absl::OkStatus();
  if (mode_ == Mode::kSubscribed && member_epoch_ <= 0) return absl::OkStatus();
  // Even with nothing new: what was committed between polls may still wait to be written.
  return CommitNow(Uncommitted(only), /*durable=*/true);
}

Status EmbeddedConsumer::Commit(const OffsetMap* next, absl::Duration) {
  const Use use(*this, Nested::kAllowed);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  if (options_.group.empty())
    return MakeError(ErrorId::kInvalidGroup, "the consumer has no group to commit for");
  return CommitNow(next != nullptr ? *next : Uncommitted(nullptr), /*durable=*/true);
}

// Accepted now, in the order of the calls; the executor waits until it is on stable storage.
Future<OffsetMap> EmbeddedConsumer::CommitAsync(const OffsetMap* next) {
  const auto failed = [](const Status& status) { return FutureAccess::Ready<OffsetMap>(status); };
  const Use use(*this, Nested::kAllowed);
  if (!use.status().ok()) return failed(use.status());
  if (Status status = usable(); !status.ok()) return failed(status);
  if (options_.group.empty())
    return failed(MakeError(ErrorId::kInvalidGroup, "the consumer has no group to commit for"));
  OffsetMap offsets = next != nullptr ? *next : Uncommitted(nullptr);
  if (Status status = CommitNow(offsets, /*durable=*/false); !status.ok()) return failed(status);

  auto state = std::make_shared<CommitFuture>(context_, MakeCommit({}), std::move(offsets));
  // So that the broker is not closed before. Not in an executor of the user's, which belongs to the
  // context: should it never run the task, the two would keep each other.
  const std::shared_ptr<Context> keep = context_->options.executor == nullptr ? context_ : nullptr;
  try {
    context_->executor()->Post(
        [state, keep, broker = context_->broker] { state->Settle(*broker); });
  } catch (...) {
    state->Settle(*context_->broker);  // accepted means answered, here if it must be
  }
  return FutureAccess::Make<OffsetMap>(state);
}

void EmbeddedConsumer::MarkDone(const RecordView& r) {
  if (!RecordViewAccess::Valid(r)) return;
  const Entry& entry = RecordViewAccess::EntryOf(r);
  if (entry.slice->marks == nullptr) return;
  entry.slice->marks->Done(entry.fields.offset);
}

}  // namespace millrace::client
