#include <zlib.h>

#include <algorithm>

#include "base/invariant.h"
#include "base/no_throw.h"
#include "base/status_macros.h"
#include "record/codecs.h"
#include "record/context_pool.h"

namespace millrace::record::internal {
namespace {

constexpr int kWindowBits = 15 + 16;  // the largest window; gzip, not zlib, around it
constexpr int kMemoryLevel = 8;       // zlib's default

struct Deflaters {
  using Context = z_stream;
  static Context* New() {
    auto stream = std::make_unique<z_stream>();
    const int result = deflateInit2(stream.get(), Z_DEFAULT_COMPRESSION, Z_DEFLATED, kWindowBits,
                                    kMemoryLevel, Z_DEFAULT_STRATEGY);
    return result == Z_OK ? stream.release() : nullptr;
  }
  static void Free(Context* stream) {
    deflateEnd(stream);
    delete stream;
  }
  static bool MayKeep(Context*) { return true; }
};

struct Inflaters {
  using Context = z_stream;
  static Context* New() {
    auto stream = std::make_unique<z_stream>();
    return inflateInit2(stream.get(), kWindowBits) == Z_OK ? stream.release() : nullptr;
  }
  static void Free(Context* stream) {
    inflateEnd(stream);
    delete stream;
  }
  static bool MayKeep(Context*) { return true; }
};

// zlib counts in 32 bits, so it gets pieces; and it takes its input without const.
constexpr size_t kMaxPiece = size_t{16} << 20;
uInt Piece(size_t bytes) { return static_cast<uInt>(std::min(bytes, kMaxPiece)); }
Bytef* AsZlib(const std::byte* at) {
  return const_cast<Bytef*>(reinterpret_cast<const Bytef*>(at));
}

class GzipDecoder final : public Decoder {
 public:
  GzipDecoder(std::span<const std::byte> in, size_t max_bytes, ContextPool<Inflaters>::Lease stream)
      : Decoder(max_bytes), in_(in), stream_(std::move(stream)) {
    inflateReset(stream_.get());
  }

 private:
  StatusOr<size_t> Expand(std::span<std::byte> out) override {
    size_t produced = 0;
    while (produced < out.size()) {
      if (member_ended_) {
        if (in_.empty()) break;
        inflateReset(stream_.get());  // the next of several members
        member_ended_ = false;
      }
      const uInt in_piece = Piece(in_.size());
      const uInt out_piece = Piece(out.size() - produced);
      stream_->next_in = AsZlib(in_.data());
      stream_->avail_in = in_piece;
      stream_->next_out = AsZlib(out.data() + produced);
      stream_->avail_out = out_piece;
      const int result = inflate(stream_.get(), Z_NO_FLUSH);
      in_ = in_.subspan(in_piece - stream_->avail_in);
      produced += out_piece - stream_->avail_out;
      if (result == Z_MEM_ERROR) return OutOfMemory();
      if (result == Z_BUF_ERROR) return CorruptData(Codec::kGzip, "it ends in the middle");
      // Of damaged data zlib always says what is wrong.
      if (result == Z_DATA_ERROR) return CorruptData(Codec::kGzip, stream_->msg);
      MILLRACE_INVARIANT(result == Z_OK || result == Z_STREAM_END);
      member_ended_ = result == Z_STREAM_END;
    }
    return produced;
  }

  std::span<const std::byte> in_;
  ContextPool<Inflaters>::Lease stream_;
  bool member_ended_ = false;
};

}  // namespace

StatusOr<SizedBuffer> CompressGzip(int level, std::span<const std::byte> in, BufferPool& pool,
                                   size_t reserve) {
  const auto stream = ContextPool<Deflaters>::Take();
  if (stream == nullptr) return OutOfMemory();
  deflateReset(stream.get());
  deflateParams(stream.get(), level == 0 ? Z_DEFAULT_COMPRESSION : level, Z_DEFAULT_STRATEGY);
  MILLRACE_ASSIGN_OR_RETURN(Buffer buffer,
                            TryGet(pool, reserve + deflateBound(stream.get(), in.size())));
  const std::span<std::byte> out = buffer.span().subspan(reserve);
  size_t produced = 0;
  int result = Z_OK;
  while (result == Z_OK) {
    const uInt in_piece = Piece(in.size());
    const uInt out_piece = Piece(out.size() - produced);
    stream->next_in = AsZlib(in.data());
    stream->avail_in = in_piece;
    stream->next_out = AsZlib(out.data() + produced);
    stream->avail_out = out_piece;
    result = deflate(stream.get(), in_piece == in.size() ? Z_FINISH : Z_NO_FLUSH);
    in = in.subspan(in_piece - stream->avail_in);
    produced += out_piece - stream->avail_out;
  }
  MILLRACE_INVARIANT(result == Z_STREAM_END);
  return SizedBuffer{std::move(buffer), reserve + produced};
}

StatusOr<std::unique_ptr<Decoder>> NewGzipDecoder(std::span<const std::byte> in, size_t max_bytes) {
  auto stream = ContextPool<Inflaters>::Take();
  if (stream == nullptr) return OutOfMemory();
  return std::make_unique<GzipDecoder>(in, max_bytes, std::move(stream));
}

}  // namespace millrace::record::internal
