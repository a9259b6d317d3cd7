// The files of our own: marks, manifest, sums. CRCs are made right, so that the fuzzer gets past
// them.
#include <algorithm>
#include <array>
#include <vector>

#include "base/crc32c.h"
#include "base/endian.h"
#include "fuzz/fuzz.h"
#include "log/close_manifest.h"
#include "log/durable_marks.h"
#include "log/segment_sums.h"

namespace {

using namespace millrace;
using namespace millrace::log;
using fuzz::Require;

void Slots(std::span<const std::byte> bytes) {
  std::array<std::byte, DurableMarks::kSlotBytes> at{};
  std::copy_n(bytes.begin(), std::min(bytes.size(), at.size()), at.begin());
  StoreBigEndian(at.data() + at.size() - 4, Crc32c(std::span(at).first(at.size() - 4)));
  const auto slot = DurableMarks::LoadSlot(at.data());
  if (!slot.has_value()) return;
  std::array<std::byte, DurableMarks::kSlotBytes> written{};
  DurableMarks::StoreSlot(slot->key, slot->mark, slot->sequence, written.data());
  const auto again = DurableMarks::LoadSlot(written.data());
  Require(again.has_value() && again->mark == slot->mark);
}

void Manifest(std::vector<std::byte> bytes) {
  CloseManifest::Parse(bytes).status().IgnoreError();
  if (bytes.size() < 12) return;
  const size_t body = bytes.size() - 4;
  StoreBigEndian(bytes.data() + body, Crc32c(std::span(bytes).first(body)));
  const auto manifest = CloseManifest::Parse(bytes);
  if (!manifest.ok()) return;
  const auto written = manifest->Format();
  const auto again = CloseManifest::Parse(written);
  Require(again.ok() && again->Format() == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = fuzz::View(data, size);
  Slots(bytes);
  Manifest({bytes.begin(), bytes.end()});
  const auto files = NewMemoryFileSystem();
  {
    const auto file = files->Open("file", OpenMode::kCreate);
    (*file)->WriteAt(0, bytes).IgnoreError();
  }
  SyncGate gate(*files, "");
  DurableMarks::Open(*files, gate, "file", /*read_only=*/true).status().IgnoreError();
  SegmentSums(*files, "file").Load().status().IgnoreError();
  return 0;
}
