// What decodes encodes to something that decodes to the same. The CRC is made right, so that the
// fuzzer gets past it.
#include <vector>

#include "base/crc32c.h"
#include "base/endian.h"
#include "fuzz/fuzz.h"
#include "log/producer_state.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using millrace::log::ProducerState;
  const auto given = millrace::fuzz::View(data, size);
  std::vector<std::byte> bytes(given.begin(), given.end());
  ProducerState::FromSnapshot(bytes).status().IgnoreError();
  if (size < 6) return 0;
  millrace::StoreBigEndian(bytes.data() + 2, millrace::Crc32c(std::span(bytes).subspan(6)));
  const auto state = ProducerState::FromSnapshot(bytes);
  if (!state.ok()) return 0;
  const auto written = state->Snapshot();
  const auto again = ProducerState::FromSnapshot(written);
  millrace::fuzz::Require(again.ok() && again->Snapshot() == written);
  return 0;
}
