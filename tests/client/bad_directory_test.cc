// Data directories that cannot be opened, or go away: the error names the path, and nothing is
// made or changed elsewhere.
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "client/child.h"
#include "client/real_files.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;

std::string Refused(BrokerOptions options) {
  options.background_threads = 0;
  return Described(Broker::Open(std::move(options)).status());
}
std::string RefusedAt(const std::string& directory) {
  return Refused(BrokerOptions{.directory = directory});
}

void MakeRecords(const std::string& directory) {
  const Client client = OrFail(Open("file:" + directory));
  OrFail(client.admin().CreateTopic("t"));
  OrFail(OrFail(client.NewProducer()).Send({.topic = "t", .value = "v"}).Get());
}

std::string ReadRecord(const Client& client) {
  Consumer consumer = OrFail(client.NewConsumer());
  OrFail(consumer.Assign({{"t", 0}}));
  const auto values = Values(OrFail(consumer.Poll(absl::Seconds(10))));
  return values.empty() ? "nothing" : values.front();
}

}  // namespace

TEST_CASE("a directory that is missing is made, or named where that was not wanted",
          "[client][directory]") {
  const TemporaryDirectory base;
  const std::string path = base.path() + "/a/b/c";
  CHECK(Refused({.directory = path, .create_if_missing = false}) ==
        "not_found: " + path + ": there is no such directory");
  CHECK(Refused({.directory = path, .read_only = true}) ==
        "not_found: " + path + ": there is no such directory");
  CHECK(fs::is_empty(base.path()));
  MakeRecords(path);
  CHECK(Refused({.directory = path, .error_if_exists = true}) ==
        "already_exists: " + path + ": there is a Millrace directory already");
  CHECK(ReadRecord(OrFail(Open("file:" + path))) == "v");
}

TEST_CASE("a directory that is none of ours is named", "[client][directory]") {
  const TemporaryDirectory base;
  const std::string path = base.path() + "/d";
  SECTION("a file") {
    std::ofstream(path) << "precious";
    CHECK(RefusedAt(path) == "invalid_argument: " + path + ": is a file, not a directory");
    CHECK_THAT(RefusedAt(path + "/below"), Contains(path));
    CHECK_THAT(Refused({.directory = path, .read_only = true}), Contains(path));
    CHECK(fs::file_size(path) == 8);
  }
  SECTION("an empty one, for reading") {
    fs::create_directory(path);
    CHECK(Refused({.directory = path, .read_only = true}) ==
          "not_found: " + path + ": there is no Millrace directory");
    CHECK(fs::is_empty(path));
  }
  SECTION("one with files of others is shared with them") {
    fs::create_directory(path);
    std::ofstream(path + "/notes.txt") << "mine";
    MakeRecords(path);
    CHECK(fs::file_size(path + "/notes.txt") == 4);
    CHECK(ReadRecord(OrFail(Open("file:" + path))) == "v");
  }
}

TEST_CASE("symbolic links are followed, and never made into something else",
          "[client][directory]") {
  const TemporaryDirectory base;
  const std::string path = base.path() + "/link";
  SECTION("a loop") {
    fs::create_symlink(base.path() + "/other", path);
    fs::create_symlink(path, base.path() + "/other");
    CHECK_THAT(RefusedAt(path), Contains(path) && Contains("Too many levels of symbolic links"));
  }
  SECTION("one into nowhere") {
    fs::create_symlink(base.path() + "/nowhere", path);
    CHECK_THAT(RefusedAt(path), Contains(path));
    CHECK_FALSE(fs::exists(base.path() + "/nowhere"));
  }
  SECTION("one to a directory") {
    fs::create_directory(base.path() + "/real");
    fs::create_symlink(base.path() + "/real", path);
    const Client client = OrFail(Open("file:" + path));
    CHECK_THAT(RefusedAt(base.path() + "/real"), Contains("already_open"));  // by either name
  }
}

TEST_CASE("paths that are too long are named before anything is made", "[client][directory]") {
  const TemporaryDirectory base;
  CHECK(RefusedAt(std::string(4096, 'x')) ==
        "invalid_config: directory: a path of 4096 bytes; allowed: at most 4000 bytes");
  CHECK(RefusedAt(std::string("a\0b", 3)) ==
        "invalid_config: directory: a path with a zero byte; allowed: a path without one");
  const std::string path = base.path() + "/" + std::string(300, 'x');  // a name has at most 255
  CHECK_THAT(RefusedAt(path), Contains(path) && Contains("File name too long"));
  CHECK(fs::is_empty(base.path()));
}

TEST_CASE("a directory has one writer, and the next one is told who it is", "[client][directory]") {
  const TemporaryDirectory base;
  const std::string path = base.path() + "/d";
  MakeRecords(path);
  std::optional<Client> client = OrFail(Open("file:" + path));
  const std::string lock = path + "/millrace/lock";
  CHECK(RefusedAt(path) ==
        fmt::format("already_open: {}: is locked by this process ({})", lock, ::getpid()));
  CHECK(SaidByChild([&] { return RefusedAt(path); }) ==
        fmt::format("already_open: {}: is locked by process {}, as that file says", lock,
                    ::getpid()));
  const auto reader = OrFail(Broker::Open({.directory = path, .read_only = true}));
  CHECK(ReadRecord(reader.client()) == "v");
  client.reset();
  CHECK(ReadRecord(OrFail(Open("file:" + path))) == "v");
}

