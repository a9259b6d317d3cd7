// What every file system promises, real, in memory or simulated.
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "env/file_systems.h"
#include "env/file_util.h"
#include "millrace/env.h"
#include "support/or_fail.h"

namespace millrace {
namespace {

std::string Read(File& file, uint64_t position, size_t count) {
  std::string out(count, '?');
  const size_t read = OrFail(file.ReadAt(position, std::as_writable_bytes(std::span(out))));
  out.resize(read);
  return out;
}
std::string ReadAll(FileSystem& files, const std::string& path) {
  return std::string(AsText(OrFail(ReadWholeFile(files, path, 1 << 20))));
}
void Write(FileSystem& files, const std::string& path, std::string_view text) {
  const auto file = OrFail(files.Open(path, OpenMode::kCreate));
  OrFail(file->WriteAt(0, AsBytes(text)));
}

#define WITH_EVERY_FILE_SYSTEM                                                \
  const auto under_test = MakeFileSystem(GENERATE(from_range(kFileSystems))); \
  INFO("on the " << under_test.name << " file system");                       \
  FileSystem& files = *under_test.files;                                      \
  const std::string& root = under_test.root;                                  \
  OrFail(files.CreateDir(root))

TEST_CASE("a file reads back what was written, by position", "[env][file]") {
  WITH_EVERY_FILE_SYSTEM;
  const auto file = OrFail(files.Open(JoinPath(root, "a"), OpenMode::kCreateNew));
  CHECK(OrFail(file->Size()) == 0);
  CHECK(Read(*file, 0, 10) == "");
  OrFail(file->WriteAt(0, AsBytes("hello world")));
  OrFail(file->WriteAt(6, AsBytes("there")));
  CHECK(Read(*file, 0, 100) == "hello there");
  CHECK(Read(*file, 6, 3) == "the");
  CHECK(Read(*file, 11, 3) == "");
  CHECK(Read(*file, 1 << 20, 3) == "");
  CHECK(Read(*file, UINT64_MAX, 3) == "");
  OrFail(file->WriteAt(3, {}));
  CHECK(OrFail(file->Size()) == 11);
  OrFail(file->Sync());
  OrFail(file->DropCache());
  CHECK(Read(*file, 0, 100) == "hello there");
}

TEST_CASE("what lies between the old end and a write is zeros", "[env][file]") {
  WITH_EVERY_FILE_SYSTEM;
  const auto file = OrFail(files.Open(JoinPath(root, "a"), OpenMode::kCreate));
  OrFail(file->WriteAt(0, AsBytes("abcdef")));
  OrFail(file->Truncate(2));
  CHECK(Read(*file, 0, 10) == "ab");
  OrFail(file->Truncate(4));
  CHECK(Read(*file, 0, 10) == std::string("ab\0\0", 4));
  OrFail(file->WriteAt(200'000, AsBytes("z")));
  CHECK(OrFail(file->Size()) == 200'001);
  CHECK(Read(*file, 2, 300'000) == std::string(199'998, '\0') + "z");
}

TEST_CASE("files larger than any buffer keep every byte", "[env][file]") {
  WITH_EVERY_FILE_SYSTEM;
  const auto file = OrFail(files.Open(JoinPath(root, "a"), OpenMode::kCreate));
  std::string expected;
  for (int i = 0; expected.size() < 400'000; ++i) {
    const std::string piece = std::to_string(i) + std::string(static_cast<size_t>(i % 700), '.');
    OrFail(file->WriteAt(expected.size(), AsBytes(piece)));
    expected += piece;
  }
  CHECK(Read(*file, 0, 1 << 20) == expected);
  CHECK(Read(*file, 65'530, 100) == expected.substr(65'530, 100));
}

TEST_CASE("each mode opens what it says", "[env][file]") {
  WITH_EVERY_FILE_SYSTEM;
  const std::string path = JoinPath(root, "a");
  for (const OpenMode mode : {OpenMode::kRead, OpenMode::kReadWrite}) {
    const Status status = files.Open(path, mode).status();
    CHECK(ErrorIdOf(status) == ErrorId::kNotFound);
    CHECK_THAT(status.ToString(), Catch::Contains(path) && Catch::Contains("No such file"));
  }
  OrFail(files.Open(path, OpenMode::kCreateNew)->get()->WriteAt(0, AsBytes("x")));
  CHECK(ErrorIdOf(files.Open(path, OpenMode::kCreateNew).status()) == ErrorId::kAlreadyExists);
  CHECK(absl::IsAlreadyExists(files.Open(path, OpenMode::kCreateNew).status()));
  CHECK(Read(**files.Open(path, OpenMode::kCreate), 0, 9) == "x");
  CHECK(Read(**files.Open(path, OpenMode::kReadWrite), 0, 9) == "x");
  const auto reader = OrFail(files.Open(path, OpenMode::kRead));
  CHECK(Read(*reader, 0, 9) == "x");
  CHECK(ErrorIdOf(reader->WriteAt(7, AsBytes("y"))) == ErrorId::kIoError);
  CHECK_THAT(reader->WriteAt(7, AsBytes("y")).ToString(),
             Catch::Contains("write of 1 bytes at position 7 of " + path));
  CHECK(ErrorIdOf(reader->Truncate(0)) == ErrorId::kIoError);
  for (const OpenMode mode : {OpenMode::kRead, OpenMode::kReadWrite, OpenMode::kCreate}) {
    CHECK(ErrorIdOf(files.Open(root, mode).status()) == ErrorId::kIoError);
  }
  CHECK(ErrorIdOf(files.Open(JoinPath(root, "no/b"), OpenMode::kCreate).status()) ==
        ErrorId::kNotFound);
  CHECK(ErrorIdOf(files.Open(JoinPath(path, "b"), OpenMode::kCreate).status()) ==
        ErrorId::kIoError);
}

TEST_CASE("no file can be larger than a signed size", "[env][file]") {
  WITH_EVERY_FILE_SYSTEM;
  const auto file = OrFail(files.Open(JoinPath(root, "a"), OpenMode::kCreate));
  CHECK(ErrorIdOf(file->WriteAt(UINT64_MAX, AsBytes("ab"))) == ErrorId::kNoSpace);
  CHECK(ErrorIdOf(file->WriteAt(INT64_MAX, AsBytes("ab"))) == ErrorId::kNoSpace);
  CHECK(ErrorIdOf(file->Truncate(UINT64_MAX)) == ErrorId::kNoSpace);
  CHECK(OrFail(file->Size()) == 0);
}

TEST_CASE("directories list their entries in order", "[env][directory]") {
  WITH_EVERY_FILE_SYSTEM;
  CHECK(OrFail(files.List(root)).empty());
  Write(files, JoinPath(root, "b"), "12345");
  Write(files, JoinPath(root, "a"), "");
  OrFail(files.CreateDir(JoinPath(root, "c")));
  CHECK(OrFail(files.List(root)) == std::vector<std::string>{"a", "b", "c"});
  CHECK(OrFail(files.Stat(JoinPath(root, "b"))).size_bytes == 5);
  CHECK_FALSE(OrFail(files.Stat(JoinPath(root, "b"))).is_directory);
  CHECK(OrFail(files.Stat(JoinPath(root, "c"))).is_directory);
  CHECK(OrFail(files.Stat(root + "/")).is_directory);
  OrFail(files.SyncDir(root));
  CHECK(ErrorIdOf(files.Stat(JoinPath(root, "d")).status()) == ErrorId::kNotFound);
  CHECK(ErrorIdOf(files.List(JoinPath(root, "d")).status()) == ErrorId::kNotFound);
  CHECK(ErrorIdOf(files.SyncDir(JoinPath(root, "d"))) == ErrorId::kNotFound);
  CHECK(ErrorIdOf(files.List(JoinPath(root, "a")).status()) == ErrorId::kIoError);
  CHECK(ErrorIdOf(files.SyncDir(JoinPath(root, "a"))) == ErrorId::kIoError);
  CHECK(absl::IsAlreadyExists(files.CreateDir(JoinPath(root, "c"))));
  CHECK(absl::IsAlreadyExists(files.CreateDir(JoinPath(root, "a"))));
  CHECK(ErrorIdOf(files.CreateDir(JoinPath(root, "d/e"))) == ErrorId::kNotFound);
}

TEST_CASE("only empty directories and only files are removed", "[env][directory]") {
  WITH_EVERY_FILE_SYSTEM;
  const std::string directory = JoinPath(root, "d");
  OrFail(files.CreateDir(directory));
  Write(files, JoinPath(directory, "a"), "1");
  CHECK(ErrorIdOf(files.RemoveDir(directory)) == ErrorId::kIoError);
  CHECK(ErrorIdOf(files.RemoveFile(directory)) == ErrorId::kIoError);
  CHECK(ErrorIdOf(files.RemoveDir(JoinPath(directory, "a"))) == ErrorId::kIoError);
  OrFail(files.RemoveFile(JoinPath(directory, "a")));
  CHECK(ErrorIdOf(files.RemoveFile(JoinPath(directory, "a"))) == ErrorId::kNotFound);
  OrFail(files.RemoveDir(directory));
  CHECK(ErrorIdOf(files.RemoveDir(directory)) == ErrorId::kNotFound);
}

TEST_CASE("a removed file lives as long as somebody has it open", "[env][file]") {
  WITH_EVERY_FILE_SYSTEM;
  const std::string path = JoinPath(root, "a");
  const auto file = OrFail(files.Open(path, OpenMode::kCreate));
  OrFail(file->WriteAt(0, AsBytes("old")));
  OrFail(files.RemoveFile(path));
  Write(files, path, "new one");
  OrFail(file->WriteAt(3, AsBytes("er")));
  CHECK(Read(*file, 0, 9) == "older");
  OrFail(file->Sync());
  CHECK(ReadAll(files, path) == "new one");
}

TEST_CASE("a rename replaces its target", "[env][directory]") {
  WITH_EVERY_FILE_SYSTEM;
  const std::string a = JoinPath(root, "a");
  const std::string b = JoinPath(root, "b");
  const std::string d = JoinPath(root, "d");
  Write(files, a, "a");
  Write(files, b, "b");
  const auto old = OrFail(files.Open(b, OpenMode::kReadWrite));
  OrFail(files.Rename(a, b));
  CHECK(ReadAll(files, b) == "a");
  CHECK(Read(*old, 0, 9) == "b");
  CHECK(OrFail(files.List(root)) == std::vector<std::string>{"b"});
  const Status missing = files.Rename(a, b);
  CHECK(ErrorIdOf(missing) == ErrorId::kNotFound);
  CHECK_THAT(missing.ToString(), Catch::Contains("rename of " + a + " to " + b));
  OrFail(files.Rename(b, b));
  CHECK(ReadAll(files, b) == "a");

  OrFail(files.CreateDir(d));
  OrFail(files.Rename(b, JoinPath(d, "b")));
  CHECK(ReadAll(files, JoinPath(d, "b")) == "a");
  OrFail(files.Rename(d, JoinPath(root, "e")));
  CHECK(ReadAll(files, JoinPath(root, "e/b")) == "a");
  CHECK(ErrorIdOf(files.Rename(JoinPath(root, "e"), JoinPath(root, "e/f"))) == ErrorId::kIoError);
  OrFail(files.CreateDir(d));
  CHECK(ErrorIdOf(files.Rename(d, JoinPath(root, "e"))) == ErrorId::kIoError);
  OrFail(files.Rename(JoinPath(root, "e"), d));
  CHECK(OrFail(files.List(root)) == std::vector<std::string>{"d"});
  Write(files, a, "a");
  CHECK(ErrorIdOf(files.Rename(a, d)) == ErrorId::kIoError);
  CHECK(ErrorIdOf(files.Rename(d, a)) == ErrorId::kIoError);
}

TEST_CASE("links are names of one file", "[env][directory]") {
  WITH_EVERY_FILE_SYSTEM;
  const std::string a = JoinPath(root, "a");
  const std::string b = JoinPath(root, "b");
  Write(files, a, "1");
  OrFail(files.Link(a, b));
  Write(files, b, "23");
  CHECK(ReadAll(files, a) == "23");
  CHECK(absl::IsAlreadyExists(files.Link(a, b)));
  OrFail(files.Rename(a, b));  // of one file with itself: POSIX does nothing
  CHECK(ReadAll(files, a) == "23");
  OrFail(files.RemoveFile(a));
  CHECK(ReadAll(files, b) == "23");
  CHECK(ErrorIdOf(files.Link(a, JoinPath(root, "c"))) == ErrorId::kNotFound);
  CHECK(ErrorIdOf(files.Link(root, JoinPath(root, "c"))) == ErrorId::kPermissionDenied);
}

TEST_CASE("a lock has one holder", "[env][lock]") {
  WITH_EVERY_FILE_SYSTEM;
  const std::string path = JoinPath(root, "lock");
  auto lock = OrFail(files.Lock(path));
  CHECK(OrFail(files.List(root)) == std::vector<std::string>{"lock"});
  const Status status = files.Lock(path).status();
  CHECK(ErrorIdOf(status) == ErrorId::kAlreadyOpen);
  CHECK_THAT(status.ToString(), Catch::Contains(path) && Catch::Contains("this process"));
  const auto other = OrFail(files.Lock(JoinPath(root, "other")));
  // Neither a look at the file nor a refused attempt may cost the holder its lock.
  ReadAll(files, path);
  CHECK(ErrorIdOf(files.Lock(path).status()) == ErrorId::kAlreadyOpen);
  lock.reset();
  lock = OrFail(files.Lock(path));
  CHECK(ErrorIdOf(files.Lock(JoinPath(root, "no/lock")).status()) == ErrorId::kNotFound);
}

TEST_CASE("boot and mount have names that stay", "[env]") {
  WITH_EVERY_FILE_SYSTEM;
  CHECK_FALSE(files.BootId().empty());
  CHECK(files.BootId() == files.BootId());
  CHECK(files.MountId(root) == files.MountId(root));
  CHECK_THAT(files.BootId() + files.MountId(root), !Catch::Contains("unknown"));
}

}  // namespace
}  // namespace millrace
