#pragma once

#include <span>
#include <string_view>

#include "world.h"

namespace millrace::oom {

// A piece of a program's life: `prepare` has memory enough, in `run` it runs out.
struct Workload {
  std::string_view name;
  void (*prepare)(World& world);
  void (*run)(World& world);
  int background_threads = 0;
  // Where real time passes, and waits end by time-outs, only so many-th cases are run.
  int coarser = 1;
};

std::span<const Workload> Workloads();

}  // namespace millrace::oom
