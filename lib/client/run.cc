#include "millrace/run.h"

#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "client/public_impl.h"
#include "client/run_engine.h"

namespace millrace {
namespace {

// A Poll that waits longer would let finished records go uncommitted for as long.
constexpr absl::Duration kPollFor = absl::Seconds(1);

// Before a partition is handed over its handlers return and what they did is committed.
class DrainOnRevoke : public RebalanceListener {
 public:
  DrainOnRevoke(std::shared_ptr<client::RunEngine> engine, std::shared_ptr<RebalanceListener> next)
      : engine_(std::move(engine)), next_(std::move(next)) {}

  void OnAssigned(Consumer& consumer, const std::vector<TopicPartition>& tps) override {
    if (next_ != nullptr) next_->OnAssigned(consumer, tps);
  }
  void OnRevoked(Consumer& consumer, const std::vector<TopicPartition>& tps) override {
    engine_->Drain(&tps, /*wait=*/true);
    consumer.Commit().IgnoreError();  // logged by the consumer; the next owner reads them again
    if (next_ != nullptr) next_->OnRevoked(consumer, tps);
  }
  void OnLost(Consumer& consumer, const std::vector<TopicPartition>& tps) override {
    engine_->Drain(&tps, /*wait=*/false);  // others have them already
    if (next_ != nullptr) next_->OnLost(consumer, tps);
  }

 private:
  const std::shared_ptr<client::RunEngine> engine_;
  const std::shared_ptr<RebalanceListener> next_;
};

Status Check(const ConsumerOptions& consumer, const RunOptions& options, const Handler& handler) {
  const auto wrong = [](std::string_view message) {
    return MakeError(ErrorId::kInvalidArgument, message);
  };
  if (!handler) return wrong("Run: the handler is empty");
  if (consumer.group.empty()) return wrong("Run: ConsumerOptions::group is empty");
  if (consumer.topics.empty()) return wrong("Run: ConsumerOptions::topics are empty");
  if (options.workers < 1)
    return wrong(fmt::format("Run: workers is {}, wanted 1 or more", options.workers));
  if (options.max_attempts < 1)
    return wrong(fmt::format("Run: max_attempts is {}, wanted 1 or more", options.max_attempts));
  if (options.max_in_flight < 1) return wrong("Run: max_in_flight is 0, wanted 1 or more");
  return absl::OkStatus();
}

// Fetches while there is room, and polls all the time, for the group's sake.
Status PollUntilStopped(Consumer& consumer, client::RunEngine& engine,
                        const std::stop_token& stop) {
  bool paused = false;
  for (;;) {
    if (engine.Full()) {
      MILLRACE_RETURN_IF_ERROR(consumer.Pause(consumer.assignment()));
      paused = true;
    } else if (paused && engine.HasRoomAgain()) {
      MILLRACE_RETURN_IF_ERROR(consumer.Resume(consumer.assignment()));
      paused = false;
    }
    StatusOr<RecordBatch> batch = consumer.Poll(kPollFor, stop);
    if (std::optional<Status> failed = engine.failure()) return *std::move(failed);
    if (stop.stop_requested()) return absl::OkStatus();
    if (batch.ok()) {
      if (!batch->empty()) engine.Dispatch(*std::move(batch));
    } else if (ErrorIdOf(batch.status()) == ErrorId::kPinnedTooMuch) {
      engine.WaitForProgress(absl::Milliseconds(100));  // handlers hold the buffers
    } else if (!absl::IsCancelled(batch.status())) {    // that is a worker's Wake
      return batch.status();
    }
  }
}

}  // namespace

Status Run(const Client& client, ConsumerOptions consumer_options, RunOptions options,
           Handler handler, std::stop_token stop) {
  MILLRACE_RETURN_IF_ERROR(Check(consumer_options, options, handler));
  const std::shared_ptr<client::Backend> backend = ClientAccess::BackendOf(client);
  if (backend == nullptr)
    return MakeError(ErrorId::kInvalidArgument, "Run: the client was moved from");
  client::RunEngine::World world{.clock = backend->clock(),
                                 .log = backend->logger(),
                                 .dead_letters = nullptr,
                                 .dead_letter_topic = options.dead_letter_topic};
  if (!options.dead_letter_topic.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(Producer producer, client.NewProducer());
    world.dead_letters = std::make_shared<Producer>(std::move(producer));
  }
  const absl::Duration drain_timeout = options.drain_timeout;
  consumer_options.commits = Commits::kMarked;
  consumer_options.max_poll_records =
      std::min(consumer_options.max_poll_records, options.max_in_flight);
  const auto engine =
      std::make_shared<client::RunEngine>(std::move(world), std::move(options), std::move(handler));
  consumer_options.listener =
      std::make_shared<DrainOnRevoke>(engine, std::move(consumer_options.listener));
  MILLRACE_ASSIGN_OR_RETURN(Consumer consumer, client.NewConsumer(std::move(consumer_options)));
  Status status = client::RunEngine::Start(engine, &consumer);
  if (status.ok()) status = PollUntilStopped(consumer, *engine, stop);
  engine->Drain(nullptr, /*wait=*/true);
  engine->Finish();
  const Status closed = consumer.Close(drain_timeout);  // commits what is done
  return status.ok() ? closed : status;
}

}  // namespace millrace
