// The main of every test binary: Catch's, with broken invariants set to abort.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include "base/invariant.h"

int main(int argc, char** argv) {
  millrace::SetAbortOnBrokenInvariant(true);
  return Catch::Session().run(argc, argv);
}
