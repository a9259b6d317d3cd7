#pragma once

#include <cstddef>
#include <span>

#include "base/buffer.h"
#include "record/batch.h"

namespace millrace::record {

struct SizedBuffer {
  Buffer buffer;
  size_t size_bytes = 0;
  std::span<const std::byte> bytes() const { return {buffer.data(), size_bytes}; }
};

// Compresses as the Java client does, so that every Kafka client reads it: one gzip member;
// xerial's snappy framing; an LZ4 frame of independent 64 KiB blocks; one zstd frame. `level` 0 is
// the codec's default; otherwise gzip 1-9, lz4 1-17, zstd -131072 to 22; snappy has none.
// invalid_argument names a level out of range. `reserve` bytes are left free at the front for a
// header, and counted by size_bytes.
StatusOr<SizedBuffer> Compress(Codec codec, int level, std::span<const std::byte> in,
                               BufferPool& pool, size_t reserve = 0);
// OK, or the invalid_argument that Compress would answer.
Status CheckLevel(Codec codec, int level);

// Expands at most `max_bytes`: whatever the data claims of itself, no more memory is taken (a
// constant beside it). corrupt_message for data that does not decode or goes on after its end,
// record_too_large beyond the limit. Takes what a Kafka broker takes: concatenated gzip members and
// zstd frames, snappy raw and in xerial's framing, one LZ4 frame of independent blocks (linked ones
// are refused: Java's consumers cannot read them), whose checksums, where it has some, must be
// right.
StatusOr<SizedBuffer> Decompress(Codec codec, std::span<const std::byte> in, size_t max_bytes,
                                 BufferPool& pool);

// The records of a batch, expanded where they are compressed. `owner` keeps the bytes alive that
// were expanded; it is empty where `records` points into `batch`.
struct Payload {
  std::span<const std::byte> records;
  Buffer owner;
};
// Errors as Decompress, or corrupt_message where `batch` is not header.size_bytes() long.
StatusOr<Payload> ExpandedPayload(const BatchHeader& header, std::span<const std::byte> batch,
                                  size_t max_bytes, BufferPool& pool);

}  // namespace millrace::record
