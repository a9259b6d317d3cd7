// Random operations: the three file systems agree with each other, and what a power cut leaves
// agrees with a model that is written another way. A failure prints its seed; MILLRACE_SEED runs
// that one alone.
#include <stdlib.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "env/file_systems.h"
#include "env/file_util.h"
#include "env/split_mix.h"
#include "millrace/testing/simulated_disk.h"
#include "support/or_fail.h"

namespace millrace {
namespace {

std::vector<uint64_t> Seeds(uint64_t count) {
  const char* const given = ::getenv("MILLRACE_SEED");
  if (given != nullptr) return {::strtoull(given, nullptr, 10)};
  std::vector<uint64_t> seeds(count);
  for (uint64_t i = 0; i < count; ++i) seeds[i] = i;
  return seeds;
}

// Does what the generator says and tells what came of it, in words that hold for any file system.
class RandomUser {
 public:
  RandomUser(FileSystem& files, std::string root, uint64_t seed)
      : files_(files), root_(std::move(root)), random_(seed) {
    OrFail(files_.CreateDir(root_));
  }

  std::string Step() {
    switch (random_.Below(13)) {
      case 0:
        return Say("create dir", files_.CreateDir(Path()));
      case 1:
        return Say("remove dir", files_.RemoveDir(Path()));
      case 2:
        return Say("remove file", files_.RemoveFile(Path()));
      case 3:
      case 4:
        return Say("rename", files_.Rename(Path(), Path()));
      case 5:
        return Say("link", files_.Link(Path(), Path()));
      case 6:
        return List(Path());
      case 7:
        return Stat(Path());
      case 8:
        return Say("sync dir", files_.SyncDir(Path()));
      case 9:
        return Open();
      case 10:
        return Write();
      case 11:
        return Truncate();
      default:
        return Read();
    }
  }

