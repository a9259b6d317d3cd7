#pragma once

#include <cstdio>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

namespace millrace::harness {

// Ends a harness that cannot do its work: that is not a finding about Millrace, and not a success.
template <typename... Args>
[[noreturn]] void Fatal(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(stderr, "harness: {}\n", fmt::format(format, std::forward<Args>(args)...));
  std::fflush(nullptr);
  std::exit(2);
}

}  // namespace millrace::harness
