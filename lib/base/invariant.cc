#include "base/invariant.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "base/errors.h"

namespace millrace {
namespace {
std::atomic<bool> abort_on_broken_invariant{false};
}  // namespace

void SetAbortOnBrokenInvariant(bool abort_process) { abort_on_broken_invariant = abort_process; }

absl::Status BrokenInvariant(const char* file, int line, std::string_view condition) {
  if (abort_on_broken_invariant) {
    std::fprintf(stderr, "%s:%d: broken invariant: %.*s\n", file, line,
                 static_cast<int>(condition.size()), condition.data());
    std::abort();
  }
  return MakeError(ErrorId::kInternalInvariant,
                   fmt::format("{}:{}: broken invariant: {}", file, line, condition));
}

}  // namespace millrace
