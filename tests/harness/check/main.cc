// Reads a history (tests/harness/README.md) and names its anomalies.
//   millrace-check [FILE] [--edn FILE] [--stuck-after SECONDS] [--allow NAME]... [--list]
// Reads the standard input without FILE. Exit code: 0 clean, 1 anomalies, 2 bad input.
#include <charconv>
#include <fstream>
#include <iostream>
#include <set>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "harness/check/checker.h"
#include "harness/check/edn_writer.h"

namespace millrace::check {
namespace {

constexpr int kExitClean = 0, kExitAnomalies = 1, kExitBadInput = 2;
constexpr std::string_view kUsage =
    "usage: millrace-check [FILE] [--edn FILE] [--stuck-after SECONDS] [--allow NAME]... "
    "[--list]\n";

struct Arguments {
  std::string history;  // empty: the standard input
  std::string edn;
  CheckerOptions checker;
  std::set<std::string, std::less<>> allowed;
};

int Complain(std::string_view what) {
  std::cerr << "millrace-check: " << what << "\n";
  return kExitBadInput;
}

bool IsAnomaly(std::string_view name) {
  for (const AnomalyInfo& info : kAnomalies) {
    if (info.name == name) return true;
  }
  return false;
}

// An error in words, or nothing.
std::string ParseArguments(int argc, char** argv, Arguments* arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (!name.starts_with("--")) {
      if (!arguments->history.empty()) return "more than one history";
      arguments->history = name;
      continue;
    }
    if (i + 1 == argc) return fmt::format("{} needs a value, or is unknown", name);
    const std::string_view value = argv[++i];
    if (name == "--edn") {
      arguments->edn = value;
    } else if (name == "--allow") {
      if (!IsAnomaly(value)) return fmt::format("--allow {}: no such anomaly (--list)", value);
      arguments->allowed.emplace(value);
    } else if (name == "--stuck-after") {
      int64_t seconds = 0;
      const auto parsed = std::from_chars(value.data(), value.data() + value.size(), seconds);
      if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size() || seconds < 1 ||
          seconds > 1'000'000) {
        return fmt::format("--stuck-after {}: wanted seconds from 1 to 1000000", value);
      }
      arguments->checker.stuck_after_ns = seconds * 1'000'000'000;
    } else {
      return fmt::format("unknown option {}", name);
    }
  }
  return "";
}

int Judge(const Checker& checker, const Arguments& arguments) {
  checker.report().Print(std::cout);
  bool bad = false;
  for (const std::string_view name : checker.report().names()) {
    bad = bad || !arguments.allowed.contains(name);
  }
  std::cout << fmt::format("operations={} anomalies={} {}\n", checker.operations(),
                           checker.report().total(), bad ? "ANOMALIES" : "clean");
  return bad ? kExitAnomalies : kExitClean;
}

int Check(std::istream& in, const Arguments& arguments) {
  std::ofstream edn_file;
  if (!arguments.edn.empty()) {
    edn_file.open(arguments.edn);
    if (!edn_file) return Complain(fmt::format("{}: cannot be written", arguments.edn));
  }
  Names names;
  Checker checker(names, arguments.checker);
  EdnWriter edn(names, edn_file);
  Op op;
  std::string line, error;
  for (uint64_t number = 1; std::getline(in, line); ++number) {
    if (!ParseOp(line, names, &op, &error)) {
      return Complain(fmt::format("line {}: {}", number, error));
    }
    if (!checker.Add(op)) return Complain(checker.error());
    if (edn_file.is_open()) edn.Write(op);
  }
  if (in.bad()) return Complain("reading the history failed");
  if (checker.operations() == 0) return Complain("the history holds no completed operation");
  checker.Finish();
  if (edn_file.is_open()) {
    edn.Finish();
    edn_file.close();
    if (!edn_file) return Complain(fmt::format("{}: writing failed", arguments.edn));
  }
  return Judge(checker, arguments);
}

int Main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--list") {
    for (const AnomalyInfo& info : kAnomalies) {
      std::cout << fmt::format("{:<22}{}\n", info.name, info.what);
    }
    return kExitClean;
  }
  Arguments arguments;
  if (const std::string error = ParseArguments(argc, argv, &arguments); !error.empty()) {
    std::cerr << kUsage;
    return Complain(error);
  }
  std::ios::sync_with_stdio(false);
  if (arguments.history.empty()) return Check(std::cin, arguments);
  std::ifstream file(arguments.history);
  if (!file) return Complain(fmt::format("{}: cannot be read", arguments.history));
  return Check(file, arguments);
}

}  // namespace
}  // namespace millrace::check

int main(int argc, char** argv) { return millrace::check::Main(argc, argv); }
