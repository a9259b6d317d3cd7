// How do I run a consumer inside of my own class, and end it? Usage: embedding_with_stop_token
#include <atomic>
#include <iostream>
#include <string>
#include <thread>

#include "millrace/millrace.h"

// Reads what happens on a thread of its own. Destroying it stops and joins the thread.
class AuditTrail {
 public:
  explicit AuditTrail(const millrace::Client& log)
      : thread_([this, log](const std::stop_token& stop) {
          const millrace::Status status = Follow(log, stop);
          if (!status.ok()) std::cerr << status << "\n";
        }) {}
  void WaitUntilSeen(size_t logins) const {
    for (size_t seen = seen_; seen < logins; seen = seen_) seen_.wait(seen);
  }

 private:
  millrace::Status Follow(const millrace::Client& log, const std::stop_token& stop) {
    auto consumer = log.NewConsumer({.group = "audit", .topics = {"logins"}});
    if (!consumer.ok()) return consumer.status();
    for (;;) {  // no time-out, no flag to look at: the stop ends a Poll that waits
      const auto batch = consumer->Poll(absl::InfiniteDuration(), stop);
      if (absl::IsCancelled(batch.status())) return consumer->Close(absl::Seconds(5));
      if (!batch.ok()) return batch.status();
      for (const millrace::RecordView& login : *batch)
        std::cout << "audit: " << login.value().str() << "\n";
      seen_ += batch->size();
      seen_.notify_all();
    }
  }

  std::atomic<size_t> seen_ = 0;
  std::jthread thread_;  // the last: it uses what stands above
};

millrace::Status Run() {
  auto log = millrace::Open("memory:");
  if (!log.ok()) return log.status();
  if (auto status = log->admin().CreateTopic("logins"); !status.ok()) return status;
  AuditTrail audit(*log);
  auto producer = log->NewProducer();
  if (!producer.ok()) return producer.status();
  for (const char* name : {"alice", "bob"}) {
    const auto sent = producer->Send({.topic = "logins", .value = name}).Get();
    if (!sent.ok()) return sent.status();
  }
  audit.WaitUntilSeen(2);
  return absl::OkStatus();
}

int main() {
  const millrace::Status status = Run();
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
