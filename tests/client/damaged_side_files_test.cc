// Everything beside the logs, lost, damaged or of another time: it is rebuilt, and what the logs
// hold is read all the same; or it is needed to know whose the data is, and nothing is changed.
#include <filesystem>
#include <random>

#include <fmt/format.h>

#include "client/real_files.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;

// Every way to damage the file, by its name.
std::map<std::string, std::string> Damages(const std::string& bytes, const std::string& foreign) {
  std::map<std::string, std::string> all = {
      {"empty", ""},
      {"short", bytes.substr(0, bytes.size() / 2)},
      {"zeros", std::string(bytes.size(), 0)},
      {"long", bytes + std::string(100, '\x7f')},
      {"of another partition", foreign},
      {"backward", std::string(bytes.rbegin(), bytes.rend())}};
  std::mt19937 random(1);
  for (char& c : all["random"] = bytes) c = static_cast<char>(random());
  return all;
}

// All records, one by one and by their times; and more can be written.
void CheckAllThere(OnDisk& d) {
  const auto contents = d.ReadAll();
  CHECK(contents.errors.empty());
  CHECK(contents.Has(0, 17));
  CHECK(d.Recovery().damage.empty());
  const TopicPartition tp{"t", 0};
  Consumer consumer = OrFail(d.client().NewConsumer({.max_poll_records = 1}));
  OrFail(consumer.Assign({tp}));
  for (Offset i = 0; i < 17; ++i) {
    OrFail(consumer.Seek(tp, i));
    const RecordBatch batch = OrFail(consumer.Poll(absl::ZeroDuration()));
    REQUIRE(batch.size() == 1);
    CHECK(batch.begin()->offset() == i);
    const auto found = OrFail(consumer.OffsetsForTimes({{tp, batch.begin()->timestamp()}}));
    CHECK(found.at(tp).offset == i);
  }
  d.Produce(17, 19);
  CHECK(d.ReadAll().Has(17, 19));
}

}  // namespace

TEST_CASE("a side file that is lost, damaged or another's is rebuilt", "[client][damage]") {
  const Ended ended = GENERATE(from_range(kEnds));
  INFO("ended " << static_cast<int>(ended));
  FourSegments d(ended);
  const FourSegments other(ended, /*seed=*/8);
  std::string sums;
  for (const auto& [name, bytes] : d.image)
    if (name.starts_with("millrace/sums/")) sums = name;
  REQUIRE_FALSE(sums.empty());
  std::string other_sums;
  for (const auto& [name, bytes] : other.image)
    if (name.starts_with("millrace/sums/")) other_sums = name;
  std::vector<std::string> names = {sums, "millrace/marks", "t-0/leader-epoch-checkpoint"};
  for (const auto& [name, bytes] : d.image) {
    const bool index = name.ends_with("index");
    if (name.starts_with("t-0/") && (index || name.ends_with(".snapshot"))) names.push_back(name);
  }
  if (ended == Ended::kClosed) names.push_back("millrace/manifest");
  d.Damage([&] {
    for (const std::string& name : names) d.Remove(name);
  });
  d.Open();
  CheckAllThere(d);
  for (const std::string& name : names) {
    INFO(name << " is missing");
    d.Damage([&] { d.Remove(name); });
    d.Open();
    CheckAllThere(d);
    const std::string& foreign = name == sums ? other.image.at(other_sums)
                                 : name == "t-0/leader-epoch-checkpoint"
                                     ? "0\n2\n0 0\n9 5\n"  // as it may be there, but not here
                                 : other.image.contains(name) ? other.image.at(name)
                                                              : "";
    for (const auto& [what, damaged] : Damages(d.image.at(name), foreign)) {
      INFO(name << " is " << what);
      d.Damage([&, &text = damaged] { d.Write(name, text); });
      d.Open();
      CheckAllThere(d);
    }
    if (!d.older.contains(name)) continue;
    INFO(name << " is an old one");
    d.Damage([&] { d.Write(name, d.older.at(name)); });
    d.Open();
    CheckAllThere(d);
  }
}

