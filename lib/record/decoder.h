#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "base/buffer.h"
#include "record/batch.h"

namespace millrace::record {

// Expands compressed data piece by piece, in memory that the data has no say in. Borrows the data;
// belongs to one thread.
class Decoder {
 public:
  virtual ~Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Fills `out`, or as much of it as there is data left: fewer bytes than asked for are the end,
  // and the data was then whole. corrupt_message for data that does not decode, record_too_large
  // once more than the limit has come out. After an error the decoder must not be read again.
  StatusOr<size_t> Read(std::span<std::byte> out);
  // What the data says that it expands to; 0 if it does not say. Never to be relied on.
  virtual size_t ClaimedBytes() const { return 0; }

 protected:
  explicit Decoder(size_t max_bytes) : max_bytes_(max_bytes) {}
  size_t max_bytes() const { return max_bytes_; }
  Status TooLarge() const;

 private:
  virtual StatusOr<size_t> Expand(std::span<std::byte> out) = 0;

  const size_t max_bytes_;
  size_t produced_ = 0;
};

// A decoder that gives out at most `max_bytes` in all. `pool` lends what a snappy block needs, and
// must outlive the decoder.
StatusOr<std::unique_ptr<Decoder>> NewDecoder(Codec codec, std::span<const std::byte> in,
                                              size_t max_bytes, BufferPool& pool);

}  // namespace millrace::record
