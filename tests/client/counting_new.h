// Every operator new and delete of the process, counted. A program that links this counts all of
// its threads.
#pragma once

#include <cstddef>
#include <utility>

namespace millrace {

struct HeapUse {
  size_t allocations = 0;
  size_t peak_bytes = 0;  // the most that was held beyond what was held at the start
};

void StartCounting();
HeapUse StopCounting();

template <typename F>
HeapUse HeapUseOf(F&& fn) {
  StartCounting();
  std::forward<F>(fn)();
  return StopCounting();
}

}  // namespace millrace