TEST_CASE("a side file of another place or time is not believed", "[client][damage]") {
  const Ended ended = GENERATE(from_range(kEnds));
  INFO("ended " << static_cast<int>(ended));
  FourSegments d(ended);
  SECTION("an index of another segment") {
    for (const char* suffix : {"index", "timeindex", "snapshot"}) {
      const std::string five = fmt::format("t-0/00000000000000000005.{}", suffix);
      const std::string ten = fmt::format("t-0/00000000000000000010.{}", suffix);
      d.Damage([&] { d.Write(ten, d.image.at(five)); });
      d.Open();
      CheckAllThere(d);
    }
  }
  SECTION("a snapshot of a time that has not come") {
    d.Damage([&] {
      d.Write("t-0/00000000000000000099.snapshot", d.image.at("t-0/00000000000000000010.snapshot"));
    });
    d.Open();
    CheckAllThere(d);
  }
  SECTION("a ballast that is none") {
    d.Damage([&] { d.Write("millrace/ballast", "light"); });
    d.Open();
    CheckAllThere(d);
    OrFail(d.broker->RunMaintenance());
    CHECK(fs::file_size(d.PathOf("millrace/ballast")) == 1 << 20);
  }
  SECTION("a word of a failed sync long ago") {
    d.Damage([&] { d.Write("millrace/failed", "no luck\n"); });
    d.Open();
    CheckAllThere(d);
    d.Close();
    CHECK_FALSE(d.Exists("millrace/failed"));
  }
}

TEST_CASE("what was rebuilt is reported", "[client][damage]") {
  FourSegments d(Ended::kPowerCut);
  const auto report = [&](const std::function<void()>& change) {
    d.Damage(change);
    d.Open();
    return d.Report();
  };
  CHECK_THAT(report([&] { d.Remove("millrace/marks"); }),
             Contains(d.PathOf("t-0") +
                      ": has no durable mark: all from offset 15 on counts as not synced"));
  CHECK_THAT(report([&] { d.Remove("t-0/leader-epoch-checkpoint"); }),
             Contains(d.PathOf("t-0/leader-epoch-checkpoint") + ": built anew from the log"));
  CHECK_THAT(report([&] { d.Write("t-0/00000000000000000015.snapshot", "x"); }),
             Contains("snapshot at offset 15: ") && Contains("cut off within its header") &&
                 Contains("producers: read again from offsets [10, 15)"));
  CHECK_THAT(report([&] { fs::remove_all(d.PathOf("millrace/sums")); }),
             Contains(d.PathOf("t-0/00000000000000000005.log") +
                      ": read as a whole, since its sum is missing"));
  CHECK_THAT(report([&] { d.Write("t-0/partition.metadata", "x"); }),
             Contains(d.PathOf("t-0/partition.metadata") + ": written anew, since it was damaged"));
}

TEST_CASE("a directory whose own folder is lost is read as after a power cut", "[client][damage]") {
  const Ended ended = GENERATE(from_range(kEnds));
  FourSegments d(ended);
  SECTION("all of it") {
    d.Damage([&] { d.Remove("millrace"); });
  }
  SECTION("the file that names the format") {
    d.Damage([&] { d.Remove("millrace/format"); });
  }
  SECTION("another directory's") {
    const FourSegments other(ended, /*seed=*/8);
    d.Damage([&] {
      d.Write("millrace/format", other.image.at("millrace/format"));
      d.Write("millrace/marks", other.image.at("millrace/marks"));
      if (ended == Ended::kClosed)
        d.Write("millrace/manifest", other.image.at("millrace/manifest"));
    });
  }
  d.Open();
  CheckAllThere(d);
}

TEST_CASE("a format that is damaged or of a later version is refused, and nothing is changed",
          "[client][damage]") {
  FourSegments d(Ended::kClosed);
  const auto refused = [&](const std::string& text) {
    d.Damage([&] { d.Write("millrace/format", text); });
    const auto before = d.Save();
    const std::string said = Described(d.TryOpen());
    CHECK(d.Save() == before);
    return said;
  };
  const std::string path = d.PathOf("millrace/format");
  CHECK(refused("version: 2\ndirectory_id: whatever\n") ==
        "unsupported_version: " + path +
            ": format 2 is from the future, up to 1 is known; nothing was changed");
  const std::string good = d.image.at("millrace/format");
  for (const std::string& bad : {std::string(), good.substr(0, good.size() / 2),
                                 std::string(62, '\0'), "version: 0\n" + good}) {
    INFO(bad);
    CHECK(refused(bad) == "corrupt_log: " + path + ": is damaged; nothing was changed");
  }
}

