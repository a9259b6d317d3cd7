// Proves the history checker: it must report nothing in a clean history, and every anomaly that was
// put into one, by its name and alone. Usage: history_self_test [--seed S] [--operations N]
#include <charconv>
#include <chrono>
#include <iostream>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "harness/check/checker.h"
#include "harness/check/edn_writer.h"
#include "harness/self_test/planters.h"

namespace millrace::check {
namespace {

std::string ToLines(const History& history) {
  std::string lines;
  for (const Op& op : history.ops) AppendJson(op, history.names, &lines);
  return lines;
}

// What the checker names in these lines; "unreadable: ..." if it cannot read them.
std::set<std::string> NamesIn(std::string_view lines, Report* report, std::string* edn) {
  Names names;
  Checker checker(names, {.stuck_after_ns = kStuckAfterNs});
  std::ostringstream edn_lines;
  EdnWriter writer(names, edn_lines);
  Op op;
  std::string error;
  while (!lines.empty()) {
    const size_t end = lines.find('\n');
    if (!ParseOp(lines.substr(0, end), names, &op, &error)) return {"unreadable: " + error};
    if (!checker.Add(op)) return {"unreadable: " + checker.error()};
    if (edn != nullptr) writer.Write(op);
    lines.remove_prefix(end + 1);
  }
  checker.Finish();
  if (edn != nullptr) *edn = edn_lines.str();
  *report = checker.report();
  std::set<std::string> found;
  for (const std::string_view name : report->names()) found.emplace(name);
  return found;
}

// 1 when the names are not those that are wanted; says so.
int Compare(std::string_view what, const std::set<std::string>& found, const Report& report,
            const std::set<std::string>& wanted) {
  if (found == wanted) return 0;
  std::cout << fmt::format("WRONG: {}: wanted", what);
  for (const std::string& name : wanted) std::cout << " " << name;
  std::cout << "; found";
  for (const std::string& name : found) std::cout << " " << name;
  std::cout << "\n";
  report.Print(std::cout);
  return 1;
}

int CheckClean(const History& clean, size_t operations) {
  const std::string lines = ToLines(clean);
  Report report;
  std::string edn;
  const auto begin = std::chrono::steady_clock::now();
  const auto found = NamesIn(lines, &report, nullptr);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::cout << fmt::format("a clean history of {} operations, {} lines, {} bytes: {:.2f} s\n",
                           operations, clean.ops.size(), lines.size(), took.count());
  int wrong = Compare("a clean history", found, report, {});
  NamesIn(lines, &report, &edn);
  if (edn.find("{:index 0, ") != 0) {
    std::cout << "WRONG: the EDN does not begin with an op\n";
    ++wrong;
  }
  return wrong;
}

// Every anomaly must have a planter, so that none can be added to the list alone.
int CheckThatAllArePlanted() {
  int wrong = 0;
  for (const AnomalyInfo& info : kAnomalies) {
    bool planted = false;
    for (const Planter& planter : AllPlanters()) planted |= planter.anomaly == info.anomaly;
    if (planted) continue;
    std::cout << fmt::format("WRONG: nobody plants {}\n", info.name);
    ++wrong;
  }
  return wrong;
}

int CheckPlanted(const Planter& planter, const History& clean, uint64_t seed) {
  History history{.names = {}, .ops = clean.ops};
  for (size_t key = 0; key < clean.names.size(); ++key) {
    history.names.IdOf(clean.names.NameOf(static_cast<int32_t>(key)));
  }
  const auto name = std::string(kAnomalies[static_cast<size_t>(planter.anomaly)].name);
  if (!planter.plant(history, seed)) {
    std::cout << fmt::format("WRONG: {} ({}): no place for it\n", name, planter.what);
    return 1;
  }
  Report report;
  const auto found = NamesIn(ToLines(history), &report, nullptr);
  return Compare(fmt::format("{} ({})", name, planter.what), found, report, {name});
}

// What is no history must be refused, wherever it is cut.
int CheckBadInput(const History& clean, int* checked) {
  int wrong = 0;
  const auto refused = [&](std::string_view line) {
    ++*checked;
    Names names;
    Op op;
    std::string error;
    if (!ParseOp(line, names, &op, &error) && !error.empty()) return;
    std::cout << fmt::format("WRONG: taken for a line of a history: {}\n", line);
    ++wrong;
  };
  for (const std::string_view line :
       {R"()", R"({})", R"([])", R"({"type":"ok"})", R"({"type":"ok","f":"dance"})",
        R"({"type":"ok","f":"poll","value":[["poll",{"a":[[1]]}]]})",
        R"({"type":"ok","f":"poll","value":[["poll",{"a":[[1,2,3,4]]}]]})",
        R"({"type":"ok","f":"send","value":[["send","a",1.5]]})",
        R"({"type":"ok","f":"send","value":[["send","a",99999999999999999999]]})",
        R"({"type":"ok","f":"send","value":[["burn","a",1]]})",
        R"({"type":"ok","f":"commit","value":{"a":"b"}})", R"({"type":"ok","f":"poll"} x)",
        R"({"type":"ok","f":"poll","text":"\ud800"})"}) {
    refused(line);
  }
  refused(R"({"type":"ok","f":"poll","x":)" + std::string(100'000, '[') + "}");
  for (const Op& op : clean.ops) {
    std::string line;
    AppendJson(op, clean.names, &line);
    if (op.items.size() < 3 || line.size() > 300) continue;
    for (size_t size = 0; size + 1 < line.size(); ++size) refused(line.substr(0, size));
    break;
  }
  return wrong;
}

bool ReadNumber(std::string_view text, uint64_t* value) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), *value);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
}

int Main(int argc, char** argv) {
  uint64_t seed = 1;
  uint64_t operations = 100'000;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    uint64_t* const value = name == "--seed"         ? &seed
                            : name == "--operations" ? &operations
                                                     : nullptr;
    if (value == nullptr || i + 1 == argc || !ReadNumber(argv[i + 1], value) ||
        operations < 5'000) {
      std::cerr << "usage: history_self_test [--seed S] [--operations N], N at least 5000\n";
      return 2;
    }
  }
  std::cout << fmt::format("seed={}\n", seed);
  const History clean = GenerateCleanHistory(seed, operations);
  int checked = 1;
  int wrong = CheckClean(clean, operations) + CheckThatAllArePlanted();
  for (const Planter& planter : AllPlanters()) {
    ++checked;
    wrong += CheckPlanted(planter, clean, seed);
  }
  wrong += CheckBadInput(clean, &checked);
  std::cout << fmt::format("harness=history-self-test checked={} lost=0 wrong={}\n", checked,
                           wrong);
  return wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace millrace::check

int main(int argc, char** argv) { return millrace::check::Main(argc, argv); }
