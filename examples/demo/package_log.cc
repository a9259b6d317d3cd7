#include "package_log.h"

#include <charconv>
#include <fstream>

#include <fmt/format.h>

namespace demo {
namespace {

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    if (end > at) words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

}  // namespace

Event ParseLine(std::string_view line, absl::Time before) {
  Event event{.line = std::string(line), .time = before};
  const auto words = Words(line);
  if (words.size() < 3) return event;
  std::string error;
  absl::Time time;
  if (absl::ParseTime("%Y-%m-%d %H:%M:%S", fmt::format("{} {}", words[0], words[1]),
                      absl::UTCTimeZone(), &time, &error) &&
      time >= absl::UnixEpoch())
    event.time = time;
  event.action = words[2];
  if (event.action == "status" && words.size() >= 6) {
    event.status = words[3];
    event.package = words[4];
    event.version = words[5];
  } else if (event.action != "startup" && event.action != "conffile" && words.size() >= 6) {
    // "upgrade PACKAGE OLD NEW", "install PACKAGE <none> NEW", "remove PACKAGE OLD <none>"
    event.package = words[3];
    event.version = words[5] == "<none>" ? words[4] : words[5];
  }
  return event;
}

millrace::StatusOr<std::vector<Event>> ReadEvents(const std::string& path) {
  std::ifstream in(path);
  if (!in) return absl::NotFoundError(fmt::format("{}: cannot be read", path));
  std::vector<Event> events;
  absl::Time before = absl::UnixEpoch();
  for (std::string line; events.size() < kMaxLines && std::getline(in, line);) {
    events.push_back(ParseLine(line, before));
    before = events.back().time;
  }
  return events;
}

int32_t PartitionOf(std::string_view package) {
  return static_cast<int32_t>((millrace::Murmur2(package) & 0x7fffffff) % kPartitions);
}

void PackageState::Apply(const Event& event) {
  ++events;
  ++actions[event.action];
  // "-" stands for nothing in Encode.
  if (!event.status.empty() && event.status != "-") status = event.status;
  if (!event.version.empty() && event.version != "-") version = event.version;
}

// "status version action=count action=count": none of the words holds a space.
std::string Encode(const PackageState& state) {
  std::string text = fmt::format("{} {}", state.status.empty() ? "-" : state.status,
                                 state.version.empty() ? "-" : state.version);
  for (const auto& [action, count] : state.actions) text += fmt::format(" {}={}", action, count);
  return text;
}

millrace::StatusOr<PackageState> Decode(std::string_view text) {
  const auto words = Words(text);
  if (words.size() < 2) return absl::DataLossError(fmt::format("'{}' is no state", text));
  PackageState state;
  if (words[0] != "-") state.status = words[0];
  if (words[1] != "-") state.version = words[1];
  for (size_t i = 2; i < words.size(); ++i) {
    const size_t equals = words[i].rfind('=');
    int64_t count = 0;
    if (equals != std::string_view::npos)
      std::from_chars(words[i].data() + equals + 1, words[i].data() + words[i].size(), count);
    if (count <= 0) return absl::DataLossError(fmt::format("'{}' is no state", text));
    state.actions[std::string(words[i].substr(0, equals))] = count;
    state.events += count;
  }
  return state;
}

millrace::Status Expect(std::string_view what, int64_t found, int64_t wanted) {
  if (found == wanted) return absl::OkStatus();
  return absl::InternalError(fmt::format("a count is off: {}: {}, not {}", what, found, wanted));
}

millrace::Status ExpectSame(std::string_view what, const States& found, const States& wanted) {
  for (const auto& [package, state] : wanted) {
    const auto at = found.find(package);
    if (at == found.end())
      return absl::InternalError(fmt::format("{}: {} is missing", what, package));
    if (!(at->second == state)) {
      return absl::InternalError(fmt::format("{}: {} is '{}', not '{}'", what, package,
                                             Encode(at->second), Encode(state)));
    }
  }
  return Expect(fmt::format("{}: packages", what), static_cast<int64_t>(found.size()),
                static_cast<int64_t>(wanted.size()));
}

}  // namespace demo