TEST_CASE("a partition's folder of a later version is left alone", "[client][damage]") {
  const Ended ended = GENERATE(Ended::kPowerCut, Ended::kKilled);
  FourSegments d(ended);
  d.Damage([&] {
    std::string text = d.image.at("t-0/partition.metadata");
    text[std::string_view("version: ").size()] = '1';
    d.Write("t-0/partition.metadata", text);
  });
  const auto before = d.Save();
  d.Open();
  Consumer consumer = OrFail(d.client().NewConsumer());
  OrFail(consumer.Assign({{"t", 0}}));
  const std::string said = "unsupported_version: " + d.PathOf("t-0/partition.metadata") +
                           ": version 1 is from the future, 0 is known; it is left alone";
  CHECK(Described(consumer.Poll(absl::ZeroDuration()).status()) == said);
  Producer producer = OrFail(d.client().NewProducer());
  CHECK(Described(producer.Send({.topic = "t", .value = "v"}).Get().status()) == said);
  for (const auto& [name, bytes] : before)
    if (name.starts_with("t-0/")) CHECK(d.Read(name) == bytes);
}

TEST_CASE("metadata that cannot be read is refused; the topics' data stays as it is",
          "[client][damage]") {
  const Ended ended = GENERATE(from_range(kEnds));
  FourSegments d(ended);
  const std::string folder = d.PathOf("__cluster_metadata-0");
  const std::string log = "__cluster_metadata-0/00000000000000000000.log";
  const std::string bytes = d.image.at(log);
  const auto refused = [&](const std::function<void()>& change) {
    d.Damage(change);
    const auto before = d.Save();
    const std::string said = Described(d.TryOpen());
    for (const auto& [name, content] : before) {
      if (name.starts_with("t-0/") || name == log) CHECK(d.Read(name) == content);
    }
    return said;
  };
  CHECK(refused([&] { d.Remove("__cluster_metadata-0"); }) ==
        fmt::format("corrupt_log: {}: the folder is missing, its log was synced up to offset {}",
                    folder, 6));
  CHECK_THAT(refused([&] { d.Remove(log); }),
             Catch::StartsWith("corrupt_log: " + folder +
                               ": offsets [0, 6): the log ends below "
                               "offset 6, up to which it was synced"));
  CHECK_THAT(refused([&] { d.Write(log, d.older.at(log)); }),
             Catch::StartsWith("corrupt_log: " + folder + ": offsets [5, 6): the log ends below"));
  CHECK_THAT(refused([&] { d.Write(log, bytes.substr(0, 200)); }),
             Catch::StartsWith("corrupt_log: " + folder));
  CHECK_THAT(refused([&] {
               std::string flipped = bytes;
               flipped[100] ^= 1;
               d.Write(log, flipped);
             }),
             Catch::StartsWith("corrupt_log: " + folder) && Contains("fails its CRC"));
}

TEST_CASE("data whose metadata is lost is kept and reported, never deleted", "[client][damage]") {
  const Ended ended = GENERATE(from_range(kEnds));
  FourSegments d(ended);
  d.Damage([&] {
    d.Remove("__cluster_metadata-0");
    d.Remove("millrace");
  });
  const auto before = d.Save();
  d.Open();
  CHECK(OrFail(d.client().admin().ListTopics()).empty());
  const std::string said = "orphan_data: the folder " + d.PathOf("t-0") + " is of topic id ";
  CHECK_THAT(d.Report(), Contains(said) && Contains("its data is kept and not served"));
  CHECK(d.log->Has(LogLevel::kWarning, said));
  const Status taken = d.client().admin().CreateTopic("t");
  CHECK_THAT(Described(taken), Catch::StartsWith("orphan_data: topic t: the folder " +
                                                 d.PathOf("t-0") + " is there already") &&
                                   Contains("move it away to use the name"));
  OrFail(d.client().admin().CreateTopic("u"));
  OrFail(d.broker->RunMaintenance());
  d.Close();
  for (const auto& [name, bytes] : before) CHECK(d.Read(name) == bytes);
}

