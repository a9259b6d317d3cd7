// Compressed data of any bytes, under a limit; and any bytes compressed and expanded again.
#include <algorithm>
#include <vector>

#include "fuzz/fuzz.h"
#include "record/codec.h"
#include "record/decoder.h"

namespace millrace::record {
namespace {

constexpr size_t kLimit = size_t{1} << 20;

using fuzz::Require;

// Read in pieces, the data must give what it gives at once.
void CheckPieces(Codec codec, std::span<const std::byte> in, size_t piece,
                 const StatusOr<SizedBuffer>& whole, BufferPool& pool) {
  const auto decoder = NewDecoder(codec, in, kLimit, pool);
  if (!decoder.ok()) return Require(!whole.ok());
  std::vector<std::byte> buffer(piece);
  size_t size = 0;
  while (true) {
    const StatusOr<size_t> count = (*decoder)->Read(buffer);
    if (!count.ok()) return Require(!whole.ok());
    Require(*count <= piece);
    if (whole.ok()) {
      Require(size + *count <= whole->size_bytes);
      Require(std::equal(buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(*count),
                         whole->buffer.data() + size));
    }
    size += *count;
    if (*count < piece) break;
  }
  Require(whole.ok() && size == whole->size_bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static BufferPool& pool = *new BufferPool;
  if (size < 2) return 0;
  const auto codec = static_cast<Codec>(data[0] % 4 + 1);
  const size_t piece = size_t{data[1]} * 50 + 1;
  const std::span in(reinterpret_cast<const std::byte*>(data) + 2, size - 2);
  {
    const StatusOr<SizedBuffer> whole = Decompress(codec, in, kLimit, pool);
    if (whole.ok()) Require(whole->size_bytes <= kLimit);
    CheckPieces(codec, in, piece, whole, pool);

    const StatusOr<SizedBuffer> compressed = Compress(codec, data[1] % 10, in, pool);
    if (compressed.ok()) {
      const StatusOr<SizedBuffer> again = Decompress(codec, compressed->bytes(), in.size(), pool);
      Require(again.ok() && std::ranges::equal(again->bytes(), in));
    } else {
      Require(codec == Codec::kSnappy);  // which has no levels
    }
  }
  Require(pool.outstanding_bytes() == 0);
  return 0;
}

}  // namespace millrace::record
