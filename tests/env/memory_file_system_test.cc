// Files in memory: their bound, and threads that share them.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "env/file_util.h"
#include "millrace/env.h"
#include "support/or_fail.h"

namespace millrace {
namespace {

TEST_CASE("files in memory stay within their bound", "[env][memory]") {
  constexpr uint64_t kMaxBytes = 1 << 20;
  const auto files = NewMemoryFileSystem(kMaxBytes);
  auto file = OrFail(files->Open("a", OpenMode::kCreate));
  const std::string block(10'000, 'x');
  uint64_t written = 0;
  Status status;
  while (status.ok()) {
    status = file->WriteAt(written, AsBytes(block));
    if (status.ok()) written += block.size();
  }
  CHECK(ErrorIdOf(status) == ErrorId::kNoSpace);
  CHECK(written <= kMaxBytes);
  CHECK(written > kMaxBytes - 2 * block.size());
  CHECK(OrFail(file->Size()) == written);
  OrFail(file->WriteAt(0, AsBytes(block)));  // over what is there already
  CHECK_FALSE(file->WriteAt(kMaxBytes * 10, AsBytes(std::string(kMaxBytes + 1, 'x'))).ok());

  const auto other = OrFail(files->Open("b", OpenMode::kCreate));
  CHECK_FALSE(other->WriteAt(0, AsBytes(std::string(100'000, 'x'))).ok());
  SECTION("a truncation frees") { OrFail(file->Truncate(kMaxBytes / 2)); }
  SECTION("a removal frees once nobody has the file open") {
    OrFail(files->RemoveFile("a"));
    CHECK_FALSE(other->WriteAt(0, AsBytes(std::string(100'000, 'x'))).ok());
    file.reset();
  }
  SECTION("a rename over the file frees") {
    file.reset();
    OrFail(WriteFileDurably(*files, "c", {}));
    OrFail(files->Rename("c", "a"));
  }
  OrFail(other->WriteAt(0, AsBytes(std::string(100'000, 'x'))));
}

TEST_CASE("a thousand small files cost little", "[env][memory]") {
  const auto files = NewMemoryFileSystem(1 << 20);
  for (int i = 0; i < 1000; ++i) {
    OrFail(WriteFileDurably(*files, std::to_string(i), AsBytes("a few bytes")));
  }
}

TEST_CASE("a far position in an empty file costs one chunk", "[env][memory]") {
  const auto files = NewMemoryFileSystem(1 << 20);
  const auto file = OrFail(files->Open("a", OpenMode::kCreate));
  OrFail(file->WriteAt(uint64_t{1} << 50, AsBytes("x")));
  CHECK(OrFail(file->Size()) == (uint64_t{1} << 50) + 1);
  std::byte out[4];
  CHECK(OrFail(file->ReadAt(1 << 30, out)) == 4);
  CHECK(out[0] == std::byte{0});
}

TEST_CASE("readers overlap a writer and see only whole appends below the size",
          "[env][memory][threads]") {
  const auto files = NewMemoryFileSystem();
  const auto file = OrFail(files->Open("a", OpenMode::kCreate));
  constexpr uint64_t kAppends = 2000;
  constexpr size_t kBytes = 777;
  std::atomic<uint64_t> published{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back([&] {
      std::string out(kBytes * 3, '?');
      for (uint64_t n = 0; n < kAppends; n = published.load()) {
        const uint64_t from = n > 3 ? n - 3 : 0;
        const auto count = file->ReadAt(from * kBytes, std::as_writable_bytes(std::span(out)));
        if (!count.ok() || *count < (n - from) * kBytes) ++wrong;
        for (uint64_t i = from; i < n; ++i) {
          const char expected = static_cast<char>('a' + i % 26);
          if (out[(i - from) * kBytes] != expected) ++wrong;
          if (out[(i - from + 1) * kBytes - 1] != expected) ++wrong;
        }
      }
    });
  }
  for (uint64_t i = 0; i < kAppends; ++i) {
    const std::string bytes(kBytes, static_cast<char>('a' + i % 26));
    if (!file->WriteAt(i * kBytes, AsBytes(bytes)).ok()) ++wrong;
    published.store(i + 1);
  }
  for (std::thread& reader : readers) reader.join();
  CHECK(wrong == 0);
}

TEST_CASE("threads share the tree", "[env][memory][threads]") {
  const auto files = NewMemoryFileSystem();
  std::atomic<int> wrong{0};
  std::atomic<int> locks{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const std::string path = "f" + std::to_string(t);
        if (!WriteFileDurably(*files, path, AsBytes(std::to_string(i))).ok()) ++wrong;
        if (!files->Link(path, path + ".link").ok()) ++wrong;
        if (!files->List("/").ok()) ++wrong;
        if (!files->RemoveFile(path).ok()) ++wrong;
        if (!files->Rename(path + ".link", path).ok()) ++wrong;
        const auto lock = files->Lock("lock");
        if (lock.ok() && ++locks > 1) ++wrong;
        if (lock.ok()) --locks;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace millrace
