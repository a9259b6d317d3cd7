#include <lz4frame.h>

#include <algorithm>

#include <fmt/format.h>

#include "base/invariant.h"
#include "base/no_throw.h"
#include "base/status_macros.h"
#include "record/codecs.h"
#include "record/context_pool.h"

namespace millrace::record::internal {
namespace {

struct Compressors {
  using Context = LZ4F_cctx;
  static Context* New() {
    Context* context = nullptr;
    return LZ4F_isError(LZ4F_createCompressionContext(&context, LZ4F_VERSION)) != 0 ? nullptr
                                                                                    : context;
  }
  static void Free(Context* context) { LZ4F_freeCompressionContext(context); }
  static bool MayKeep(Context*) { return true; }
};

// The library does not say how much a decompressor holds: two blocks of the largest size that it
// met.
struct Decompressor {
  LZ4F_dctx* context = nullptr;
  bool met_large_blocks = false;
};
struct Decompressors {
  using Context = Decompressor;
  static Context* New() {
    auto decompressor = std::make_unique<Decompressor>();
    const auto result = LZ4F_createDecompressionContext(&decompressor->context, LZ4F_VERSION);
    return LZ4F_isError(result) != 0 ? nullptr : decompressor.release();
  }
  static void Free(Context* decompressor) {
    LZ4F_freeDecompressionContext(decompressor->context);
    delete decompressor;
  }
  static bool MayKeep(Context* decompressor) { return !decompressor->met_large_blocks; }
};

// The frame's first six bytes: magic number, FLG, BD.
constexpr std::array<std::byte, 4> kMagic = {std::byte{0x04}, std::byte{0x22}, std::byte{0x4d},
                                             std::byte{0x18}};
constexpr size_t kFlgAt = 4;
constexpr size_t kBdAt = 5;
constexpr uint8_t kFlgIndependentBlocks = 0x20;
constexpr uint8_t kFlgDictionaryOrReserved = 0x03;
constexpr uint8_t kLargestKeptBlock = 5;  // 256 KiB

// The library's own number for it is no part of what it promises; the name is.
bool IsLackOfMemory(size_t result) {
  return std::string_view(LZ4F_getErrorName(result)) == "ERROR_allocation_failed";
}

Status CheckFrame(std::span<const std::byte> in) {
  if (in.size() <= kBdAt || !std::ranges::equal(in.first(kMagic.size()), kMagic))
    return CorruptData(Codec::kLz4, "it is not an LZ4 frame");
  const auto flg = static_cast<uint8_t>(in[kFlgAt]);
  if ((flg & kFlgIndependentBlocks) == 0)
    return CorruptData(Codec::kLz4,
                       "a frame of linked blocks, only independent ones are supported");
  if ((flg & kFlgDictionaryOrReserved) != 0)
    return CorruptData(Codec::kLz4,
                       fmt::format("frame flags {:#04x}: dictionaries are not supported", flg));
  return absl::OkStatus();
}

class Lz4Decoder final : public Decoder {
 public:
  Lz4Decoder(std::span<const std::byte> in, size_t max_bytes,
             ContextPool<Decompressors>::Lease lease)
      : Decoder(max_bytes), in_(in), lease_(std::move(lease)) {
    LZ4F_resetDecompressionContext(lease_->context);
    const int block_size = (static_cast<uint8_t>(in[kBdAt]) >> 4) & 7;
    lease_->met_large_blocks |= block_size > kLargestKeptBlock;
  }

 private:
  StatusOr<size_t> Expand(std::span<std::byte> out) override {
    size_t produced = 0;
    while (!ended_ && produced < out.size()) {
      size_t in_size = in_.size();
      size_t out_size = out.size() - produced;
      const size_t result = LZ4F_decompress(lease_->context, out.data() + produced, &out_size,
                                            in_.data(), &in_size, nullptr);
      if (LZ4F_isError(result) != 0) {
        if (IsLackOfMemory(result)) return OutOfMemory();
        return CorruptData(Codec::kLz4, LZ4F_getErrorName(result));
      }
      in_ = in_.subspan(in_size);
      produced += out_size;
      ended_ = result == 0;
      if (ended_ && !in_.empty())
        return CorruptData(Codec::kLz4, fmt::format("{} bytes follow the frame", in_.size()));
      if (!ended_ && in_size == 0 && out_size == 0)
        return CorruptData(Codec::kLz4, "it ends in the middle");
    }
    return produced;
  }

  std::span<const std::byte> in_;
  ContextPool<Decompressors>::Lease lease_;
  bool ended_ = false;
};

}  // namespace

StatusOr<SizedBuffer> CompressLz4(int level, std::span<const std::byte> in, BufferPool& pool,
                                  size_t reserve) {
  LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;  // Java reads no other
  preferences.compressionLevel = level;
  preferences.autoFlush = 1;
  const auto context = ContextPool<Compressors>::Take();
  if (context == nullptr) return OutOfMemory();
  const size_t bound = LZ4F_HEADER_SIZE_MAX + LZ4F_compressBound(in.size(), &preferences);
  MILLRACE_ASSIGN_OR_RETURN(Buffer buffer, TryGet(pool, reserve + bound));
  size_t size = reserve;
  const auto at = [&] { return buffer.data() + size; };
  const auto room = [&] { return buffer.capacity() - size; };
  // All memory is taken by the first call; the others find room enough.
  const size_t begun = LZ4F_compressBegin(context.get(), at(), room(), &preferences);
  if (IsLackOfMemory(begun)) return OutOfMemory();
  MILLRACE_INVARIANT(LZ4F_isError(begun) == 0);
  size += begun;
  const size_t written =
      LZ4F_compressUpdate(context.get(), at(), room(), in.data(), in.size(), nullptr);
  MILLRACE_INVARIANT(LZ4F_isError(written) == 0);
  size += written;
  const size_t ended = LZ4F_compressEnd(context.get(), at(), room(), nullptr);
  MILLRACE_INVARIANT(LZ4F_isError(ended) == 0);
  size += ended;
  return SizedBuffer{std::move(buffer), size};
}

StatusOr<std::unique_ptr<Decoder>> NewLz4Decoder(std::span<const std::byte> in, size_t max_bytes) {
  MILLRACE_RETURN_IF_ERROR(CheckFrame(in));
  auto lease = ContextPool<Decompressors>::Take();
  if (lease == nullptr) return OutOfMemory();
  return std::make_unique<Lz4Decoder>(in, max_bytes, std::move(lease));
}

}  // namespace millrace::record::internal
