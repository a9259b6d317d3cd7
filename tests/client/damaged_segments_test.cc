// Segment files that are missing, misplaced or left over, each with what becomes of the partition.
#include <filesystem>

#include <fmt/format.h>

#include "client/real_files.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;

std::string Segment(Offset base) { return fmt::format("t-0/{:020}.log", base); }

// What is done to the segments, which offsets it costs, and what is said of them.
struct Case {
  std::string what;
  std::function<void()> change;
  Offset first, end;
  std::string where, said;
};

std::vector<Case> MissingSegments(FourSegments& d) {
  const std::string folder = d.PathOf("t-0");
  const std::string five = d.PathOf(Segment(5));
  const std::string missing = "the segment files are missing";
  const std::string too_short = "the log ends below offset 17, up to which it was synced";
  const auto remove = [&d](std::vector<Offset> bases) {
    return [&d, bases] {
      for (const Offset base : bases) d.Remove(Segment(base));
    };
  };
  const auto rename = [&d](const std::string& to) {
    return [&d, to] { fs::rename(d.PathOf(Segment(5)), d.PathOf(to)); };
  };
  const auto fill = [&d](Offset base, const std::string& bytes) {
    return [&d, base, bytes] { d.Write(Segment(base), bytes); };
  };
  return {
      {"the first is missing", remove({0}), 0, 5, folder, missing},
      {"one is missing", remove({5}), 5, 10, folder, missing},
      {"two are missing", remove({5, 10}), 5, 15, folder, missing},
      {"the last is missing", remove({15}), 15, 17, folder, too_short},
      {"all are missing", remove({0, 5, 10, 15}), 0, 17, folder, ""},
      {"empty", fill(5, ""), 5, 10, five, "the file is cut off"},
      {"the last is empty", fill(15, ""), 15, 17, folder, too_short},
      {"cut off", fill(5, d.image.at(Segment(5)).substr(0, 100)), 6, 10, five,
       "the file ends after 29 bytes of a batch header"},
      {"with the contents of another", fill(5, d.image.at(Segment(0))), 5, 10, five,
       "base offset 0 where 5 must be"},
      {"renamed to a later offset", rename(Segment(6)), 5, 10, folder, missing},
      {"renamed to an earlier offset", rename(Segment(4)), 5, 10, folder, missing},
      {"renamed to no name of ours", rename("t-0/5.log"), 5, 10, folder, missing},
  };
}

}  // namespace

TEST_CASE("a segment that is missing or misplaced is a gap, and the others are served",
          "[client][damage]") {
  const Ended ended = GENERATE(from_range(kEnds));
  INFO("ended " << static_cast<int>(ended));
  FourSegments d(ended);
  for (const Case& c : MissingSegments(d)) {
    INFO(c.what);
    d.Damage(c.change);
    const auto before = d.Save();
    d.Open();
    const auto contents = d.ReadAll();
    CHECK(contents.Has(0, c.first));
    CHECK(contents.Lacks(c.first, c.end));
    CHECK(contents.Has(c.end, 17));
    REQUIRE_FALSE(contents.errors.empty());
    CHECK_THAT(contents.errors[0], Catch::StartsWith("corrupt_log: " + c.where) &&
                                       Contains(c.said) &&
                                       Contains(fmt::format("offsets [{}, ", c.first)));
    // Not one byte of a log is touched, and no offset is given out twice.
    for (const auto& [name, bytes] : before)
      if (name.ends_with(".log") && name.starts_with("t-0/")) CHECK(d.Read(name) == bytes);
    d.Produce(17, 18);
    CHECK(d.ReadAll().Has(17, 18));
  }
}

TEST_CASE("files that only look like segments hide none", "[client][damage]") {
  const Ended ended = GENERATE(from_range(kEnds));
  INFO("ended " << static_cast<int>(ended));
  FourSegments d(ended);
  const auto unchanged = [&](const std::string& name, const std::string& bytes,
                             const std::string& said) {
    INFO(name);
    d.Damage([&] { d.Write(name, bytes); });
    d.Open();
    const auto contents = d.ReadAll();
    CHECK(contents.Has(0, 17));
    CHECK(contents.errors.empty());
    // After a close only what could be a segment is looked at.
    const bool told = ended != Ended::kClosed || said.find(d.PathOf("t-0")) != said.npos;
    if (told) CHECK_THAT(d.Report(), Contains(said));
    CHECK(d.Read(name) == bytes);
    d.Produce(17, 18);
  };
  const std::string five = d.image.at(Segment(5));
  unchanged(Segment(7), five,
            d.PathOf(Segment(7)) +
                ": lies within the segment before it, left "
                "alone");
  unchanged(Segment(8), five.substr(213) + d.image.at(Segment(10)),
            d.PathOf(Segment(8)) + ": lies within the segment before it, left alone");
  unchanged("t-0/00000000000000000005.log.copy", five,
            "00000000000000000005.log.copy: unknown, left alone");
  unchanged("t-0/notes.txt", "mine", "notes.txt: unknown, left alone");
  unchanged("t-0/00000000000000000000.txnindex", "x",
            "00000000000000000000.txnindex: unknown, left alone");
  unchanged(Segment(5), five + "more",
            d.PathOf(Segment(5)) + ": holds 4 bytes more than it was closed with, ignored");
}

TEST_CASE("left-over files are settled by their names, in every combination", "[client][damage]") {
  FourSegments d(Ended::kPowerCut);
  struct LeftOver {
    std::string name;
    bool stays;
  };
  // Those that go were never renamed to what they were to be, or are not needed any more.
  const LeftOver kinds[] = {{"t-0/00000000000000000005.log.cleaned", false},
                            {"t-0/00000000000000000005.index.cleaned", false},
                            {"t-0/00000000000000000005.log.swap", true},
                            {"t-0/00000000000000000007.log.deleted", true},
                            {"t-0/00000000000000000000.index.deleted", false},
                            {"t-0/00000000000000000005.snapshot.tmp", false},
                            {"t-0/next.tmp", false},
                            {"t-0/leader-epoch-checkpoint.tmp", false}};
  constexpr size_t kKinds = std::size(kinds);
  for (size_t which = 1; which < (size_t{1} << kKinds); ++which) {
    INFO("combination " << which);
    d.Damage([&] {
      for (size_t i = 0; i < kKinds; ++i)
        if ((which >> i) & 1) d.Write(kinds[i].name, d.image.at(Segment(5)));
    });
    d.Open();
    CHECK(d.Recovery().damage.empty());
    for (size_t i = 0; i < kKinds; ++i) {
      INFO(kinds[i].name);
      if (((which >> i) & 1) == 0) continue;
      CHECK(d.Exists(kinds[i].name) == kinds[i].stays);
      CHECK_THAT(d.Report(),
                 Contains(fs::path(kinds[i].name).filename().string() +
                          (kinds[i].stays ? ": unknown, left alone" : ": left over, removed")));
    }
    if (which % 16 == 15) CHECK(d.ReadAll().Has(0, 17));
  }
  // What the broker's own files leave is written over.
  d.Damage([&] {
    d.Write("millrace/format.tmp", "x");
    d.Write("millrace/manifest.tmp", "x");
    d.Write("__cluster_metadata-0/00000000000000000009-0000000001.checkpoint.tmp", "x");
  });
  d.Open();
  CHECK(d.ReadAll().Has(0, 17));
  d.Close();
  d.Open();
  CHECK(d.ReadAll().Has(0, 17));
}

}  // namespace millrace
