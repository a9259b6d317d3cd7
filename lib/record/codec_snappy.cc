#include <snappy.h>

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/endian.h"
#include "base/status_macros.h"
#include "record/codecs.h"

namespace millrace::record::internal {
namespace {

// The framing of xerial's snappy-java, which the Java client uses: a header, then blocks of
// "int32 size, raw snappy".
constexpr std::string_view kXerialMagic("\x82SNAPPY\0", 8);
constexpr int32_t kXerialVersion = 1;
constexpr size_t kXerialHeaderBytes = 16;
constexpr size_t kXerialBlockBytes = size_t{32} << 10;
// No element of snappy's format makes more of a byte than this (64 bytes out of a three-byte copy),
// so a claim of more is a lie and needs no memory.
constexpr size_t kMaxRatio = 22;

const char* AsSnappy(std::span<const std::byte> bytes) {
  return reinterpret_cast<const char*>(bytes.data());
}

bool StartsWithMagic(std::span<const std::byte> in) {
  return AsText(in.first(std::min(in.size(), kXerialMagic.size()))) == kXerialMagic;
}

class SnappyDecoder final : public Decoder {
 public:
  SnappyDecoder(std::span<const std::byte> in, size_t max_bytes, BufferPool& pool)
      : Decoder(max_bytes), in_(in), pool_(pool), is_framed_(StartsWithMagic(in)) {}

  size_t ClaimedBytes() const override {
    size_t size = 0;
    if (is_framed_) return 0;
    return snappy::GetUncompressedLength(AsSnappy(in_), in_.size(), &size) ? size : 0;
  }

 private:
  StatusOr<size_t> Expand(std::span<std::byte> out) override {
    size_t produced = 0;
    while (produced < out.size()) {
      if (!pending_.empty()) {
        const size_t count = std::min(pending_.size(), out.size() - produced);
        std::memcpy(out.data() + produced, pending_.data(), count);
        pending_ = pending_.subspan(count);
        produced += count;
        continue;
      }
      if (in_.empty() && began_) break;
      MILLRACE_ASSIGN_OR_RETURN(const auto block, NextBlock());
      MILLRACE_ASSIGN_OR_RETURN(const size_t count, ExpandBlock(block, out.subspan(produced)));
      produced += count;
    }
    return produced;
  }

  // The next raw block; empty for a header that none follows.
  StatusOr<std::span<const std::byte>> NextBlock() {
    began_ = true;
    if (!is_framed_) return std::exchange(in_, {});
    ByteReader in(in_);
    // Streams that were written one after the other each have a header.
    if (StartsWithMagic(in_)) {
      in.Bytes(kXerialMagic.size());
      const auto version = in.Integer<int32_t>();
      const auto compatible = in.Integer<int32_t>();
      if (!in.ok()) return CorruptData(Codec::kSnappy, "its header is cut off");
      if (version < kXerialVersion || compatible > kXerialVersion)
        return CorruptData(Codec::kSnappy,
                           fmt::format("framing of version {}, compatible with {}; {} is supported",
                                       version, compatible, kXerialVersion));
      in_ = in.rest();
      return std::span<const std::byte>{};
    }
    const auto size = in.Integer<int32_t>();
    const auto block = in.Bytes(static_cast<size_t>(std::max(size, 0)));
    if (!in.ok() || size <= 0)
      return CorruptData(Codec::kSnappy,
                         fmt::format("a block of {} bytes, of {} left", size, in_.size()));
    in_ = in.rest();
    return block;
  }

  // Expands into `out` where there is room, and otherwise keeps the block for the calls that
  // follow.
  StatusOr<size_t> ExpandBlock(std::span<const std::byte> block, std::span<std::byte> out) {
    if (is_framed_ && block.empty()) return 0;
    const char* const data = AsSnappy(block);
    size_t size = 0;
    if (!snappy::GetUncompressedLength(data, block.size(), &size))
      return CorruptData(Codec::kSnappy, "a block without a length");
    if (size > kMaxRatio * block.size())
      return CorruptData(Codec::kSnappy,
                         fmt::format("a block of {} bytes claims to hold {}", block.size(), size));
    if (size > max_bytes()) return TooLarge();
    std::byte* to = out.data();
    if (size > out.size()) {
      MILLRACE_ASSIGN_OR_RETURN(block_, TryGet(pool_, size));
      to = block_.data();
    }
    if (!snappy::RawUncompress(data, block.size(), reinterpret_cast<char*>(to)))
      return CorruptData(Codec::kSnappy, "a block is damaged");
    if (size <= out.size()) return size;
    pending_ = {block_.data(), size};
    return 0;
  }

  std::span<const std::byte> in_;
  BufferPool& pool_;
  const bool is_framed_;
  bool began_ = false;  // no bytes at all are not snappy data
  Buffer block_;
  std::span<const std::byte> pending_;  // of block_
};

}  // namespace

StatusOr<SizedBuffer> CompressSnappy(std::span<const std::byte> in, BufferPool& pool,
                                     size_t reserve) {
  const size_t blocks = in.size() / kXerialBlockBytes + 1;
  const size_t bound = kXerialHeaderBytes +
                       blocks * (sizeof(int32_t) + snappy::MaxCompressedLength(kXerialBlockBytes));
  MILLRACE_ASSIGN_OR_RETURN(Buffer buffer, TryGet(pool, reserve + bound));
  std::byte* at = buffer.data() + reserve;
  std::memcpy(at, kXerialMagic.data(), kXerialMagic.size());
  StoreBigEndian(at + 8, kXerialVersion);
  StoreBigEndian(at + 12, kXerialVersion);
  at += kXerialHeaderBytes;
  while (!in.empty()) {
    const auto block = in.first(std::min(in.size(), kXerialBlockBytes));
    in = in.subspan(block.size());
    size_t size = 0;
    snappy::RawCompress(AsSnappy(block), block.size(), reinterpret_cast<char*>(at + 4), &size);
    StoreBigEndian(at, static_cast<int32_t>(size));
    at += sizeof(int32_t) + size;
  }
  const auto total = static_cast<size_t>(at - buffer.data());
  return SizedBuffer{std::move(buffer), total};
}

StatusOr<std::unique_ptr<Decoder>> NewSnappyDecoder(std::span<const std::byte> in, size_t max_bytes,
                                                    BufferPool& pool) {
  return std::make_unique<SnappyDecoder>(in, max_bytes, pool);
}

}  // namespace millrace::record::internal
