// A process that may not write large files, or not open many: appends must fail with an error that
// says so, the process must live, and all must go on once the limit is raised.
//   process_limits
#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <vector>

#include "harness/disk/findings.h"
#include "harness/disk/topic_ledger.h"
#include "harness/support/fatal.h"
#include "harness/support/work_directory.h"
#include "millrace/broker.h"

namespace millrace::harness {
namespace {

void SetLimit(int resource, rlim_t soft) {
  struct rlimit limit;
  if (::getrlimit(resource, &limit) != 0) Fatal("getrlimit: {}", std::strerror(errno));
  limit.rlim_cur = std::min(soft, limit.rlim_max);
  if (::setrlimit(resource, &limit) != 0) Fatal("setrlimit: {}", std::strerror(errno));
}

StatusOr<Broker> Open(const std::string& directory) {
  return Broker::Open({.directory = directory, .client = {.log_level = LogLevel::kOff}});
}

void CheckFileSize(const std::string& directory, Findings& findings) {
  std::cout << "  RLIMIT_FSIZE\n" << std::flush;
  auto broker = Open(directory);
  if (!broker.ok()) return findings.ExpectOk(broker.status(), "opening");
  const Client client = broker->client();
  findings.ExpectOk(client.admin().CreateTopic("log", {.retention = absl::InfiniteDuration()}),
                    "creating a topic");
  TopicLedger log("log", 1);
  auto producer = client.NewProducer();
  if (!producer.ok()) return findings.ExpectOk(producer.status(), "making a producer");

  SetLimit(RLIMIT_FSIZE, 2 << 20);
  const Status status = log.SendUntilFailure(*producer, 10'000, 1'000);
  findings.ExpectError(status, "no_space", "writing past RLIMIT_FSIZE");
  findings.Expect(status.ToString().find("RLIMIT_FSIZE") != std::string::npos,
                  "the error must name the limit", status.ToString());
  findings.ExpectComplete(log, client, "at the limit");
  SetLimit(RLIMIT_FSIZE, RLIM_INFINITY);
  findings.ExpectOk(log.SendUntilFailure(*producer, 10'000, 100), "sending after it was raised");
  findings.ExpectComplete(log, client, "after it was raised");
  findings.ExpectOk(broker->Close(), "closing");
}

// What a call at the limit may answer: that it worked, or that files were lacking.
void ExpectOkOrTooManyFiles(const Status& status, std::string_view what, Findings& findings) {
  if (!status.ok()) findings.ExpectError(status, "too_many_files", what);
}

void CheckOpenFiles(const std::string& directory, Findings& findings) {
  std::cout << "  RLIMIT_NOFILE 16\n" << std::flush;
  constexpr int kTopics = 40;
  SetLimit(RLIMIT_NOFILE, 16);
  auto broker = Open(directory);
  if (!broker.ok()) {
    findings.ExpectError(broker.status(), "too_many_files", "opening with 16 files");
    SetLimit(RLIMIT_NOFILE, 32);
    broker = Open(directory);
  }
  if (!broker.ok()) return findings.ExpectOk(broker.status(), "opening with 32 files");
  const Client client = broker->client();
  std::vector<TopicLedger> logs;
  logs.reserve(kTopics);
  auto producer = client.NewProducer();
  if (!producer.ok()) return findings.ExpectOk(producer.status(), "making a producer");
  for (int i = 0; i < kTopics; ++i) {
    logs.emplace_back(fmt::format("log{}", i), i * 1'000);
    const Status created = client.admin().CreateTopic(logs.back().topic(), {}, OnExists::kKeep);
    ExpectOkOrTooManyFiles(created, "creating a topic", findings);
    if (created.ok()) {
      ExpectOkOrTooManyFiles(logs.back().Send(*producer, 100), "sending at the limit", findings);
    }
  }
  SetLimit(RLIMIT_NOFILE, 1'024);
  for (TopicLedger& log : logs) {
    findings.ExpectOk(client.admin().CreateTopic(log.topic(), {}, OnExists::kKeep),
                      "creating what is missing");
    findings.ExpectOk(log.Send(*producer, 100), "sending after the limit was raised");
    findings.ExpectComplete(log, client, "after the limit was raised");
  }
  findings.ExpectOk(broker->Close(), "closing");
}

int Main() {
  const std::string work = MakeWorkDirectory("process-limits");
  Findings findings;
  CheckFileSize(work + "/file-size", findings);
  CheckOpenFiles(work + "/open-files", findings);
  std::filesystem::remove_all(work);
  return findings.Close("process-limits");
}

}  // namespace
}  // namespace millrace::harness

int main() { return millrace::harness::Main(); }
