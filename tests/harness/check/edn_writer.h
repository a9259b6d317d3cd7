#pragma once

#include <ostream>
#include <string>

#include "harness/check/history.h"

namespace millrace::check {

// Writes a history as EDN in the op form of Jepsen's Kafka workload, so that its checker and Elle
// can judge the same run. Partitions become the numbers that those expect; a comment at the end
// says which is which.
class EdnWriter {
 public:
  // Borrows both for its whole life.
  EdnWriter(const Names& names, std::ostream& out) : names_(names), out_(out) {}
  void Write(const Op& op);  // what Jepsen has no form for is left out
  void Finish();

 private:
  void WriteValue(const Op& op, std::string* line) const;
  void WriteStep(const Op& op, const Step& step, std::string* line) const;

  const Names& names_;
  std::ostream& out_;
  uint64_t index_ = 0;
};

}  // namespace millrace::check
