// The main of every test binary: Catch's, with broken invariants set to abort and, in a build with
// MILLRACE_SEEDED_BUGS, the bug switched on that the environment names.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include "base/invariant.h"
#include "base/seeded_bug.h"

namespace {

bool SwitchOnSeededBug() {
#ifdef MILLRACE_SEEDED_BUGS
  const char* name = std::getenv("MILLRACE_SEEDED_BUG");
  if (name == nullptr || *name == '\0') return true;
  for (const millrace::BugInfo& info : millrace::kAllBugs) {
    if (info.name != name) continue;
    millrace::SwitchOnBug(info.bug);
    return true;
  }
  std::fprintf(stderr, "no seeded bug is named '%s'\n", name);
  return false;
#else
  // No other build has them: the compiler itself knows the answer.
  static_assert(!millrace::SeededBug(millrace::Bug::kAckBeforeSync));
  return true;
#endif
}

}  // namespace

int main(int argc, char** argv) {
  // A mistake of the switch must not look like a caught bug.
  if (!SwitchOnSeededBug()) return 0;
  millrace::SetAbortOnBrokenInvariant(true);
  return Catch::Session().run(argc, argv);
}
