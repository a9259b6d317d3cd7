#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <source_location>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "base/invariant.h"

// What the fuzz targets share. A claim that does not hold ends the process, so that libFuzzer keeps
// the input; so does a broken invariant, which no input may cause.
namespace millrace::fuzz {

inline void Require(bool condition,
                    const std::source_location& at = std::source_location::current()) {
  if (condition) return;
  std::fprintf(stderr, "%s:%u: a claim does not hold\n", at.file_name(), at.line());
  std::abort();
}

inline void Require(const absl::Status& status,
                    const std::source_location& at = std::source_location::current()) {
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  Require(status.ok(), at);
}

inline std::span<const std::byte> View(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const std::byte*>(data), size};
}
inline std::string_view Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline const bool kInvariantsAbort = [] {
  SetAbortOnBrokenInvariant(true);
  return true;
}();

}  // namespace millrace::fuzz
