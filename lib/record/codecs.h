#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "record/codec.h"
#include "record/decoder.h"

// One codec a file; codec.cc chooses between them. A compressor gets a level that CheckLevel has
// passed.
namespace millrace::record::internal {

StatusOr<SizedBuffer> CompressGzip(int level, std::span<const std::byte> in, BufferPool& pool,
                                   size_t reserve);
StatusOr<SizedBuffer> CompressSnappy(std::span<const std::byte> in, BufferPool& pool,
                                     size_t reserve);
StatusOr<SizedBuffer> CompressLz4(int level, std::span<const std::byte> in, BufferPool& pool,
                                  size_t reserve);
StatusOr<SizedBuffer> CompressZstd(int level, std::span<const std::byte> in, BufferPool& pool,
                                   size_t reserve);

StatusOr<std::unique_ptr<Decoder>> NewGzipDecoder(std::span<const std::byte> in, size_t max_bytes);
StatusOr<std::unique_ptr<Decoder>> NewSnappyDecoder(std::span<const std::byte> in, size_t max_bytes,
                                                    BufferPool& pool);
StatusOr<std::unique_ptr<Decoder>> NewLz4Decoder(std::span<const std::byte> in, size_t max_bytes);
StatusOr<std::unique_ptr<Decoder>> NewZstdDecoder(std::span<const std::byte> in, size_t max_bytes);

// corrupt_message: "<codec> data: <problem>".
Status CorruptData(Codec codec, std::string_view problem);
// A buffer, or out_of_memory: how much is asked for is, in part, up to the data.
StatusOr<Buffer> TryGet(BufferPool& pool, size_t capacity);

}  // namespace millrace::record::internal
