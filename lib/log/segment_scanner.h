#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/buffer.h"
#include "log/epoch_cache.h"
#include "log/partition_log.h"
#include "log/sparse_index.h"
#include "millrace/env.h"
#include "record/batch.h"

namespace millrace::log {

// Whether the batch may stand at `expected` in a log of these epochs: base offset and leader epoch
// lie outside of the batch's CRC, so they are compared with what the place demands. `expected` < 0
// takes any offset, a null `epochs` any epoch. Nor has a batch fewer records than offsets, since no
// log is compacted. The error says what is wrong.
Status CheckPlace(const record::BatchHeader& header, Offset expected, const EpochCache* epochs);

// Walks the batches of a segment file and checks each: structure, place, CRC. Memory is one buffer
// whatever the file says; a large batch is checked in pieces. Belongs to one thread; borrows the
// file and the epochs.
class SegmentScanner {
 public:
  struct Options {
    uint64_t position = 0;
    uint64_t end = 0;      // reads nothing at or beyond it
    Offset expected = -1;  // offset of the first batch; -1 takes any
    const EpochCache* epochs = nullptr;
    bool check_crc = true;
    size_t buffer_bytes = size_t{256} << 10;
  };
  SegmentScanner(File& file, BufferPool& pool, const Options& options);

  enum class Outcome {
    kBatch,       // header(), position() tell which
    kEnd,         // at a batch border
    kIncomplete,  // the file ends within the batch, as far as its length can be believed
    kZeros,       // nothing but zeros up to the end
    kBad,         // anything else
  };
  // The next batch. After anything but kBatch the scan is over. Errors are those of reading the
  // file.
  StatusOr<Outcome> Next();

  const record::BatchHeader& header() const { return header_; }
  uint64_t position() const { return position_; }  // of header(), or where the scan stopped
  // The first bytes of the current batch, as far as the sum of a segment needs them.
  const std::byte* head() const { return head_; }
  // Where the next batch starts and its offset, after kBatch; where the scan stopped, otherwise.
  uint64_t next_position() const { return next_position_; }
  Offset expected() const { return expected_; }
  const std::string& what() const { return what_; }  // of kIncomplete, kZeros and kBad

 private:
  StatusOr<std::span<const std::byte>> Peek(uint64_t position, size_t bytes);
  StatusOr<bool> CrcMatches();
  StatusOr<bool> OnlyZeros();
  Outcome Stop(Outcome outcome, std::string what);

  File& file_;
  const Options options_;
  Buffer buffer_;
  uint64_t buffer_position_ = 0;
  size_t buffer_size_ = 0;
  record::BatchHeader header_;
  std::byte head_[record::kHeaderBytes];
  uint64_t position_;
  uint64_t next_position_;
  Offset expected_;
  std::string what_;
};

// The batch at `position`, if there is a whole one with a good CRC that ends at or before `end`.
StatusOr<std::optional<record::BatchHeader>> ProbeBatch(File& file, BufferPool& pool,
                                                        uint64_t position, uint64_t end);

// Where a log can be read again behind damage at `position`, where the batch `expected` should be.
struct Resumption {
  uint64_t position = 0;
  Offset offset = -1;
};
// The index of a segment that begins at `base`.
struct BasedIndex {
  OffsetIndex& index;
  Offset base;
};
// `end`: where the segment ends; its offset is -1 when it is not known, and then the worst is
// assumed of the damage: no offset that it may have held is given out again. Only places that the
// log itself made are tried (the batch's own length, the index), never bytes that merely look like
// a batch, since a record may hold such.
StatusOr<Resumption> FindResumption(File& file, BufferPool& pool, const BasedIndex& entries,
                                    const Resumption& damage, const Resumption& end);

}  // namespace millrace::log
