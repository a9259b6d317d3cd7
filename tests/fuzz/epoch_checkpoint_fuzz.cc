#include <string_view>

#include "log/epoch_cache.h"

// What parses is written the same again, and every operation keeps the entries ascending.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using millrace::log::EpochCache;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto epochs = EpochCache::Parse(text);
  if (!epochs.ok()) return 0;
  const auto again = EpochCache::Parse(epochs->Format());
  if (!again.ok() || again->entries() != epochs->entries()) __builtin_trap();
  const int64_t at = size > 8 ? data[size / 2] * 7 : 3;
  epochs->EndOf(static_cast<int32_t>(at), at);
  epochs->CutFront(at);
  epochs->Observe(static_cast<int32_t>(at) / 2, at * 2);
  epochs->CutBack(at);
  epochs->Assign(static_cast<int32_t>(at), at + 1);
  if (epochs->EpochAt(at + 1) != at) __builtin_trap();
  return 0;
}
