// One run of the crash harnesses' workload on a real directory: opens it, reads everything that is
// there, and works until it ends or is killed. What it does goes to its standard output as a
// history. The kill loop and the power cut start it; by hand:
//   kill_loop_child --dir DIR --seed S [--flush each-batch|interval|any] [--verify-only 1]
//     [--kill-at POINT --kill-count N] [--first-process N] [--busy FACTOR] [--lie LIE]
#include <signal.h>
#include <sys/prctl.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>

#include "harness/crash/history_pipe.h"
#include "harness/crash/plan.h"
#include "harness/crash/verification.h"
#include "harness/crash/workload.h"
#include "millrace/broker.h"

namespace millrace::harness {
namespace {

void ReportRecovery(const Broker& broker, HistoryPipe& pipe) {
  for (const RecoveryInfo& info : broker.recovery()) {
    const std::string where = fmt::format("{}-{}", info.partition.topic, info.partition.partition);
    for (const std::string& damage : info.damage) {
      pipe.Wrong(fmt::format("recovery of {} reports damage: {}", where, damage));
    }
    if (info.cut_bytes > 0) {
      pipe.Remark(
          fmt::format("cut {} bytes of {} at offset {}", info.cut_bytes, where, info.cut_offset));
    }
  }
}

int Close(Broker& broker, HistoryPipe& pipe) {
  const Status status = broker.Close(absl::Seconds(30));
  if (!status.ok()) pipe.Wrong(fmt::format("Broker::Close: {}", status.ToString()));
  pipe.Remark("closed");
  return 0;
}

int Main(int argc, char** argv) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // the harness ended: nobody wants this any more
  const Plan plan = MakePlan(argc, argv);
  HistoryPipe pipe(plan.first_process);
  pipe.Remark(Describe(plan));
#ifdef MILLRACE_KILL_POINTS
  ArmKillPoint(plan.kill_point, plan.kill_at);
#endif
  StatusOr<Broker> broker = Broker::Open({.directory = plan.directory,
                                          .flush = plan.flush,
                                          .flush_interval = plan.flush_interval,
                                          .background_threads = plan.background_threads,
                                          .client = {.log_level = LogLevel::kOff}});
  if (!broker.ok()) {
    pipe.Wrong(fmt::format("Broker::Open: {}", broker.status().ToString()));
    return 3;
  }
  ReportRecovery(*broker, pipe);
  const Client client = broker->client();
  ReadEverything(client, pipe);
  pipe.Remark("ready");
  if (plan.verify_only) return Close(*broker, pipe);
  CreateTopics(client, plan, pipe);
  RunWorkload(client, plan, pipe);
  if (plan.end == Plan::End::kClose) return Close(*broker, pipe);
  // Nothing that dies with the process may be needed: no destructor runs from here on.
  if (plan.end == Plan::End::kAbandon) std::this_thread::sleep_for(std::chrono::milliseconds(300));
  std::_Exit(0);
}

}  // namespace
}  // namespace millrace::harness

int main(int argc, char** argv) { return millrace::harness::Main(argc, argv); }
