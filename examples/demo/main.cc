// Streams the package manager's log of this machine through partitions, a group of workers, a kill
// -9, two replays and retention, and checks every count against the file.
//   millrace-demo [--dir DIR] [FILE | -]        default: /var/log/dpkg.log, or the sample beside
//   this
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>

#include <fmt/format.h>

#include "checks.h"
#include "millrace/millrace.h"
#include "package_log.h"
#include "streaming.h"

namespace demo {
namespace {

using millrace::Status;

constexpr size_t kEnoughLines = 600;

struct Arguments {
  std::string input, directory;
};

std::string Number(int64_t n) {
  std::string digits = std::to_string(n);
  for (size_t at = digits.size(); at > 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

std::string Day(absl::Time time) { return absl::FormatTime("%Y-%m-%d", time, absl::UTCTimeZone()); }

std::string Minute(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M", time, absl::UTCTimeZone());
}

void Heading(std::string_view text) { fmt::print("{}\n", text); }

// Printed at once: the next figure may be seconds away.
void Row(std::string_view label, std::string_view text) {
  fmt::print("   {:<14}{}\n", label, text);
  std::fflush(stdout);
}

// Standard input is kept in a file, since two processes read it.
millrace::StatusOr<std::string> FindInput(const Arguments& arguments) {
  if (arguments.input == "-") {
    const std::string copy = arguments.directory + "/input";
    std::ofstream out(copy);
    out << std::cin.rdbuf();
    if (!out.flush()) return absl::InternalError(fmt::format("{}: cannot be written", copy));
    return copy;
  }
  if (!arguments.input.empty()) return arguments.input;
  const auto events = ReadEvents("/var/log/dpkg.log");
  if (events.ok() && events->size() >= kEnoughLines) return "/var/log/dpkg.log";
  return MILLRACE_DEMO_SAMPLE;
}

Status WorkersAndKill(const std::string& log, const std::string& input,
                      const Expectation& expected) {
  const auto first = RunStreaming(log, input, /*hang=*/true, expected.count() * 6 / 10);
  if (!first.ok()) return first.status();
  Heading("1. Three workers of one group, six partitions");
  Row("shared out", first->assigned);
  Row("one hangs", fmt::format("worker 3 stops polling with {} events in hand", first->held));
  Row("taken over", fmt::format("{:.1f} s later (max_poll_interval: 2 s): {}",
                                first->takeover_seconds, first->taken_over));

  const auto second = RunStreaming(log, input, /*hang=*/false, /*kill_after=*/0);
  if (!second.ok()) return second.status();
  Heading("2. kill -9 in the middle");
  Row("killed", fmt::format("with {} events acknowledged, {} of them in the workers' state",
                            Number(first->appended), Number(first->worked_on)));
  Row("opened again", fmt::format("in {:.0f} ms, {} events are there: no acknowledged one is lost",
                                  second->open_ms, Number(second->found)));
  Row("went on",
      fmt::format("{} events appended, {} delivered again and recognised",
                  Number(expected.count() - second->found), Number(second->delivered_again)));
  if (second->found >= first->appended) return absl::OkStatus();
  return Expect("events after the kill that had been acknowledged", second->found, first->appended);
}

Status CheckAll(const std::string& log, const Expectation& expected) {
  auto broker = millrace::Broker::Open({.directory = log});
  if (!broker.ok()) return broker.status();
  const millrace::Client client = broker->client();
  if (Status status = CheckLog(client, expected); !status.ok()) return status;
  if (Status status = CheckWorkersState(client, expected); !status.ok()) return status;
  Row("at the end", fmt::format("{} events in the log, {} in the state: each once",
                                Number(expected.count()), Number(expected.count())));

  Heading("3. Replay");
  const auto all = CheckReplay(client, "audit", std::nullopt, expected);
  if (!all.ok()) return all.status();
  Row("group audit", fmt::format("from the beginning: {} events, the same state, {:.0f} ms",
                                 Number(all->events), all->milliseconds));
  const absl::Time from = expected.TimeAt(2.0 / 3);
  const auto recent = CheckReplay(client, "recent", from, expected);
  if (!recent.ok()) return recent.status();
  Row("group recent", fmt::format("from {}: {} events, as in the file, {:.0f} ms", Minute(from),
                                  Number(recent->events), recent->milliseconds));
  return broker->Close();
}

Status Retain(const std::string& log, const Expectation& expected) {
  const auto retention = CheckRetention(log, expected);
  if (!retention.ok()) return retention.status();
  Heading("4. Retention of a week");
  if (retention->virtual_clock) Row("clock", fmt::format("virtual, at {}", Minute(retention->now)));
  Row("dropped", fmt::format("{} events, all older than {}; {} of {} kB freed",
                             Number(retention->dropped), Minute(retention->cutoff),
                             Number((retention->bytes_before - retention->bytes_after) / 1000),
                             Number(retention->bytes_before / 1000)));
  Row("kept", fmt::format("{} events, read back", Number(retention->kept)));
  return absl::OkStatus();
}

Status Run(const Arguments& arguments) {
  const auto start = std::chrono::steady_clock::now();
  const auto input = FindInput(arguments);
  if (!input.ok()) return input.status();
  auto events = ReadEvents(*input);
  if (!events.ok()) return events.status();
  if (events->size() < 50) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} lines; the demo needs 50", *input, events->size()));
  }
  const Expectation expected(*std::move(events));
  fmt::print("{}: {} events of {} packages, {} to {}\n", *input, Number(expected.count()),
             Number(static_cast<int64_t>(expected.All().states.size())),
             Day(expected.events().front().time), Day(expected.events().back().time));
  std::fflush(stdout);

  const std::string log = arguments.directory + "/log";
  if (std::filesystem::exists(log))
    return absl::AlreadyExistsError(log + ": is there already; give another directory");
  if (Status status = WorkersAndKill(log, *input, expected); !status.ok()) return status;
  if (Status status = CheckAll(log, expected); !status.ok()) return status;
  if (Status status = Retain(log, expected); !status.ok()) return status;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  fmt::print("Every count agrees with the file. {:.1f} s.\n", took.count());
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (argc == 4 && (mode == "--child" || mode == "--child-hang")) {
    const Status status = StreamHere(argv[2], argv[3], mode == "--child-hang");
    if (!status.ok()) fmt::print(stderr, "millrace-demo: {}\n", status.ToString());
    return status.ok() ? 0 : 1;
  }
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--dir" && i + 1 < argc) {
      arguments.directory = argv[++i];
    } else if (word == "--help" || (word.size() > 1 && word[0] == '-')) {
      fmt::print("usage: millrace-demo [--dir DIR] [FILE | -]\n");
      return word == "--help" ? 0 : 2;
    } else {
      arguments.input = word;
    }
  }
  const bool keep = !arguments.directory.empty();
  if (!keep) {
    arguments.directory =
        (std::filesystem::temp_directory_path() / fmt::format("millrace-demo-{}", ::getpid()))
            .string();
  }
  std::error_code error;
  std::filesystem::create_directories(arguments.directory, error);
  const Status status =
      error ? absl::InternalError(arguments.directory + ": " + error.message()) : Run(arguments);
  if (!keep) std::filesystem::remove_all(arguments.directory, error);
  if (!status.ok()) fmt::print(stderr, "millrace-demo: FAILED: {}\n", status.ToString());
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace demo

int main(int argc, char** argv) { return demo::Main(argc, argv); }
