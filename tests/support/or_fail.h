#pragma once

#include <utility>

#include <catch2/catch.hpp>

#include "millrace/status.h"

namespace millrace {

// The value, or a failed test that prints the error.
template <typename T>
T OrFail(StatusOr<T> result) {
  if (!result.ok()) FAIL(result.status().ToString());
  return *std::move(result);
}
inline void OrFail(const Status& status) {
  if (!status.ok()) FAIL(status.ToString());
}

}  // namespace millrace