 private:
  // Few names, so that operations meet.
  std::string Path() {
    std::string path = root_;
    do {
      path += "/";
      path += static_cast<char>('a' + random_.Below(3));
    } while (random_.OneIn(3));
    return path;
  }
  std::string Say(std::string_view operation, const Status& status) {
    return fmt::format("{}: {}", operation, status.ok() ? "ok" : InfoOf(ErrorIdOf(status)).name);
  }
  std::string List(const std::string& path) {
    const auto names = files_.List(path);
    if (!names.ok()) return Say("list", names.status());
    return fmt::format("list: {}", fmt::join(*names, " "));
  }
  std::string Stat(const std::string& path) {
    const auto info = files_.Stat(path);
    if (!info.ok()) return Say("stat", info.status());
    return fmt::format("stat: {} {}", info->size_bytes, info->is_directory);
  }
  std::string Open() {
    const auto mode = static_cast<OpenMode>(random_.Below(4));
    auto file = files_.Open(Path(), mode);
    if (!file.ok()) return Say("open", file.status());
    if (open_.size() > 4) open_.erase(open_.begin());
    open_.push_back(*std::move(file));
    return "open: ok";
  }
  File* AnyOpen() { return open_.empty() ? nullptr : open_[random_.Below(open_.size())].get(); }
  std::string Write() {
    File* const file = AnyOpen();
    if (file == nullptr) return "";
    const std::string bytes(1 + random_.Below(5000), static_cast<char>('a' + random_.Below(26)));
    return Say("write",
               file->WriteAt(random_.Below(random_.OneIn(20) ? 150'000 : 9000), AsBytes(bytes)));
  }
  std::string Truncate() {
    File* const file = AnyOpen();
    return file == nullptr ? "" : Say("truncate", file->Truncate(random_.Below(9000)));
  }
  std::string Read() {
    File* const file = AnyOpen();
    if (file == nullptr) return "";
    std::string bytes(random_.Below(20'000), '?');
    const auto count = file->ReadAt(random_.Below(9000), std::as_writable_bytes(std::span(bytes)));
    if (!count.ok()) return Say("read", count.status());
    bytes.resize(*count);
    return fmt::format("read: {} of {}", bytes, OrFail(file->Size()));
  }

  FileSystem& files_;
  const std::string root_;
  SplitMix64 random_;
  std::vector<std::unique_ptr<File>> open_;
};

TEST_CASE("all file systems give the same answers to random users", "[env][random]") {
  const std::string name = GENERATE("memory", "simulated");
  for (const uint64_t seed : Seeds(60)) {
    const auto real = MakeFileSystem("real");
    const auto other = MakeFileSystem(name);
    RandomUser real_user(*real.files, real.root, seed);
    RandomUser other_user(*other.files, other.root, seed);
    for (int step = 0; step < 150; ++step) {
      const std::string expected = real_user.Step();
      const std::string found = other_user.Step();
      if (expected == found) continue;
      FAIL("MILLRACE_SEED=" << seed << ", step " << step << ": real: " << expected.substr(0, 200)
                            << ", " << name << ": " << found.substr(0, 200));
    }
  }
}

// What one file may hold after a power cut, told by what was done to it.
class FileModel {
 public:
  void Write(size_t position, const std::string& bytes) {
    writes_.emplace_back(position, bytes);
    Overlay(now_, position, bytes);
    largest_ = std::max(largest_, now_.size());
  }
  void Truncate(size_t size) {
    now_.resize(size);
    smallest_truncation_ = std::min(smallest_truncation_, size);
    largest_ = std::max(largest_, size);
  }
  void Sync() { *this = FileModel(now_); }
  const std::string& now() const { return now_; }

  // Empty, or what is wrong with `image`.
  std::string Judge(const std::string& image) const {
    if (image.size() > largest_) return fmt::format("{} bytes, never had so many", image.size());
    const size_t certain = std::min(durable_.size(), smallest_truncation_);
    if (image.size() < certain) return fmt::format("{} bytes of {}", image.size(), certain);
    for (size_t i = 0; i < certain; ++i) {
      if (image[i] == durable_[i]) continue;
      const bool written = std::ranges::any_of(writes_, [&](const auto& write) {
        const auto& [position, bytes] = write;
        return i >= position && i - position < bytes.size() && bytes[i - position] == image[i];
      });
      if (!written) return fmt::format("byte {} was never there", i);
    }
    return "";
  }

  FileModel() = default;

 private:
  explicit FileModel(const std::string& durable)
      : durable_(durable), now_(durable), largest_(durable.size()) {}
  static void Overlay(std::string& text, size_t position, const std::string& bytes) {
    if (text.size() < position + bytes.size()) text.resize(position + bytes.size());
    std::ranges::copy(bytes, text.begin() + static_cast<ptrdiff_t>(position));
  }

  std::string durable_;
  std::string now_;
  std::vector<std::pair<size_t, std::string>> writes_;
  size_t smallest_truncation_ = SIZE_MAX;
  size_t largest_ = 0;
};

TEST_CASE("a power cut loses only what a model of it allows", "[env][random][cut]") {
  using testing::CutMode;
  const CutMode mode = GENERATE(CutMode::kJournalled, CutMode::kAdversarial);
  for (const uint64_t seed : Seeds(150)) {
    SplitMix64 random(seed);
    testing::SimulatedDisk disk(seed);
    std::map<std::string, FileModel> models;
    std::map<std::string, bool> entry_is_durable;
    for (int step = 0; step < 40; ++step) {
      const std::string path(1, static_cast<char>('a' + random.Below(3)));
      const auto file = OrFail(disk.Open(path, OpenMode::kCreate));
      entry_is_durable.emplace(path, false);
      FileModel& model = models[path];
      switch (random.Below(6)) {
        case 0:
          OrFail(file->Sync());
          model.Sync();
          break;
        case 1: {
          const size_t size = random.Below(3000);
          OrFail(file->Truncate(size));
          model.Truncate(size);
          break;
        }
        case 2:
          OrFail(disk.SyncDir("/"));
          for (auto& [name, durable] : entry_is_durable) durable = true;
          break;
        default: {
          const size_t position = random.Below(3000);
          const std::string bytes(1 + random.Below(2000), static_cast<char>('a' + step % 26));
          OrFail(file->WriteAt(position, AsBytes(bytes)));
          model.Write(position, bytes);
        }
      }
    }
    for (uint64_t cut = 0; cut < 20; ++cut) {
      INFO("MILLRACE_SEED=" << seed << ", cut " << cut);
      const auto image = disk.PowerCut(cut, mode);
      for (const auto& [path, model] : models) {
        const auto contents = image->Peek(path);
        if (entry_is_durable.at(path)) REQUIRE(contents.ok());
        if (contents.ok()) REQUIRE(model.Judge(*contents) == "");
        REQUIRE((OrFail(disk.Peek(path)) == model.now()));
      }
    }
  }
}

}  // namespace
}  // namespace millrace
