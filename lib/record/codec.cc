#include "record/codec.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/no_throw.h"
#include "base/status_macros.h"
#include "record/codecs.h"
#include "record/decoder.h"

namespace millrace::record {
namespace {

// What data says of its expanded size is believed so far, to begin with the right buffer.
constexpr size_t kBelievedClaim = size_t{1} << 20;
constexpr size_t kUsualRatio = 4;

struct Levels {
  int lowest;
  int highest;
};
Levels LevelsOf(Codec codec) {
  switch (codec) {
    case Codec::kGzip:
      return {1, 9};
    case Codec::kLz4:
      return {1, 17};
    case Codec::kZstd:
      return {-131072, 22};
    case Codec::kNone:
    case Codec::kSnappy:
      break;
  }
  return {0, 0};
}

Status UnknownCodec(Codec codec) {
  return MakeError(ErrorId::kUnsupportedCompression,
                   fmt::format("compression codec {}, known are 0 to 4", static_cast<int>(codec)));
}

StatusOr<SizedBuffer> Copy(std::span<const std::byte> in, BufferPool& pool, size_t reserve) {
  MILLRACE_ASSIGN_OR_RETURN(Buffer buffer, internal::TryGet(pool, reserve + in.size()));
  if (!in.empty()) std::memcpy(buffer.data() + reserve, in.data(), in.size());
  return SizedBuffer{std::move(buffer), reserve + in.size()};
}

// Reads to the end into a buffer that doubles, up to the decoder's limit.
StatusOr<SizedBuffer> ReadAll(Decoder& decoder, size_t first_bytes, size_t max_bytes,
                              BufferPool& pool) {
  SizedBuffer out;
  MILLRACE_ASSIGN_OR_RETURN(out.buffer, internal::TryGet(pool, std::min(first_bytes, max_bytes)));
  while (true) {
    const size_t room = std::min(out.buffer.capacity(), max_bytes) - out.size_bytes;
    MILLRACE_ASSIGN_OR_RETURN(const size_t count,
                              decoder.Read({out.buffer.data() + out.size_bytes, room}));
    out.size_bytes += count;
    if (count < room) return out;
    // Full. One byte more tells whether this was the end, before a larger buffer is taken for
    // nothing. Beyond the limit it is the decoder that refuses.
    std::byte next;
    MILLRACE_ASSIGN_OR_RETURN(const size_t more, decoder.Read({&next, 1}));
    if (more == 0) return out;
    MILLRACE_ASSIGN_OR_RETURN(Buffer larger,
                              internal::TryGet(pool, std::min(2 * out.size_bytes, max_bytes)));
    std::memcpy(larger.data(), out.buffer.data(), out.size_bytes);
    larger.data()[out.size_bytes++] = next;
    out.buffer = std::move(larger);
  }
}

}  // namespace

namespace internal {

Status CorruptData(Codec codec, std::string_view problem) {
  return MakeError(ErrorId::kCorruptMessage, fmt::format("{} data: {}", Name(codec), problem));
}

StatusOr<Buffer> TryGet(BufferPool& pool, size_t capacity) {
  return NoThrow([&]() -> StatusOr<Buffer> { return pool.Get(capacity); });
}

}  // namespace internal

StatusOr<size_t> Decoder::Read(std::span<std::byte> out) {
  MILLRACE_ASSIGN_OR_RETURN(const size_t count, Expand(out));
  produced_ += count;
  if (produced_ > max_bytes_) return TooLarge();
  return count;
}

Status Decoder::TooLarge() const {
  return MakeError(ErrorId::kRecordTooLarge,
                   fmt::format("compressed data expands beyond the limit of {} bytes", max_bytes_));
}

StatusOr<std::unique_ptr<Decoder>> NewDecoder(Codec codec, std::span<const std::byte> in,
                                              size_t max_bytes, BufferPool& pool) {
  switch (codec) {
    case Codec::kGzip:
      return internal::NewGzipDecoder(in, max_bytes);
    case Codec::kSnappy:
      return internal::NewSnappyDecoder(in, max_bytes, pool);
    case Codec::kLz4:
      return internal::NewLz4Decoder(in, max_bytes);
    case Codec::kZstd:
      return internal::NewZstdDecoder(in, max_bytes);
    case Codec::kNone:
      break;
  }
  return UnknownCodec(codec);
}

Status CheckLevel(Codec codec, int level) {
  const auto [lowest, highest] = LevelsOf(codec);
  if (level == 0 || (lowest <= level && level <= highest)) return absl::OkStatus();
  if (highest == 0)
    return MakeError(ErrorId::kInvalidArgument,
                     fmt::format("compression level {}: {} has no levels, 0 is the default", level,
                                 Name(codec)));
  return MakeError(ErrorId::kInvalidArgument,
                   fmt::format("compression level {}: {} has levels {} to {}, 0 is the default",
                               level, Name(codec), lowest, highest));
}

StatusOr<SizedBuffer> Compress(Codec codec, int level, std::span<const std::byte> in,
                               BufferPool& pool, size_t reserve) {
  MILLRACE_RETURN_IF_ERROR(CheckLevel(codec, level));
  switch (codec) {
    case Codec::kNone:
      return Copy(in, pool, reserve);
    case Codec::kGzip:
      return internal::CompressGzip(level, in, pool, reserve);
    case Codec::kSnappy:
      return internal::CompressSnappy(in, pool, reserve);
    case Codec::kLz4:
      return internal::CompressLz4(level, in, pool, reserve);
    case Codec::kZstd:
      return internal::CompressZstd(level, in, pool, reserve);
  }
  return UnknownCodec(codec);
}

StatusOr<SizedBuffer> Decompress(Codec codec, std::span<const std::byte> in, size_t max_bytes,
                                 BufferPool& pool) {
  if (codec == Codec::kNone) {
    if (in.size() > max_bytes)
      return MakeError(ErrorId::kRecordTooLarge,
                       fmt::format("{} bytes of records, the limit is {}", in.size(), max_bytes));
    return Copy(in, pool, 0);
  }
  MILLRACE_ASSIGN_OR_RETURN(const std::unique_ptr<Decoder> decoder,
                            NewDecoder(codec, in, max_bytes, pool));
  const size_t claimed = std::min(decoder->ClaimedBytes(), kBelievedClaim);
  return ReadAll(*decoder, std::max(claimed, kUsualRatio * in.size()), max_bytes, pool);
}

StatusOr<Payload> ExpandedPayload(const BatchHeader& header, std::span<const std::byte> batch,
                                  size_t max_bytes, BufferPool& pool) {
  if (batch.size() != header.size_bytes())
    return MakeError(ErrorId::kCorruptMessage,
                     fmt::format("batch at offset {}: its header says {} bytes, there are {}",
                                 header.base_offset, header.size_bytes(), batch.size()));
  const auto records = batch.subspan(kHeaderBytes);
  // Compaction can leave a batch without records; nothing was compressed then.
  if (header.codec() == Codec::kNone || (header.record_count == 0 && records.empty()))
    return Payload{.records = records, .owner = {}};
  StatusOr<SizedBuffer> expanded = Decompress(header.codec(), records, max_bytes, pool);
  if (!expanded.ok())
    return Annotate(expanded.status(), fmt::format("batch at offset {}", header.base_offset));
  return Payload{.records = expanded->bytes(), .owner = expanded->buffer};
}

}  // namespace millrace::record
