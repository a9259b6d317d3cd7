// `log dump` against what Kafka's tool prints of the same files, and over damage.
#include <cstdio>
#include <fstream>
#include <memory>
#include <span>
#include <sstream>
#include <string>

#include <catch2/catch.hpp>

#include "cli/log_dump.h"
#include "support/or_fail.h"

namespace millrace::cli {
namespace {

std::string FileText(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) FAIL("cannot read " << path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// Files in memory under the names that a partition's folder would give them.
class Folder {
 public:
  void Put(const std::string& name, const std::string& contents) {
    const auto file = OrFail(files_->Open(name, OpenMode::kCreate));
    OrFail(file->Truncate(0));
    OrFail(file->WriteAt(0, std::as_bytes(std::span(contents))));
  }
  // What is printed; `*status` is how it ends.
  std::string Dump(const std::string& name, const DumpOptions& options, Status* status) {
    char* text = nullptr;
    size_t size = 0;
    std::FILE* stream = open_memstream(&text, &size);
    Output out(stream);
    *status = DumpFile(*files_, name, options, out);
    OrFail(out.Flush());
    std::fclose(stream);
    std::string printed(text, size);
    std::free(text);
    return printed;
  }
  std::string DumpGood(const std::string& name, const DumpOptions& options) {
    Status status;
    const std::string printed = Dump(name, options, &status);
    OrFail(status);
    return printed;
  }

 private:
  std::shared_ptr<FileSystem> files_ = NewMemoryFileSystem();
};

constexpr DumpOptions kDeep = {.deep = true, .contents = true};
constexpr char kFirst[] = "00000000000000000000.log";

std::string Segment(const std::string& name) {
  return FileText(std::string(MILLRACE_SEGMENTS "/log-") + name + ".bin");
}

TEST_CASE("a segment is printed as Kafka's dump tool prints it", "[cli][dump]") {
  for (const std::string name : {"append", "gzip", "lz4", "noidem", "none", "recompress", "snappy",
                                 "txn", "txn-seg2", "zstd"}) {
    INFO(name);
    const std::string file = name == "txn-seg2" ? "00000000000000000002.log" : kFirst;
    Folder folder;
    folder.Put(file, Segment(name));
    CHECK(folder.DumpGood(file, kDeep) ==
          FileText(std::string(MILLRACE_DUMPS "/log-") + name + ".txt"));
  }
}

TEST_CASE("side files are printed as Kafka's dump tool prints them", "[cli][dump]") {
  Folder folder;
  std::string printed;
  for (const std::string name :
       {"00000000000000000002.txnindex", "00000000000000000002.snapshot"}) {
    folder.Put(name, FileText(std::string(MILLRACE_DUMPS "/") + name));
    printed += folder.DumpGood(name, {});
  }
  CHECK(printed == FileText(MILLRACE_DUMPS "/side-files.txt"));
}

TEST_CASE("without --deep-iteration a segment shows its batches alone", "[cli][dump]") {
  Folder folder;
  folder.Put(kFirst, Segment("none"));
  const std::string printed = folder.DumpGood(kFirst, {});
  CHECK_THAT(printed, Catch::Contains("baseOffset: 2 lastOffset: 3 count: 2"));
  CHECK_THAT(printed, !Catch::Contains("| offset"));
}

TEST_CASE("a flipped bit under the CRC is data loss, and the rest is still printed",
          "[cli][dump]") {
  std::string segment = Segment("none");
  segment[90] = static_cast<char>(segment[90] ^ 1);  // within the first batch of 98 bytes
  Folder folder;
  folder.Put(kFirst, segment);
  Status status;
  const std::string printed = folder.Dump(kFirst, kDeep, &status);
  CHECK(absl::IsDataLoss(status));
  CHECK_THAT(status.ToString(), Catch::Contains(kFirst) && Catch::Contains("at byte 0"));
  CHECK_THAT(printed, Catch::Contains("isvalid: false"));
  CHECK_THAT(printed, Catch::Contains("| offset: 3"));
}

TEST_CASE("a torn tail is counted, wherever it is cut", "[cli][dump]") {
  const std::string segment = Segment("none");
  for (size_t cut = 99; cut < segment.size(); ++cut) {
    INFO(cut);
    Folder folder;
    folder.Put(kFirst, segment.substr(0, cut));
    Status status;
    const std::string printed = folder.Dump(kFirst, kDeep, &status);
    CHECK(absl::IsDataLoss(status));
    CHECK_THAT(printed, Catch::Contains("Found " + std::to_string(cut - 98) +
                                        " invalid bytes at the end of " + kFirst));
  }
}

TEST_CASE("a length that cannot be ends the dump with the place", "[cli][dump]") {
  for (const char* length : {"\xff\xff\xff\xff", "\x00\x00\x00\x00"}) {
    std::string segment = Segment("none");
    segment.replace(98 + 8, 4, length, 4);
    Folder folder;
    folder.Put(kFirst, segment);
    Status status;
    folder.Dump(kFirst, kDeep, &status);
    CHECK(absl::IsDataLoss(status));
    CHECK_THAT(status.ToString(), Catch::Contains("98"));
  }
}

std::string BigEndian(int64_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> (8 * i));
  return text;
}

TEST_CASE("an offset index is compared with its segment", "[cli][dump]") {
  Folder folder;
  folder.Put(kFirst, Segment("none"));
  const std::string index = "00000000000000000000.index";
  SECTION("good entries") {
    folder.Put(index, BigEndian(3, 4) + BigEndian(98, 4));
    CHECK(folder.DumpGood(index, {}) == "Dumping " + index + "\noffset: 3 position: 98\n");
  }
  SECTION("none") {
    folder.Put(index, "");
    CHECK(folder.DumpGood(index, {}) == "Dumping " + index + "\n" + index + " is empty.\n");
  }
  SECTION("an entry that points elsewhere") {
    folder.Put(index, BigEndian(2, 4) + BigEndian(98, 4));
    Status status;
    folder.Dump(index, {}, &status);
    CHECK_THAT(status.ToString(), Catch::Contains("index offset: 2, log offset: 3"));
  }
  SECTION("an entry behind the end") {
    folder.Put(index, BigEndian(9, 4) + BigEndian(5000, 4));
    Status status;
    folder.Dump(index, {}, &status);
    CHECK_THAT(status.ToString(), Catch::Contains("byte 5000, where no batch begins"));
  }
  SECTION("half an entry") {
    folder.Put(index, "abc");
    Status status;
    folder.Dump(index, {}, &status);
    CHECK_THAT(status.ToString(), Catch::Contains("3 bytes"));
  }
}

TEST_CASE("a time index is compared with its segment", "[cli][dump]") {
  Folder folder;
  folder.Put(kFirst, Segment("none"));
  const std::string index = "00000000000000000000.timeindex";
  constexpr int64_t kFirstBatch = 1700000000007, kSecondBatch = 1700000000017;
  SECTION("good entries") {
    folder.Put(index, BigEndian(kFirstBatch, 8) + BigEndian(1, 4) + BigEndian(kSecondBatch, 8) +
                          BigEndian(3, 4));
    CHECK(folder.DumpGood(index, {}) == "Dumping " + index +
                                            "\ntimestamp: 1700000000007 offset: 1\n"
                                            "timestamp: 1700000000017 offset: 3\n");
  }
  SECTION("another time than the batch's") {
    folder.Put(index, BigEndian(kFirstBatch + 1, 8) + BigEndian(1, 4));
    Status status;
    folder.Dump(index, {}, &status);
    CHECK_THAT(status.ToString(), Catch::Contains("log timestamp: 1700000000007"));
  }
  SECTION("times that go back") {
    folder.Put(index, BigEndian(kFirstBatch, 8) + BigEndian(1, 4) + BigEndian(kFirstBatch, 8) +
                          BigEndian(3, 4));
    Status status;
    folder.Dump(index, {}, &status);
    CHECK(absl::IsDataLoss(status));
  }
}

TEST_CASE("a producer snapshot is checked before it is printed", "[cli][dump]") {
  const std::string name = "00000000000000000002.snapshot";
  const std::string good = FileText(std::string(MILLRACE_DUMPS "/") + name);
  for (size_t at = 0; at < good.size(); ++at) {
    INFO(at);
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    Folder folder;
    folder.Put(name, bad);
    Status status;
    CHECK(folder.Dump(name, {}, &status) == "Dumping " + name + "\n");
    CHECK(absl::IsDataLoss(status));
  }
}

TEST_CASE("a file of an unknown kind is a usage error", "[cli][dump]") {
  Folder folder;
  folder.Put("partition.metadata", "version: 0\n");
  Status status;
  folder.Dump("partition.metadata", {}, &status);
  CHECK(ExitCodeOf(status) == kExitUsage);
}

TEST_CASE("each batch is one line of JSON when asked for", "[cli][dump]") {
  Folder folder;
  folder.Put(kFirst, Segment("noidem"));
  const std::string printed =
      folder.DumpGood(kFirst, {.deep = true, .contents = true, .json = true});
  CHECK_THAT(printed,
             Catch::StartsWith("{\"file\":\"00000000000000000000.log\",\"base_offset\":0"));
  CHECK_THAT(printed,
             Catch::Contains("\"key\":\"key-1\",\"value\":\"value-1\",\"headers\":[{\"name\":"
                             "\"h1\",\"value\":\"hv1\"},{\"name\":\"h2\",\"value\":null}]"));
  CHECK(std::count(printed.begin(), printed.end(), '\n') == 1);
}

}  // namespace
}  // namespace millrace::cli