TEST_CASE("a partition's folder of another topic is left alone, and so is the topic's name",
          "[client][damage]") {
  FourSegments d(Ended::kPowerCut);
  const FourSegments other(Ended::kPowerCut, /*seed=*/8);
  d.Damage([&] {
    for (const auto& [name, bytes] : other.image)
      if (name.starts_with("t-0/")) d.Write(name, bytes);
  });
  d.Open();
  Consumer consumer = OrFail(d.client().NewConsumer());
  OrFail(consumer.Assign({{"t", 0}}));
  CHECK_THAT(Described(consumer.Poll(absl::ZeroDuration()).status()),
             Catch::StartsWith("orphan_data: ") &&
                 Contains(d.PathOf("t-0") + ": belongs to topic "
                                            "id ") &&
                 Contains("it is left alone"));
  for (const auto& [name, bytes] : other.image)
    if (name.starts_with("t-0/")) CHECK(d.Read(name) == bytes);
}

TEST_CASE("a partition from an older backup is compared with its durable mark",
          "[client][damage]") {
  const Ended ended = GENERATE(from_range(kEnds));
  FourSegments d(ended);
  SECTION("the folder alone: what is missing is said, and no offset is given out twice") {
    d.Damage([&] {
      d.Remove("t-0");
      fs::create_directory(d.PathOf("t-0"));
      for (const auto& [name, bytes] : d.older)
        if (name.starts_with("t-0/")) d.Write(name, bytes);
    });
    d.Open();
    const auto contents = d.ReadAll();
    CHECK(contents.Has(0, 12));
    CHECK(contents.Lacks(12, 17));
    const std::string said = d.PathOf("t-0") +
                             ": offsets [15, 17): the log ends below offset 17, "
                             "up to which it was synced";
    CHECK_THAT(d.Report(), Contains("damage: " + said));
    CHECK(d.log->Has(LogLevel::kError, "damaged: " + said));
    CHECK_THAT(contents.errors.back(), Contains(said));
    d.Produce(17, 18);
  }
  SECTION("the folder was lost") {
    d.Damage([&] { d.Remove("t-0"); });
    d.Open();
    Consumer consumer = OrFail(d.client().NewConsumer());
    OrFail(consumer.Assign({{"t", 0}}));
    CHECK(Described(consumer.Poll(absl::ZeroDuration()).status()) ==
          "corrupt_log: " + d.PathOf("t-0") +
              ": the folder is missing, its log was synced up to offset 17");
  }
  SECTION("the whole directory: it agrees with itself, and is what it was") {
    d.Restore(d.older);
    d.Open();
    CHECK(d.ReadAll().Has(0, 12));
    CHECK(d.Recovery().damage.empty());
    d.Produce(12, 13);
  }
}

TEST_CASE("metadata from an older backup use no leader epoch of the logs again",
          "[client][damage]") {
  OnDisk d;
  d.Open();
  OrFail(d.client().admin().CreateTopic("t"));
  d.Produce(0, 3);
  d.Close();
  const auto older = d.Save();
  for (Offset i = 3; i < 8; ++i) {
    d.Open();
    d.Produce(i, i + 1);
    d.CutPower();
  }
  auto image = d.Save();
  for (const auto& [name, bytes] : older)
    if (name.starts_with("__cluster_metadata-0/")) image[name] = bytes;
  image.erase("millrace/marks");  // they know how far the metadata went
  d.Restore(image);
  d.Open();
  CHECK(d.ReadAll().Has(0, 8));
  d.Produce(8, 9);
  Consumer consumer = OrFail(d.client().NewConsumer());
  OrFail(consumer.Assign({{"t", 0}}));
  int32_t epoch = -1;
  const RecordBatch batch = OrFail(consumer.Poll(absl::ZeroDuration()));
  for (const RecordView& record : batch) {
    // Each life of the process, and this one, has its own.
    CHECK((record.offset() < 4 ? record.leader_epoch() == 0 : record.leader_epoch() > epoch));
    epoch = record.leader_epoch();
  }
  d.Close();
  d.Open();
  CHECK(d.ReadAll().Has(0, 9));
}

TEST_CASE("a clock that stands before the files' times changes nothing", "[client][damage]") {
  FourSegments d(GENERATE(from_range(kEnds)));
  d.options.env.clock = std::make_shared<testing::ManualClock>(absl::UnixEpoch());
  d.Open();
  CHECK(d.ReadAll().Has(0, 17));
  OrFail(d.broker->RunMaintenance());
  const auto appended =
      OrFail(OrFail(d.client().NewProducer()).Send({.topic = "t", .value = "v"}).Get());
  CHECK(appended.offset == 17);
  CHECK(appended.timestamp == absl::UnixEpoch());
  d.Close();
  d.Open();
  CHECK(d.ReadAll().Has(0, 17));
}

}  // namespace millrace
