#pragma once

#include <new>
#include <type_traits>

#include "millrace/status.h"

namespace millrace::client {

// What `fn` returns; or, when memory runs out on the way, kResourceExhausted without a text, which
// would need some. Every call of the public API that makes something goes through it: nothing
// throws.
template <typename F>
std::invoke_result_t<F> NoThrow(F&& fn) {
  try {
    return fn();
  } catch (const std::bad_alloc&) {
    return Status(absl::StatusCode::kResourceExhausted, "");
  }
}

}  // namespace millrace::client
