// A broker that only reads sees what the writer beside it does: records, topics, retention.
#include <algorithm>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "broker/broker_impl.h"

namespace millrace::broker {
namespace {

constexpr absl::Duration kFollowEvery = absl::Milliseconds(20);

}  // namespace

void BrokerImpl::AddMetadataListener(std::shared_ptr<Bell> bell) {
  bells_.Add(std::move(bell));
  if (shared_->options.read_only)
    shared_->upkeep.Arm(shared_->follow_job, shared_->clock->Elapsed());
}

Status BrokerImpl::FollowMetadata() {
  const std::shared_ptr<const MetadataImage> before = metadata();
  std::shared_ptr<const MetadataImage> now;
  {
    MutexLock lock(log_mu_);
    MILLRACE_RETURN_IF_ERROR(metadata_log_->Follow().status());
    now = metadata_log_->image();
  }
  if (now == before) return absl::OkStatus();
  for (const auto& [name, topic] : before->topics) {
    const auto it = now->topics.find(name);
    if (it != now->topics.end() && it->second->id == topic->id) continue;
    for (const auto& partition : table_.Remove(name)) {
      partition->Shut(/*deleted=*/true);
      partition->TakeLog().reset();
    }
  }
  for (const auto& [name, topic] : now->topics) {
    const auto it = before->topics.find(name);
    if (it != before->topics.end() && it->second == topic) continue;
    table_.Install(*topic, /*fresh=*/false);
    table_.SetConfig(*topic);
  }
  // At last: should memory run out before, the next look begins again.
  {
    MutexLock image_lock(image_mu_);
    image_ = now;
    version_.store(now->version, std::memory_order_seq_cst);
  }
  bells_.Ring();
  return absl::OkStatus();
}

bool BrokerImpl::FollowWriter(bool everywhere) {
  {
    MutexLock lock(admin_mu_);
    const Status followed = FollowMetadata();
    if (!followed.ok() && followed != follow_error_)
      shared_->Log(Severity::kWarning,
                   fmt::format("{}: what the writer has changed of topics is not seen: {}",
                               shared_->Where(), Text(followed)));
    follow_error_ = followed;
  }
  bool listening = !bells_.empty();
  for (const auto& partition : table_.All()) {
    listening |= partition->has_listeners();
    if (everywhere || partition->has_listeners()) partition->Follow();
  }
  return listening;
}

// Looking at many partitions takes a while: no more than a fifth of the time goes into it.
absl::Duration BrokerImpl::FollowJob(absl::Duration now) {
  const GateEntry inside(calls_);
  if (!inside || !FollowWriter(/*everywhere=*/false)) return absl::InfiniteDuration();
  const absl::Duration done = shared_->clock->Elapsed();
  return done + std::max(kFollowEvery, 4 * (done - now));
}

}  // namespace millrace::broker
