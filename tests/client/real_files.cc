#include "client/real_files.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

namespace millrace {
namespace {

using Frozen = std::shared_ptr<std::atomic<bool>>;

Status Dead() { return MakeError(ErrorId::kIoError, "the process is dead"); }

class FileOfOneLife : public File {
 public:
  FileOfOneLife(std::unique_ptr<File> file, Frozen frozen)
      : file_(std::move(file)), frozen_(std::move(frozen)) {}
  StatusOr<size_t> ReadAt(uint64_t position, std::span<std::byte> out) override {
    return file_->ReadAt(position, out);
  }
  Status WriteAt(uint64_t position, std::span<const std::byte> bytes) override {
    return *frozen_ ? Dead() : file_->WriteAt(position, bytes);
  }
  Status Sync() override { return *frozen_ ? Dead() : absl::OkStatus(); }
  Status Truncate(uint64_t size_bytes) override {
    return *frozen_ ? Dead() : file_->Truncate(size_bytes);
  }
  StatusOr<uint64_t> Size() override { return file_->Size(); }
  Status DropCache() override { return absl::OkStatus(); }

 private:
  const std::unique_ptr<File> file_;
  const Frozen frozen_;
};

class OneLife : public FileSystem {
 public:
  OneLife(std::string boot, Frozen frozen) : boot_(std::move(boot)), frozen_(std::move(frozen)) {}
  StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    if (*frozen_ && mode != OpenMode::kRead) return Dead();
    auto file = real_->Open(path, mode);
    if (!file.ok()) return file.status();
    return std::make_unique<FileOfOneLife>(*std::move(file), frozen_);
  }
  StatusOr<FileInfo> Stat(const std::string& path) override { return real_->Stat(path); }
  StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    return real_->List(directory);
  }
  Status CreateDir(const std::string& path) override {
    return *frozen_ ? Dead() : real_->CreateDir(path);
  }
  Status RemoveFile(const std::string& path) override {
    return *frozen_ ? Dead() : real_->RemoveFile(path);
  }
  Status RemoveDir(const std::string& path) override {
    return *frozen_ ? Dead() : real_->RemoveDir(path);
  }
  Status Rename(const std::string& from, const std::string& to) override {
    return *frozen_ ? Dead() : real_->Rename(from, to);
  }
  Status Link(const std::string& from, const std::string& to) override {
    return *frozen_ ? Dead() : real_->Link(from, to);
  }
  Status SyncDir(const std::string&) override { return *frozen_ ? Dead() : absl::OkStatus(); }
  StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    return real_->Lock(path);
  }
  std::string BootId() override { return boot_; }
  std::string MountId(const std::string& path) override { return real_->MountId(path); }

 private:
  const std::shared_ptr<FileSystem> real_ = FileSystem::Real();
  const std::string boot_;
  const Frozen frozen_;
};

}  // namespace

std::shared_ptr<FileSystem> FilesOfOneLife(std::string boot, Frozen frozen) {
  return std::make_shared<OneLife>(std::move(boot), std::move(frozen));
}

OnDisk::OnDisk(uint64_t seed) {
  options.directory = data;
  options.background_threads = 0;
  options.env.clock = clock;
  options.env.random = testing::SeededRandom(seed);
  options.client.log = log;
}

Status OnDisk::TryOpen() {
  frozen_ = std::make_shared<std::atomic<bool>>(false);
  options.env.files = FilesOfOneLife(fmt::format("boot {}", boot_), frozen_);
  auto opened = Broker::Open(options);
  if (!opened.ok()) return opened.status();
  broker = std::make_unique<Broker>(*std::move(opened));
  return absl::OkStatus();
}

void OnDisk::Close() {
  OrFail(broker->Close());
  broker.reset();
}

void OnDisk::Drop(int next_boot) {
  *frozen_ = true;
  broker.reset();
  boot_ = next_boot;
}

void OnDisk::Produce(Offset from, Offset to, const std::string& topic) {
  Producer producer = OrFail(client().NewProducer());
  for (Offset i = from; i < to; ++i) {
    ProducerRecord record{.topic = topic, .partition = 0, .value = fmt::format("{:03}", i)};
    CHECK(OrFail(producer.Send(std::move(record)).Get()).offset == i);
    clock->Advance(absl::Milliseconds(1));
  }
}

