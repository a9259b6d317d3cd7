// Fills a real file system and looks at what still works, then makes room and looks whether all
// goes on by itself. Nothing acknowledged may be lost on the way. Needs root and loop devices.
//   disk_full
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <thread>

#include "harness/disk/findings.h"
#include "harness/disk/topic_ledger.h"
#include "harness/support/fatal.h"
#include "harness/support/loop_mount.h"
#include "harness/support/work_directory.h"
#include "millrace/broker.h"

namespace millrace::harness {
namespace {

constexpr uint64_t kRoomBytes = 8 << 20;  // what the log gets before the disk is full
constexpr size_t kRecordBytes = 8'000;
constexpr int64_t kMoreThanFits = 10'000;

// Leaves `room` bytes of the file system free.
void FillAllBut(const std::string& mount_point, const std::string& filler, uint64_t room) {
  struct statvfs info;
  if (::statvfs(mount_point.c_str(), &info) != 0) Fatal("statvfs: {}", std::strerror(errno));
  const uint64_t free_bytes = uint64_t{info.f_bavail} * info.f_frsize;
  if (free_bytes <= room) Fatal("the image is too small: {} bytes are free", free_bytes);
  const int fd = ::open(filler.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  const int error = ::posix_fallocate(fd, 0, static_cast<off_t>(free_bytes - room));
  ::close(fd);
  if (error != 0) Fatal("{}: {}", filler, std::strerror(error));
}

class DiskFull {
 public:
  explicit DiskFull(const LoopMount& mount) : mount_(mount), filler_(mount.path() + "/filler") {}

  int Run() {
    FillAllBut(mount_.path(), filler_, kRoomBytes);
    Open();
    findings_.ExpectOk(Admin().CreateTopic("log", {.retention = absl::InfiniteDuration(),
                                                   .segment_bytes = 1 << 20}),
                       "creating a topic");
    std::cout << "  filling the disk\n" << std::flush;
    FillTheLog();
    WorkWhileFull();
    std::cout << "  closing and opening while it is full\n" << std::flush;
    findings_.ExpectOk(broker_->Close(), "closing while the disk is full");
    Open();
    WorkWhileFull();
    std::cout << "  removing the file that fills it\n" << std::flush;
    std::filesystem::remove(filler_);
    SendSome("after space was freed");

    std::cout << "  filling it again, and deleting records\n" << std::flush;
    FillAllBut(mount_.path(), filler_, kRoomBytes / 4);
    FillTheLog();
    findings_.ExpectOk(Admin().DeleteRecords({{{"log", 0}, log_.end() / 2}}),
                       "deleting records while the disk is full");
    findings_.ExpectOk(broker_->RunMaintenance(), "running what is due");
    SendSome("after records were deleted");
    findings_.ExpectOk(broker_->Close(), "closing");
    Open();
    findings_.ExpectComplete(log_, client(), "after the last opening");
    findings_.ExpectOk(broker_->Close(), "closing again");
    return findings_.Close("disk-full");
  }

 private:
  void Open() {
    auto broker = Broker::Open(
        {.directory = mount_.path() + "/data", .client = {.log_level = LogLevel::kOff}});
    if (!broker.ok()) {
      findings_.ExpectOk(broker.status(), "opening");
      std::exit(findings_.Close("disk-full"));
    }
    broker_ = std::make_unique<Broker>(*std::move(broker));
  }
  Client client() const { return broker_->client(); }
  class Admin Admin() const { return client().admin(); }

  void FillTheLog() {
    auto producer = client().NewProducer();
    if (!producer.ok()) return findings_.ExpectOk(producer.status(), "making a producer");
    const Status status = log_.SendUntilFailure(*producer, kRecordBytes, kMoreThanFits);
    findings_.ExpectError(status, "no_space", "sending until the disk is full");
    findings_.Expect(IsRetriable(status), "a full disk is a retriable error");
    for (int i = 0; i < 5; ++i) {
      findings_.ExpectError(log_.Send(*producer, kRecordBytes), "no_space", "sending once more");
    }
  }

  // Reading, committing and asking go on.
  void WorkWhileFull() {
    findings_.ExpectComplete(log_, client(), "while the disk is full");
    auto consumer =
        client().NewConsumer({.group = "readers", .topics = {"log"}, .commits = Commits::kManual});
    if (!consumer.ok()) return findings_.ExpectOk(consumer.status(), "making a consumer");
    const auto batch = consumer->Poll(absl::Seconds(20));
    findings_.Expect(batch.ok() && !batch->empty(), "a group reads while the disk is full",
                     batch.status().ToString());
    if (!batch.ok() || batch->empty()) return;
    const OffsetMap next = batch->next_offsets();
    findings_.ExpectOk(consumer->Commit(next), "committing while the disk is full");
    const auto committed = consumer->Committed({{"log", 0}});
    findings_.Expect(committed.ok() && *committed == next, "the commit is there");
    findings_.ExpectOk(Admin().DescribeTopic("log").status(), "describing the topic");
    findings_.ExpectOk(consumer->Close(absl::Seconds(20)), "closing the consumer");
  }

  void SendSome(std::string_view when) {
    auto producer = client().NewProducer();
    if (!producer.ok()) return findings_.ExpectOk(producer.status(), "making a producer");
    // The error asks the caller to back off: the broker looks for room now and then.
    Status status = log_.Send(*producer, kRecordBytes);
    for (int i = 0; i < 200 && IsRetriable(status); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      status = log_.Send(*producer, kRecordBytes);
    }
    if (status.ok()) status = log_.SendUntilFailure(*producer, kRecordBytes, 100);
    findings_.ExpectOk(status, fmt::format("sending {}", when));
    findings_.ExpectComplete(log_, client(), when);
  }

  const LoopMount& mount_;
  const std::string filler_;
  std::unique_ptr<Broker> broker_;
  TopicLedger log_{"log", 1};
  Findings findings_;
};

int Main() {
  if (const auto missing = LoopMount::WhatIsMissing()) return Skip(*missing);
  HideMounts();
  const std::string work = MakeWorkDirectory("disk-full");
  int result = 1;
  {
    const LoopMount mount({.kind = LoopMount::Kind::kExt4,
                           .image = work + "/image",
                           .mount_point = work + "/mount",
                           .size_bytes = 64 << 20});
    result = DiskFull(mount).Run();
  }
  std::filesystem::remove_all(work);
  return result;
}

}  // namespace
}  // namespace millrace::harness

int main() { return millrace::harness::Main(); }
