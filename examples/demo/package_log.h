// The input of the demo: lines of a package manager's log, and what they say of each package.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/client.h"

namespace demo {

inline constexpr char kTopic[] = "dpkg";             // one record a line, keyed by package
inline constexpr char kStateTopic[] = "dpkg-state";  // what the workers know, keyed by package
inline constexpr int32_t kPartitions = 6;
inline constexpr char kNoPackage[] = "-";  // the key of lines that name no package

// One line, as "2026-01-12 09:14:03 status installed zlib1g:amd64 1:1.2.13.dfsg-1".
struct Event {
  std::string line;
  absl::Time time;
  std::string package = kNoPackage;
  std::string action = {};  // "install", "status"...
  std::string status = {};  // of a status line: "installed"...
  std::string version = {};
};
// A line without a time of its own has that of the line before.
Event ParseLine(std::string_view line, absl::Time before);

// At most `kMaxLines` lines, so that an endless input ends.
inline constexpr size_t kMaxLines = 500'000;
millrace::StatusOr<std::vector<Event>> ReadEvents(const std::string& path);

// The partition that the library picks for a key: Kafka's murmur2.
int32_t PartitionOf(std::string_view package);

// What is known of one package.
struct PackageState {
  int64_t events = 0;
  std::map<std::string, int64_t> actions;
  std::string status, version;

  void Apply(const Event& event);
  bool operator==(const PackageState&) const = default;
};
using States = std::map<std::string, PackageState>;

std::string Encode(const PackageState& state);
millrace::StatusOr<PackageState> Decode(std::string_view text);

// OK, or an error that names the count, when two counts differ that must not.
millrace::Status Expect(std::string_view what, int64_t found, int64_t wanted);
// OK, or an error that names the first package on which they differ.
millrace::Status ExpectSame(std::string_view what, const States& found, const States& wanted);

}  // namespace demo
