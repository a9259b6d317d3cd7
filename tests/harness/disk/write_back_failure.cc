// A write that the kernel accepts and then cannot bring to the device: an ext4 image that is larger
// than the memory file system it lies in. The write succeeds, its sync fails, and from then on the
// page cache shows bytes that the device does not have. After the first failed sync nothing may be
// acknowledged any more, and a new opening must trust the device alone. Needs root and loop
// devices.
//   write_back_failure
#include <sys/mount.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>

#include "harness/disk/findings.h"
#include "harness/disk/topic_ledger.h"
#include "harness/support/fatal.h"
#include "harness/support/loop_mount.h"
#include "harness/support/work_directory.h"
#include "millrace/broker.h"

namespace millrace::harness {
namespace {

constexpr char kHarness[] = "write-back-failure";
constexpr int64_t kMoreThanFits = 20'000;
// Each append must write one whole page of the device, or the device itself would lie: the loop
// driver of Linux 6.18 answers a write that only partly fits its file as a success. With 61 bytes
// of batch header and 9 of the record, such a value makes a batch of 4096.
constexpr size_t kRecordBytes = 4'026;

class WriteBackFailure {
 public:
  WriteBackFailure(LoopMount& mount, std::string memory)
      : mount_(mount), memory_(std::move(memory)) {}

  int Run() {
    auto broker = Open();
    findings_.ExpectOk(broker.status(), "opening");
    if (!broker.ok()) return findings_.Close(kHarness);
    for (const char* topic : {"log", "other"}) {
      findings_.ExpectOk(
          broker->client().admin().CreateTopic(topic, {.retention = absl::InfiniteDuration()}),
          "creating a topic");
    }
    WriteUntilTheDeviceFails(*broker);
    NothingIsAcknowledgedAnyMore(*broker);
    findings_.ExpectComplete(log_, broker->client(), "in the process that saw the failure");
    broker->Close(absl::Seconds(20)).IgnoreError();  // may say that it could not sync

    // From here on the device works, but the page cache still shows what it never got.
    GiveRoom();
    const uint64_t before = ReadAgain("through the old mount", false);
    mount_.Unmount();
    mount_.Mount();
    const uint64_t after = ReadAgain("through a new mount", true);
    findings_.Expect(before == kCouldNotOpen || before == after,
                     "both mounts must show the same records",
                     fmt::format("{} and {}", before, after));
    findings_.Expect(after != kCouldNotOpen, "the directory must open on a sound device");
    return findings_.Close(kHarness);
  }

 private:
  static constexpr uint64_t kCouldNotOpen = ~uint64_t{0};

  StatusOr<Broker> Open() const {
    return Broker::Open(
        {.directory = mount_.path() + "/data", .client = {.log_level = LogLevel::kOff}});
  }

  void WriteUntilTheDeviceFails(Broker& broker) {
    auto producer = broker.client().NewProducer();
    if (!producer.ok()) return findings_.ExpectOk(producer.status(), "making a producer");
    const Status status = log_.SendUntilFailure(*producer, kRecordBytes, kMoreThanFits);
    findings_.Expect(!status.ok(), "a sync must fail before the image is full");
    findings_.Expect(!IsRetriable(status), "after a failed sync no retry can help",
                     status.ToString());
    const auto detail = DetailOf(status);
    findings_.Expect(detail && detail->persistence == Persistence::kPossiblyPersisted,
                     "what failed at the sync may be there", status.ToString());
    std::cout << fmt::format("  after {} records: {}\n", log_.acknowledged(), status.ToString());
    const std::string file = mount_.path() + "/data/log-0/00000000000000000000.log";
    if (std::filesystem::file_size(file) % 4'096 != 0) Fatal("{}: holds no whole pages", file);
  }

  void NothingIsAcknowledgedAnyMore(Broker& broker) {
    auto producer = broker.client().NewProducer();
    if (!producer.ok()) return;
    for (int i = 0; i < 20; ++i) {
      findings_.Expect(!log_.Send(*producer, 100).ok(), "a send to the failed log must fail");
      findings_.Expect(!other_.Send(*producer, 100).ok(), "a send to another log must fail");
    }
    findings_.ExpectError(other_.Send(*producer, 100), "directory_failed", "the answer since then");
    findings_.Expect(!broker.Sync().ok(), "Sync must fail");
    auto consumer = broker.client().NewConsumer({.group = "readers", .commits = Commits::kManual});
    if (!consumer.ok()) return;
    findings_.Expect(!consumer->Commit({{{"log", 0}, 1}}).ok(), "an explicit commit must fail");
  }

  void GiveRoom() {
    const int result = ::mount("none", memory_.c_str(), "tmpfs", MS_REMOUNT, "size=400m");
    if (result != 0) Fatal("giving room to {}: {}", memory_, std::strerror(errno));
  }

  // How many records a new opening shows.
  uint64_t ReadAgain(std::string_view how, bool is_new_mount) {
    auto broker = Open();
    std::cout << fmt::format("  opening {}: {}\n", how, broker.status().ToString()) << std::flush;
    if (!broker.ok()) return kCouldNotOpen;
    findings_.ExpectComplete(log_, broker->client(), how);
    const uint64_t read = log_.Compare(broker->client()).read;
    // The old mount may still answer with the failure of then.
    const Status closed = broker->Close();
    if (is_new_mount) findings_.ExpectOk(closed, "closing");
    return read;
  }

  LoopMount& mount_;
  const std::string memory_;
  TopicLedger log_{"log", 1};
  TopicLedger other_{"other", 1'000'000};
  Findings findings_;
};

int Main() {
  if (const auto missing = LoopMount::WhatIsMissing()) return Skip(*missing);
  HideMounts();
  const std::string work = MakeWorkDirectory(kHarness);
  const std::string memory = work + "/memory";
  std::filesystem::create_directory(memory);
  if (::mount("none", memory.c_str(), "tmpfs", 0, "size=32m") != 0) {
    Fatal("mounting a tmpfs on {}: {}", memory, std::strerror(errno));
  }
  int result = 1;
  {
    LoopMount mount({.kind = LoopMount::Kind::kExt4,
                     .image = memory + "/image",
                     .mount_point = work + "/mount",
                     .size_bytes = 96 << 20});
    result = WriteBackFailure(mount, memory).Run();
  }
  ::umount2(memory.c_str(), MNT_DETACH);
  std::filesystem::remove_all(work);
  return result;
}

}  // namespace
}  // namespace millrace::harness

int main() { return millrace::harness::Main(); }