TEST_CASE("a directory without the right to write is named, and can be read",
          "[client][directory]") {
  if (::geteuid() != 0) {
    WARN("SKIPPED: needs root, who can give up its rights");
    return;
  }
  const TemporaryDirectory base;
  const std::string path = base.path() + "/d";
  MakeRecords(path);
  constexpr uid_t kNobody = 65534;
  fs::permissions(base.path(), fs::perms::all);
  const auto as_nobody = [&](const std::string& directory, bool read_only) {
    return SaidByChild([&]() -> std::string {
      if (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) return "no child of another user";
      auto broker =
          Broker::Open({.directory = directory, .read_only = read_only, .background_threads = 0});
      return broker.ok() ? ReadRecord(broker->client()) : Described(broker.status());
    });
  };
  CHECK(as_nobody(path, false) == fmt::format("permission_denied: open of {}/millrace/lock: "
                                              "Permission denied",
                                              path));
  CHECK(as_nobody(path, true) == "v");
  fs::permissions(base.path(), fs::perms::owner_all);
  for (const bool read_only : {true, false}) {
    CHECK_THAT(as_nobody(path, read_only),
               Contains("permission_denied") && Contains(path) && Contains("Permission denied"));
    CHECK_THAT(as_nobody(base.path() + "/new", read_only),
               Contains("permission_denied") && Contains(base.path() + "/new"));
  }
  CHECK_FALSE(fs::exists(base.path() + "/new"));
}

TEST_CASE("a file system that is mounted for reading is named, and can be read",
          "[client][directory]") {
  const TemporaryDirectory base;
  const std::string path = base.path() + "/d";
  MakeRecords(path);
  const auto mounted_for_reading = [&](const std::function<std::string()>& then) {
    return SaidByChild([&]() -> std::string {
      if (::unshare(CLONE_NEWNS) != 0 ||
          ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          ::mount(base.path().c_str(), base.path().c_str(), nullptr, MS_BIND, nullptr) != 0 ||
          ::mount(nullptr, base.path().c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY,
                  nullptr) != 0)
        return "SKIPPED";
      return then();
    });
  };
  if (mounted_for_reading([] { return "mounted"; }) == "SKIPPED") {
    WARN("SKIPPED: needs the right to mount");
    return;
  }
  CHECK(mounted_for_reading([&] { return RefusedAt(path); }) ==
        fmt::format("permission_denied: open of {}/millrace/lock: Read-only file system", path));
  CHECK_THAT(mounted_for_reading([&] { return RefusedAt(base.path() + "/new"); }),
             Contains("permission_denied") && Contains(base.path() + "/new") &&
                 Contains("Read-only file system"));
  CHECK(mounted_for_reading([&] {
          const auto broker =
              Broker::Open({.directory = path, .read_only = true, .background_threads = 0});
          return broker.ok() ? ReadRecord(broker->client()) : Described(broker.status());
        }) == "v");
}

TEST_CASE("a directory that disappears while it is open takes nothing more",
          "[client][directory]") {
  OnDisk d;
  d.Open();
  OrFail(d.client().admin().CreateTopic("t"));
  Producer producer = OrFail(d.client().NewProducer());
  const auto send = [&] { return producer.Send({.topic = "t", .value = "v"}).Get().status(); };
  const auto disappear = [&] {
    if (GENERATE(true, false)) {
      fs::remove_all(d.data);
    } else {
      fs::rename(d.data, d.data + ".moved");
    }
  };
  OrFail(send());
  SECTION("while its files are open: that is noticed within 100 ms") {
    disappear();
    OrFail(send());
    d.clock->Advance(absl::Milliseconds(100));
    d.broker->RunMaintenance().IgnoreError();
    for (const Status& status :
         {send(), d.client().admin().CreateTopic("u"), d.broker->Sync(), d.broker->Close()}) {
      CHECK_THAT(Described(status), Catch::StartsWith("directory_failed: ") &&
                                        Contains("accepts nothing more until it is opened anew") &&
                                        Contains("stat of " + d.data +
                                                 "/millrace/format: No such "
                                                 "file or directory"));
    }
  }
  SECTION("while none of them are") {
    d.WriteMarks();
    disappear();
    for (int i = 0; i < 3; ++i) {
      CHECK(Described(send()) == fmt::format("not_found: open of {}/t-0/00000000000000000000.log: "
                                             "No such file or directory",
                                             d.data));
      CHECK(Described(d.client().admin().CreateTopic("u")) ==
            fmt::format("not_found: list of {}: No such file or directory", d.data));
    }
    CHECK_THAT(Described(d.broker->Close()), Contains(d.data) && Contains("No such file"));
  }
  d.broker.reset();
  CHECK_FALSE(fs::exists(d.data));
  d.Open();  // a new one, where it was
  CHECK(OrFail(d.client().admin().ListTopics()).empty());
}

}  // namespace millrace
