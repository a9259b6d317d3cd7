// What only the real file system has: limits of the process, forks, symbolic links.
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "env/file_systems.h"
#include "env/file_util.h"
#include "support/or_fail.h"

namespace millrace {
namespace {

// The exit code of `body`, run in a forked child; -1 when a signal ended it.
int InChild(const std::function<int()>& body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(body());
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_CASE("a write past RLIMIT_FSIZE is an error and no signal", "[env][posix]") {
  const TemporaryDirectory directory;
  FileSystem& files = *FileSystem::Real();
  const auto file = OrFail(files.Open(JoinPath(directory.path(), "a"), OpenMode::kCreate));
  OrFail(file->Truncate(5000));
  CHECK(InChild([&] {
          // Where the output goes to a longer file, a sanitizer's last words there would end the
          // child.
          const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
          if (::dup2(nowhere, STDOUT_FILENO) < 0 || ::dup2(nowhere, STDERR_FILENO) < 0) return 7;
          const struct rlimit limit = {.rlim_cur = 1000, .rlim_max = 1000};
          if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
          for (const uint64_t position : {999, 1000, 1001, 100'000}) {
            const Status status = file->WriteAt(position, AsBytes("ab"));
            if (ErrorIdOf(status) != ErrorId::kNoSpace) return 2;
            if (status.ToString().find("RLIMIT_FSIZE of 1000 bytes") == std::string::npos) return 3;
          }
          if (!file->WriteAt(998, AsBytes("ab")).ok()) return 4;
          if (ErrorIdOf(file->Truncate(5001)) != ErrorId::kNoSpace) return 5;
          if (!file->Truncate(4000).ok()) return 6;  // shorter is never refused
          return 0;
        }) == 0);
}

TEST_CASE("too many open files name the limit", "[env][posix]") {
  const TemporaryDirectory directory;
  CHECK(InChild([&] {
          const struct rlimit limit = {.rlim_cur = 20, .rlim_max = 20};
          if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
          FileSystem& files = *FileSystem::Real();
          const std::string path = JoinPath(directory.path(), "a");
          std::vector<std::unique_ptr<File>> open;
          Status status;
          while (status.ok() && open.size() < 30) {
            auto file = files.Open(path, OpenMode::kCreate);
            status = file.status();
            if (file.ok()) open.push_back(*std::move(file));
          }
          if (ErrorIdOf(status) != ErrorId::kTooManyFiles || !IsRetriable(status)) return 2;
          if (!absl::IsResourceExhausted(status)) return 3;
          if (status.ToString().find("RLIMIT_NOFILE") == std::string::npos) return 4;
          for (const Status& other :
               {files.SyncDir(directory.path()), files.List(directory.path()).status(),
                files.Lock(path).status()}) {
            if (ErrorIdOf(other) != ErrorId::kTooManyFiles) return 5;
          }
          // Who cannot read the boot's name must not take it for the same boot.
          if (files.BootId() == files.BootId()) return 6;
          open.clear();
          return files.Open(path, OpenMode::kCreate).ok() ? 0 : 7;
        }) == 0);
}

TEST_CASE("a forked child neither holds nor frees the parent's lock", "[env][posix][lock]") {
  const TemporaryDirectory directory;
  FileSystem& files = *FileSystem::Real();
  const std::string path = JoinPath(directory.path(), "lock");
  auto lock = OrFail(files.Lock(path));

  SECTION("the child is refused, and its copy of the lock does nothing") {
    CHECK(InChild([&] {
            const Status refused = files.Lock(path).status();
            if (ErrorIdOf(refused) != ErrorId::kAlreadyOpen) return 1;
            const std::string parent = "by process " + std::to_string(::getppid());
            if (refused.ToString().find(parent) == std::string::npos) return 2;
            // A file of the child may have the number that the lock had.
            const auto other = files.Lock(path + ".other");
            if (!other.ok()) return 3;
            lock.reset();
            if (ErrorIdOf(files.Lock(path).status()) != ErrorId::kAlreadyOpen) return 4;
            return ErrorIdOf(files.Lock(path + ".other").status()) == ErrorId::kAlreadyOpen ? 0 : 5;
          }) == 0);
    CHECK(ErrorIdOf(files.Lock(path).status()) == ErrorId::kAlreadyOpen);
  }
  SECTION("the parent's lock is free while the child lives on") {
    int to_child[2];
    REQUIRE(::pipe2(to_child, O_CLOEXEC) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      ::close(to_child[1]);
      char byte;
      ::_exit(::read(to_child[0], &byte, 1) == 0 ? 0 : 1);  // until the parent closes its end
    }
    ::close(to_child[0]);
    lock.reset();
    CHECK(files.Lock(path).ok());
    ::close(to_child[1]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  SECTION("a process that is killed holds nothing") {
    lock.reset();
    CHECK(InChild([&] { return (*files.Lock(path)) != nullptr ? 0 : 1; }) == 0);
    CHECK(files.Lock(path).ok());
  }
}

TEST_CASE("another descriptor of the lock file may come and go", "[env][posix][lock]") {
  const TemporaryDirectory directory;
  FileSystem& files = *FileSystem::Real();
  const std::string path = JoinPath(directory.path(), "lock");
  const auto lock = OrFail(files.Lock(path));
  ::close(::open(path.c_str(), O_RDWR));
  CHECK(InChild([&] {
          return ErrorIdOf(files.Lock(path).status()) == ErrorId::kAlreadyOpen ? 0 : 1;
        }) == 0);
  CHECK(AsText(OrFail(ReadWholeFile(files, path, 100))) == std::to_string(::getpid()) + "\n");
}

TEST_CASE("no descriptor passes to another program, and none is left behind", "[env][posix]") {
  const TemporaryDirectory directory;
  FileSystem& files = *FileSystem::Real();
  const auto count = [] {
    int open = 0;
    for (int fd = 0; fd < 256; ++fd) open += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return open;
  };
  const int before = count();
  {
    const auto file = OrFail(files.Open(JoinPath(directory.path(), "a"), OpenMode::kCreate));
    const auto lock = OrFail(files.Lock(JoinPath(directory.path(), "lock")));
    for (int fd = 3; fd < 256; ++fd) {
      const int flags = ::fcntl(fd, F_GETFD);
      const std::string target = "/proc/self/fd/" + std::to_string(fd);
      char path[512] = {};
      if (flags < 0 || ::readlink(target.c_str(), path, sizeof path - 1) < 0) continue;
      INFO(path);
      if (std::string_view(path).starts_with(directory.path())) CHECK((flags & FD_CLOEXEC) != 0);
    }
    CHECK(count() == before + 2);
    OrFail(files.SyncDir(directory.path()));
    OrFail(files.List(directory.path()));
    files.BootId();
    CHECK_FALSE(files.Lock(JoinPath(directory.path(), "lock")).ok());
    CHECK_FALSE(files.Open(directory.path(), OpenMode::kRead).ok());
    CHECK(count() == before + 2);
  }
  CHECK(count() == before);
}

TEST_CASE("removing a tree leaves what its symbolic links point to", "[env][posix]") {
  const TemporaryDirectory directory;
  FileSystem& files = *FileSystem::Real();
  const std::string outside = JoinPath(directory.path(), "outside");
  const std::string tree = JoinPath(directory.path(), "tree");
  OrFail(files.CreateDir(outside));
  OrFail(files.CreateDir(tree));
  OrFail(WriteFileDurably(files, JoinPath(outside, "precious"), AsBytes("1")));
  REQUIRE(::symlink(outside.c_str(), JoinPath(tree, "link").c_str()) == 0);
  REQUIRE(::symlink("/nowhere", JoinPath(tree, "dangling").c_str()) == 0);
  OrFail(RemoveTree(files, tree));
  CHECK(absl::IsNotFound(files.Stat(tree).status()));
  CHECK(files.Stat(JoinPath(outside, "precious")).ok());
}

TEST_CASE("permissions are an error of their own", "[env][posix]") {
  if (::geteuid() == 0) return;  // root may do anything
  const TemporaryDirectory directory;
  FileSystem& files = *FileSystem::Real();
  const std::string closed = JoinPath(directory.path(), "closed");
  OrFail(files.CreateDir(closed));
  REQUIRE(::chmod(closed.c_str(), 0500) == 0);
  CHECK(ErrorIdOf(files.Open(JoinPath(closed, "a"), OpenMode::kCreate).status()) ==
        ErrorId::kPermissionDenied);
}

TEST_CASE("the names of boot and mount are the kernel's", "[env][posix]") {
  FileSystem& files = *FileSystem::Real();
  CHECK(files.BootId().size() == 36);
  CHECK(files.MountId("/proc") != files.MountId("/"));
  CHECK(files.MountId("/no/such/path") != files.MountId("/no/such/path"));
}

}  // namespace
}  // namespace millrace
