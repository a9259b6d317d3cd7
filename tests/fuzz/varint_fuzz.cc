// Varints: the way that the record reader takes and ByteReader's must agree on value, length and
// refusal, and what is read is written back to the same value.
#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "fuzz/fuzz.h"
#include "record/varint.h"

namespace {

using millrace::fuzz::Require;

template <typename T>
void Check(std::span<const std::byte> bytes) {
  millrace::ByteReader in(bytes);
  T slow;
  if constexpr (sizeof(T) == 4) slow = in.Varint();
  if constexpr (sizeof(T) == 8) slow = in.Varlong();
  const std::byte* at = bytes.data();
  T fast = 0;
  const bool ok = millrace::record::TakeVarint(at, bytes.data() + bytes.size(), fast);
  Require(ok == in.ok());
  if (!ok) {
    Require(at == bytes.data());
    return;
  }
  Require(fast == slow);
  const auto taken = static_cast<size_t>(at - bytes.data());
  Require(taken == bytes.size() - in.remaining());
  std::byte written[10];
  const std::byte* const end = millrace::PutUnsignedVarint(written, millrace::ZigZag(fast));
  Require(static_cast<size_t>(end - written) <= taken);  // shorter where the input was padded
  millrace::ByteReader again({written, end});
  Require((sizeof(T) == 4 ? T(again.Varint()) : T(again.Varlong())) == fast && again.ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  Check<int32_t>(bytes);
  Check<int64_t>(bytes);
  return 0;
}
