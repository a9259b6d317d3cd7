#include <cerrno>
#include <string>

#include <catch2/catch.hpp>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "env/file_systems.h"
#include "env/file_util.h"
#include "support/or_fail.h"
#include "support/troubled_calls.h"

namespace millrace {
namespace {

using Call = TroubledCalls::Call;
using Outcome = TroubledCalls::Outcome;

// Every other call is interrupted, and the others move at most seven bytes.
TroubledCalls::Rule InterruptedAndShort() {
  return [calls = 0](Call, size_t) mutable -> Outcome {
    if (++calls % 2 == 1) return {.error = EINTR};
    return {.at_most = 7};
  };
}

TEST_CASE("short and interrupted calls are completed", "[env][posix]") {
  const TemporaryDirectory directory;
  FileSystem& files = *FileSystem::Real();
  const std::string text = "a text that is longer than seven bytes";
  std::string read(100, '?');
  const TroubledCalls trouble(InterruptedAndShort());
  const auto file = OrFail(files.Open(JoinPath(directory.path(), "a"), OpenMode::kCreate));
  OrFail(file->WriteAt(3, AsBytes(text)));
  OrFail(file->Sync());
  OrFail(files.SyncDir(directory.path()));
  const size_t count = OrFail(file->ReadAt(3, std::as_writable_bytes(std::span(read))));
  CHECK(read.substr(0, count) == text);
  OrFail(file->Truncate(10));
  CHECK(OrFail(file->Size()) == 10);
}

TEST_CASE("a lock is taken and refused while signals come", "[env][posix][lock]") {
  const TemporaryDirectory directory;
  FileSystem& files = *FileSystem::Real();
  const std::string path = JoinPath(directory.path(), "lock");
  const TroubledCalls trouble([calls = 0](Call, size_t) mutable -> Outcome {
    return {.error = ++calls % 2 == 1 ? EINTR : 0};
  });
  const auto lock = OrFail(files.Lock(path));
  CHECK_THAT(files.Lock(path).status().ToString(), Catch::Contains("by this process ("));
}

TEST_CASE("a lock names nobody where its number was written by half", "[env][posix][lock]") {
  const TemporaryDirectory directory;
  FileSystem& files = *FileSystem::Real();
  const std::string path = JoinPath(directory.path(), "lock");
  const TroubledCalls trouble([](Call, size_t) -> Outcome { return {.at_most = 1}; });
  const auto lock = OrFail(files.Lock(path));
  CHECK_THAT(files.Lock(path).status().ToString(),
             Catch::Contains("by another process, or by this one"));
}

TEST_CASE("a write that makes no progress ends with an error", "[env][posix]") {
  const TemporaryDirectory directory;
  const std::string path = JoinPath(directory.path(), "a");
  const auto file = OrFail(FileSystem::Real()->Open(path, OpenMode::kCreate));
  const TroubledCalls trouble([](Call, size_t) -> Outcome { return {.at_most = 0}; });
  const Status status = file->WriteAt(3, AsBytes(std::string_view("text")));
  CHECK(ErrorIdOf(status) == ErrorId::kIoError);
  CHECK_THAT(status.ToString(), Catch::Contains("write of 4 bytes at position 3 of " + path));
}

TEST_CASE("a failed sync is reported and not repeated", "[env][posix]") {
  const TemporaryDirectory directory;
  const std::string path = JoinPath(directory.path(), "a");
  const auto file = OrFail(FileSystem::Real()->Open(path, OpenMode::kCreate));
  int syncs = 0;
  const TroubledCalls trouble([&](Call call, size_t) -> Outcome {
    return {.error = call == Call::kSync && ++syncs == 1 ? EIO : 0};
  });
  const Status status = file->Sync();
  CHECK(ErrorIdOf(status) == ErrorId::kIoError);
  CHECK_THAT(status.ToString(), Catch::Contains("sync of " + path));
  CHECK(syncs == 1);
}

}  // namespace
}  // namespace millrace
