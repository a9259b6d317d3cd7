#include "client/run_engine.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <system_error>

#include <fmt/format.h>

#include "base/errors.h"
#include "client/context.h"

namespace millrace::client {
namespace {

std::string Label(const RecordView& r) {
  return fmt::format("{}-{} offset {}", r.topic(), r.partition(), r.offset());
}

}  // namespace

RunEngine::RunEngine(World world, RunOptions options, Handler handler)
    : world_(std::move(world)), options_(std::move(options)), handler_(std::move(handler)) {}

Status RunEngine::Start(const std::shared_ptr<RunEngine>& engine, Consumer* consumer) {
  MutexLock lock(engine->mu_);
  engine->consumer_ = consumer;
  for (int i = 0; i < engine->options_.workers; ++i) {
    try {
      engine->threads_.emplace_back([engine] { engine->Work(); });
      ++engine->working_;
    } catch (const std::system_error& e) {
      return MakeError(ErrorId::kUnavailable, fmt::format("starting worker {} of {}: {}", i + 1,
                                                          engine->options_.workers, e.what()));
    }
  }
  return absl::OkStatus();
}

// ---- records in

RunEngine::StrandKey RunEngine::KeyOf(const Task& task) {
  constexpr uint64_t kOwn = uint64_t{1} << 63;
  switch (options_.order) {
    case Ordering::kPartition:
      return {task.lot.get(), 0};
    case Ordering::kKey:
      if (!task.record.key().is_null())
        return {task.lot.get(), std::hash<std::string_view>()(task.record.key().str()) & ~kOwn};
      break;
    case Ordering::kNone:
      break;
  }
  return {task.lot.get(), kOwn | loose_++};
}

void RunEngine::Dispatch(RecordBatch records) {
  const auto batch = std::make_shared<const RecordBatch>(std::move(records));
  MutexLock lock(mu_);
  for (const RecordBatch::Slice& slice : batch->slices()) {
    std::shared_ptr<Lot>& lot = lots_[slice.partition];
    if (lot == nullptr) lot = std::make_shared<Lot>();
    for (const RecordView& record : slice) {
      Task task{.batch = batch, .record = record, .lot = lot};
      const StrandKey key = KeyOf(task);
      std::shared_ptr<Strand>& strand = strands_[key];
      if (strand == nullptr) {
        strand = std::make_shared<Strand>();
        strand->key = key;
        ready_.push_back(strand);
      }
      strand->tasks.push_back(std::move(task));
      ++lot->in_flight;
      ++in_flight_;
    }
  }
  work_.NotifyAll();
}

// ---- workers

void RunEngine::Work() {
  mu_.Lock();
  for (;;) {
    while (ready_.empty() && !finished_) work_.Wait(mu_);
    if (ready_.empty()) break;
    // A strand is in ready_ while it has tasks and none of them runs.
    const std::shared_ptr<Strand> strand = std::move(ready_.front());
    ready_.pop_front();
    Task task = std::move(strand->tasks.front());
    strand->tasks.pop_front();
    mu_.Unlock();
    // A partition that is handed over, or the end of Run: the record is for the next owner.
    const bool done = !task.lot->stop.stop_requested() && Handle(task);
    if (done) MarkDone(task.record);
    const std::shared_ptr<Lot> lot = task.lot;
    task = {};  // frees the batch outside of the lock
    mu_.Lock();
    if (strand->tasks.empty())
      strands_.erase(strand->key);
    else
      ready_.push_back(strand);
    --lot->in_flight;
    --in_flight_;
    // Nothing left, or room again: the polling thread commits, and fetches more.
    if (consumer_ != nullptr && (in_flight_ == 0 || in_flight_ == options_.max_in_flight / 2))
      consumer_->Wake();
    progress_.NotifyAll();
  }
  --working_;
  progress_.NotifyAll();
  mu_.Unlock();
}

void RunEngine::MarkDone(const RecordView& record) {
  MutexLock lock(mu_);
  if (consumer_ != nullptr) consumer_->MarkDone(record);
}

Status RunEngine::Attempt(const Task& task) {
  try {
    return handler_(task.record, task.lot->stop.get_token());
  } catch (...) {
    return CurrentException("the handler");
  }
}

bool RunEngine::Handle(const Task& task) {
  Status error;
  for (int attempt = 1; attempt <= options_.max_attempts; ++attempt) {
    if (attempt > 1) Backoff(task, attempt);
    if (task.lot->stop.stop_requested()) return false;
    error = Attempt(task);
    if (error.ok()) return true;
    if (task.lot->stop.stop_requested()) return false;
  }
  Status buried = Bury(task, error);
  if (buried.ok()) return true;
  Fail(std::move(buried));
  return false;
}

void RunEngine::Backoff(const Task& task, int attempt) {
  absl::Duration wait = options_.backoff;
  for (int i = 2; i < attempt && wait < absl::Hours(1); ++i) wait *= 2;
  // Between half of it and all of it, so that records that failed together do not come back
  // together.
  const uint64_t mixed = (static_cast<uint64_t>(task.record.offset()) +
                          static_cast<uint64_t>(attempt) * 0x9e3779b97f4a7c15) *
                         0xbf58476d1ce4e5b9;
  wait = wait / 2 + wait / 2 * (static_cast<double>(mixed >> 40) / static_cast<double>(1 << 24));
  const absl::Duration until = world_.clock->Elapsed() + wait;
  const std::stop_callback wake(task.lot->stop.get_token(), [this] {
    MutexLock lock(mu_);
    progress_.NotifyAll();
  });
  MutexLock lock(mu_);
  while (!task.lot->stop.stop_requested() && world_.clock->Elapsed() < until)
    progress_.WaitWith(mu_,
                       [&](auto& cv, auto& held) { world_.clock->WaitUntil(cv, held, until); });
}

// The record as it was, with where it came from and why it failed.
Status RunEngine::Bury(const Task& task, const Status& error) {
  const RecordView& r = task.record;
  if (world_.dead_letters == nullptr) return Annotate(error, Label(r));
  ProducerRecord letter{.topic = world_.dead_letter_topic, .key = r.key(), .value = r.value()};
  for (size_t i = 0; i < r.header_count(); ++i) {
    const auto [name, value] = r.header(i);
    letter.headers.emplace_back(name, value);
  }
  letter.headers.emplace_back("millrace.error", Text(error));
  letter.headers.emplace_back("millrace.topic", r.topic());
  letter.headers.emplace_back("millrace.partition", std::to_string(r.partition()));
  letter.headers.emplace_back("millrace.offset", std::to_string(r.offset()));
  const StatusOr<Delivery> sent = world_.dead_letters->Send(std::move(letter)).Get();
  if (!sent.ok())
    return Annotate(sent.status(), fmt::format("{} to dead letter topic '{}'", Label(r),
                                               world_.dead_letter_topic));
  MILLRACE_LOG(*world_.log, kWarning,
               fmt::format("{}: failed {} times, now in '{}': {}", Label(r), options_.max_attempts,
                           world_.dead_letter_topic, Text(error)));
  return absl::OkStatus();
}

void RunEngine::Fail(Status status) {
  MutexLock lock(mu_);
  if (!failure_.has_value()) failure_ = std::move(status);
  if (consumer_ != nullptr) consumer_->Wake();
  progress_.NotifyAll();
}

// ---- the polling thread

bool RunEngine::Full() const {
  MutexLock lock(mu_);
  return in_flight_ >= options_.max_in_flight;
}

bool RunEngine::HasRoomAgain() const {
  MutexLock lock(mu_);
  return in_flight_ <= options_.max_in_flight / 2;
}

void RunEngine::WaitForProgress(absl::Duration at_most) {
  const absl::Duration until = world_.clock->Elapsed() + at_most;
  MutexLock lock(mu_);
  progress_.WaitWith(mu_, [&](auto& cv, auto& held) { world_.clock->WaitUntil(cv, held, until); });
}

std::optional<Status> RunEngine::failure() const {
  MutexLock lock(mu_);
  return failure_;
}

void RunEngine::Drain(const std::vector<TopicPartition>* tps, bool wait) {
  std::vector<std::shared_ptr<Lot>> lots;
  {
    MutexLock lock(mu_);
    for (auto it = lots_.begin(); it != lots_.end();) {
      if (tps == nullptr || std::ranges::find(*tps, it->first) != tps->end()) {
        lots.push_back(it->second);
        it = lots_.erase(it);
      } else {
        ++it;
      }
    }
  }
  for (const auto& lot : lots) lot->stop.request_stop();
  if (!wait) return;
  const absl::Duration until = world_.clock->Elapsed() + options_.drain_timeout;
  MutexLock lock(mu_);
  const auto busy = [&] {
    return std::ranges::any_of(lots, [](const auto& lot) { return lot->in_flight > 0; });
  };
  while (busy() && world_.clock->Elapsed() < until)
    progress_.WaitWith(mu_,
                       [&](auto& cv, auto& held) { world_.clock->WaitUntil(cv, held, until); });
  if (busy())
    MILLRACE_LOG(*world_.log, kWarning,
                 fmt::format("handlers did not return within drain_timeout ({}); their records go "
                             "to the next owner as well",
                             absl::FormatDuration(options_.drain_timeout)));
}

void RunEngine::Finish() {
  std::vector<std::thread> threads;
  bool all_ended = false;
  {
    MutexLock lock(mu_);
    finished_ = true;
    consumer_ = nullptr;
    work_.NotifyAll();
    // Drain has waited for the handlers: a worker that is still busy will not end soon.
    while (working_ > 0 && in_flight_ == 0) progress_.Wait(mu_);
    all_ended = working_ == 0;
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) {
    if (all_ended)
      thread.join();
    else
      thread.detach();
  }
}

}  // namespace millrace::client
