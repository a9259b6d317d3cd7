// A user's test, built against the installed millrace::testing: time by hand, a disk that loses
// power.
#include <iostream>

#include "millrace/millrace.h"
#include "millrace/testing/manual_clock.h"
#include "millrace/testing/simulated_disk.h"

int main() {
  auto clock = std::make_shared<millrace::testing::ManualClock>();
  auto disk = std::make_shared<millrace::testing::SimulatedDisk>();
  millrace::Env env;
  env.files = disk;
  env.clock = clock;
  auto broker = millrace::Broker::Open({.directory = "data", .env = env});
  if (!broker.ok()) return std::cerr << broker.status() << "\n", 1;
  clock->Advance(absl::Minutes(1));
  return broker->Close().ok() ? 0 : 1;
}
