#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "harness/crash/history_pipe.h"
#include "harness/crash/plan.h"
#include "harness/support/rng.h"
#include "millrace/client.h"

namespace millrace::harness {

// One producer as a process of the history. Belongs to one thread.
class Sender {
 public:
  Sender(const Client& client, const Plan& plan, uint64_t seed, HistoryPipe& pipe);
  bool ok() const { return producer_.ok(); }

  // Sends up to `count` records to the topic's first `partitions` partitions as one operation: its
  // invoke, an ack line as each is acknowledged, its completion.
  void Send(std::string_view topic, int32_t partitions, int64_t count);
  void Close();

 private:
  struct Outcome {  // of each record; callbacks fill it
    Mutex mu;
    check::Op completion ABSL_GUARDED_BY(mu);
    bool failed ABSL_GUARDED_BY(mu) = false;
  };
  struct Planned {
    int32_t partition;
    int64_t id;
  };
  void SendWithCallbacks(std::string_view topic, const std::vector<Planned>& records,
                         const std::shared_ptr<Outcome>& outcome);
  void SendTogether(std::string_view topic, const std::vector<Planned>& records, Outcome& outcome);
  void Answer(const StatusOr<Delivery>& delivery, size_t index, bool ack, Outcome& outcome);

  const Plan& plan_;
  HistoryPipe& pipe_;
  Rng rng_;
  const int64_t process_;
  int64_t next_id_;
  StatusOr<Producer> producer_;
};

void RunSender(const Client& client, const Plan& plan, uint64_t seed, HistoryPipe& pipe);

}  // namespace millrace::harness
