#pragma once

#include <new>
#include <type_traits>

#include "millrace/status.h"

namespace millrace {

// The error of a call for which there was no memory: out_of_memory. It is made while the program
// starts, since making it would need memory; copies share it.
const Status& OutOfMemory();

// What `fn` returns; or, when memory runs out on the way, OutOfMemory. Every call of the public API
// goes through it: nothing throws.
template <typename F>
std::invoke_result_t<F> NoThrow(F&& fn) {
  try {
    return fn();
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  }
}

}  // namespace millrace
