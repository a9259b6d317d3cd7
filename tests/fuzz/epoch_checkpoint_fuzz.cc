// What parses is written the same again, and every operation leaves what would parse.
#include "fuzz/fuzz.h"
#include "log/epoch_cache.h"

using millrace::fuzz::Require;
using millrace::log::EpochCache;

namespace {

void CheckWritten(const EpochCache& epochs) {
  const auto again = EpochCache::Parse(epochs.Format());
  Require(again.ok() && again->entries() == epochs.entries());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto epochs = EpochCache::Parse(millrace::fuzz::Text(millrace::fuzz::View(data, size)));
  if (!epochs.ok()) return 0;
  CheckWritten(*epochs);
  const int64_t at = size > 8 ? data[size / 2] * 7 : 3;
  epochs->EndOf(static_cast<int32_t>(at), at);
  epochs->CutFront(at);
  CheckWritten(*epochs);
  // A scan goes forward.
  if (epochs->entries().empty() || epochs->entries().back().start_offset < at * 2)
    epochs->Observe(static_cast<int32_t>(at) / 2, at * 2);
  CheckWritten(*epochs);
  epochs->CutBack(at);
  CheckWritten(*epochs);
  epochs->Assign(static_cast<int32_t>(at), at + 1);
  CheckWritten(*epochs);
  Require(epochs->EpochAt(at + 1) == at);
  return 0;
}