void OnDisk::WriteMarks() {
  clock->Advance(absl::Seconds(1));
  OrFail(broker->RunMaintenance());
}

std::string OnDisk::Read(const std::string& name) const {
  std::ifstream in(PathOf(name), std::ios::binary);
  INFO(name);
  REQUIRE(in.good());
  return {std::istreambuf_iterator<char>(in), {}};
}

void OnDisk::Write(const std::string& name, std::string_view bytes) const {
  std::ofstream out(PathOf(name), std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  REQUIRE(out.good());
}

void OnDisk::Remove(const std::string& name) const {
  REQUIRE(std::filesystem::remove_all(PathOf(name)) > 0);
}

bool OnDisk::Exists(const std::string& name) const { return std::filesystem::exists(PathOf(name)); }

OnDisk::Image OnDisk::Save() const {
  Image files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(data)) {
    const std::string name = entry.path().lexically_relative(data).string();
    if (entry.is_regular_file() && name != "millrace/lock" && name != "millrace/ballast")
      files[name] = Read(name);
  }
  return files;
}

void OnDisk::Restore(const Image& image) {
  if (broker != nullptr) KillProcess();
  std::filesystem::remove_all(data);
  for (const auto& [name, bytes] : image) {
    std::filesystem::create_directories(std::filesystem::path(PathOf(name)).parent_path());
    Write(name, bytes);
  }
}

bool OnDisk::Contents::Has(Offset from, Offset to) const {
  for (Offset i = from; i < to; ++i) {
    const auto at = values.find(i);
    if (at == values.end() || at->second != fmt::format("{:03}", i)) return false;
  }
  return true;
}

bool OnDisk::Contents::Lacks(Offset from, Offset to) const {
  const auto at = values.lower_bound(from);
  return at == values.end() || at->first >= to;
}

OnDisk::Contents OnDisk::ReadAll(const std::string& topic) const {
  const TopicPartition tp{topic, 0};
  Consumer consumer = OrFail(client().NewConsumer());
  OrFail(consumer.Assign({tp}));
  Contents contents;
  Offset next = OrFail(consumer.BeginningOffsets({tp})).at(tp);
  const Offset end = End(topic);
  while (next < end) {
    OrFail(consumer.Seek(tp, next));
    const auto batch = consumer.Poll(absl::ZeroDuration());
    if (batch.ok()) {
      ++next;  // should nothing be there, and nobody say so
      for (const RecordView& record : *batch) {
        contents.values[record.offset()] = std::string(record.value().str());
        next = record.offset() + 1;
      }
    } else {
      if (contents.errors.empty() || contents.errors.back() != Described(batch.status()))
        contents.errors.push_back(Described(batch.status()));
      next = std::max(next, consumer.position(tp).value_or(next)) + 1;
    }
  }
  return contents;
}

Offset OnDisk::End(const std::string& topic) const {
  return OrFail(client().admin().DescribeTopic(topic)).partitions.at(0).end;
}

RecoveryInfo OnDisk::Recovery(const std::string& topic) const {
  // A topic's first use opens its log.
  for (const RecoveryInfo& info : broker->recovery())
    if (info.partition.topic == topic) return info;
  return {};
}

std::string OnDisk::Report(const std::string& topic) const {
  const RecoveryInfo info = Recovery(topic);
  std::string text = fmt::format("cut {} bytes at offset {}\n", info.cut_bytes, info.cut_offset);
  for (const auto& line : info.damage) text += fmt::format("damage: {}\n", line);
  for (const auto& line : info.notes) text += fmt::format("note: {}\n", line);
  return text;
}

FourSegments::FourSegments(Ended ended, uint64_t seed) : OnDisk(seed) {
  Open();
  OrFail(client().admin().CreateTopic(
      "t", {.config = {{"segment.bytes", "355"}, {"index.interval.bytes", "100"}}}));
  Produce(0, 12);
  Close();
  older = Save();
  Open();
  Produce(12, 17);
  WriteMarks();
  if (ended == Ended::kClosed) Close();
  if (ended == Ended::kPowerCut) CutPower();
  if (ended == Ended::kKilled) KillProcess();
  image = Save();
  REQUIRE(image.at("t-0/00000000000000000015.log").size() == 142);
}

}  // namespace millrace
