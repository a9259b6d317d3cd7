#pragma once

#include <cstdint>
#include <iostream>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "harness/disk/topic_ledger.h"

namespace millrace::harness {

// Counts what a harness has checked and what was not as promised, and prints the latter.
class Findings {
 public:
  void Expect(bool holds, std::string_view what, std::string_view found = "") {
    ++checked_;
    if (holds) return;
    if (++wrong_ > kMaxPrinted) return;  // one cause often has many effects
    std::cout << fmt::format("  WRONG: {}{}{}\n", what, found.empty() ? "" : ": ", found)
              << std::flush;
  }
  void ExpectOk(const Status& status, std::string_view what) {
    Expect(status.ok(), what, status.ToString());
  }
  // The error must be this row of docs/errors.md.
  void ExpectError(const Status& status, std::string_view name, std::string_view what) {
    const auto detail = DetailOf(status);
    Expect(detail && detail->name == name, fmt::format("{}: wanted {}", what, name),
           status.ToString());
  }
  // Everything acknowledged must be there, and nothing else that was not sent.
  void ExpectComplete(const TopicLedger& ledger, const Client& client, std::string_view when) {
    const TopicLedger::Comparison comparison = ledger.Compare(client);
    checked_ += comparison.read;
    lost_ += comparison.lost;
    wrong_ += comparison.wrong;
    if (comparison.lost + comparison.wrong == 0) return;
    std::cout << fmt::format("  WRONG: {}, {}: {} lost, {} wrong; {}\n", ledger.topic(), when,
                             comparison.lost, comparison.wrong, comparison.first_problem)
              << std::flush;
  }

  // Prints the closing line; the exit code.
  int Close(std::string_view harness) const {
    std::cout << fmt::format("harness={} checked={} lost={} wrong={}\n", harness, checked_, lost_,
                             wrong_);
    return checked_ > 0 && lost_ + wrong_ == 0 ? 0 : 1;
  }

 private:
  static constexpr uint64_t kMaxPrinted = 10;
  uint64_t checked_ = 0;
  uint64_t lost_ = 0;
  uint64_t wrong_ = 0;
};

}  // namespace millrace::harness
