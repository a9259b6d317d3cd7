#include "base/crc32c.h"
#include "base/endian.h"
#include "log/producer_state.h"

// What decodes encodes to something that decodes to the same. The CRC is made right, so that the
// fuzzer gets past it.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using millrace::log::ProducerState;
  std::vector<std::byte> bytes(size);
  std::copy_n(reinterpret_cast<const std::byte*>(data), size, bytes.begin());
  ProducerState::FromSnapshot(bytes).status().IgnoreError();
  if (size < 6) return 0;
  millrace::StoreBigEndian(bytes.data() + 2, millrace::Crc32c(std::span(bytes).subspan(6)));
  const auto state = ProducerState::FromSnapshot(bytes);
  if (!state.ok()) return 0;
  const auto written = state->Snapshot();
  const auto again = ProducerState::FromSnapshot(written);
  if (!again.ok() || again->Snapshot() != written) __builtin_trap();
  return 0;
}
