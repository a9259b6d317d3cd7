#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <bit>
#include <optional>

#include <fmt/format.h>

#include "base/endian.h"
#include "base/invariant.h"
#include "base/no_throw.h"
#include "base/status_macros.h"
#include "record/codecs.h"
#include "record/context_pool.h"

namespace millrace::record::internal {
namespace {

// A context stays that has read what Java's clients write: a window of 2 MiB and what goes with it.
constexpr size_t kLargestKeptContext = size_t{3} << 20;

struct Compressors {
  using Context = ZSTD_CCtx;
  static Context* New() { return ZSTD_createCCtx(); }
  static void Free(Context* context) { ZSTD_freeCCtx(context); }
  static bool MayKeep(Context* context) { return ZSTD_sizeof_CCtx(context) <= kLargestKeptContext; }
};
struct Decompressors {
  using Context = ZSTD_DCtx;
  static Context* New() { return ZSTD_createDCtx(); }
  static void Free(Context* context) { ZSTD_freeDCtx(context); }
  static bool MayKeep(Context* context) { return ZSTD_sizeof_DCtx(context) <= kLargestKeptContext; }
};

// A frame says how large a window it needs. Every decoder must offer 8 MiB (RFC 8878), and Java's
// clients ask for up to 128 MiB at the highest levels, but beyond 8 MiB never is the window larger
// than the output may be.
int WindowLog(size_t max_bytes) {
  constexpr int kOffered = 23;
  constexpr int kLargest = 27;
  return std::clamp(static_cast<int>(std::bit_width(std::max<size_t>(max_bytes, 1) - 1)), kOffered,
                    kLargest);
}

Status DecodeError(size_t result, int window_log) {
  switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_memory_allocation:
      return OutOfMemory();
    case ZSTD_error_frameParameter_windowTooLarge:
      return CorruptData(Codec::kZstd,
                         fmt::format("a frame asks for a window above the {} bytes that "
                                     "the limit of its output allows",
                                     size_t{1} << window_log));
    default:
      return CorruptData(Codec::kZstd, ZSTD_getErrorName(result));
  }
}

// The formats before RFC 8878: no client of Kafka's has written them, and the library reads them
// without a limit of the window.
bool IsLegacy(std::span<const std::byte> frame) {
  constexpr uint32_t kMagic = 0x28B52FFD;  // as it stands in the file
  if (frame.size() < sizeof kMagic) return false;
  const auto magic = LoadBigEndian<uint32_t>(frame.data());
  return magic != kMagic && (magic & 0xFFFFFF) == (kMagic & 0xFFFFFF);
}

class ZstdDecoder final : public Decoder {
 public:
  ZstdDecoder(std::span<const std::byte> in, size_t max_bytes,
              ContextPool<Decompressors>::Lease context)
      : Decoder(max_bytes),
        window_log_(WindowLog(max_bytes)),
        in_{in.data(), in.size(), 0},
        context_(std::move(context)) {
    ZSTD_DCtx_reset(context_.get(), ZSTD_reset_session_and_parameters);
    ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, window_log_);
  }

  size_t ClaimedBytes() const override { return FrameClaims().value_or(0); }

 private:
  StatusOr<size_t> Expand(std::span<std::byte> out) override {
    ZSTD_outBuffer to = {out.data(), out.size(), 0};
    while (to.pos < to.size) {
      if (frame_ended_ && in_.pos == in_.size) break;
      if (at_frame_start_) {
        if (IsLegacy(AtInput()))
          return CorruptData(Codec::kZstd, "a frame in the format of a zstd before 0.8");
        frame_claims_ = FrameClaims();
        frame_bytes_ = 0;
      }
      const size_t in_before = in_.pos;
      const size_t out_before = to.pos;
      const size_t result = ZSTD_decompressStream(context_.get(), &to, &in_);
      if (ZSTD_isError(result) != 0) return DecodeError(result, window_log_);
      frame_ended_ = at_frame_start_ = result == 0;
      frame_bytes_ += to.pos - out_before;
      // The library (1.5.4) leaves this out where the output comes in pieces and the last block is
      // empty: one reader would take what another refuses.
      if (frame_ended_ && frame_claims_.value_or(frame_bytes_) != frame_bytes_)
        return CorruptData(Codec::kZstd, fmt::format("a frame of {} bytes says that it holds {}",
                                                     frame_bytes_, *frame_claims_));
      if (!frame_ended_ && in_.pos == in_before && to.pos == out_before)
        return CorruptData(Codec::kZstd, "it ends in the middle");
    }
    return to.pos;
  }

  std::span<const std::byte> AtInput() const {
    return {static_cast<const std::byte*>(in_.src) + in_.pos, in_.size - in_.pos};
  }

  // What the frame that begins here says of its size.
  std::optional<uint64_t> FrameClaims() const {
    const auto size = ZSTD_getFrameContentSize(AtInput().data(), AtInput().size());
    if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR) return std::nullopt;
    return size;
  }

  const int window_log_;
  ZSTD_inBuffer in_;
  ContextPool<Decompressors>::Lease context_;
  bool at_frame_start_ = true;
  bool frame_ended_ = false;  // no bytes at all are not zstd data
  std::optional<uint64_t> frame_claims_;
  uint64_t frame_bytes_ = 0;
};

}  // namespace

StatusOr<SizedBuffer> CompressZstd(int level, std::span<const std::byte> in, BufferPool& pool,
                                   size_t reserve) {
  const auto context = ContextPool<Compressors>::Take();
  if (context == nullptr) return OutOfMemory();
  MILLRACE_ASSIGN_OR_RETURN(Buffer buffer, TryGet(pool, reserve + ZSTD_compressBound(in.size())));
  const size_t result =
      ZSTD_compressCCtx(context.get(), buffer.data() + reserve, buffer.capacity() - reserve,
                        in.data(), in.size(), level == 0 ? ZSTD_CLEVEL_DEFAULT : level);
  if (ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation) return OutOfMemory();
  MILLRACE_INVARIANT(ZSTD_isError(result) == 0);
  return SizedBuffer{std::move(buffer), reserve + result};
}

StatusOr<std::unique_ptr<Decoder>> NewZstdDecoder(std::span<const std::byte> in, size_t max_bytes) {
  auto context = ContextPool<Decompressors>::Take();
  if (context == nullptr) return OutOfMemory();
  return std::make_unique<ZstdDecoder>(in, max_bytes, std::move(context));
}

}  // namespace millrace::record::internal
