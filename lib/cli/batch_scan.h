#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/buffer.h"
#include "millrace/env.h"
#include "millrace/status.h"
#include "record/batch.h"

namespace millrace::cli {

// One batch in a segment file, whole.
struct ScannedBatch {
  uint64_t position = 0;
  record::BatchHeader header;
  std::span<const std::byte> bytes;  // valid until the next call
};

// Walks the batches of a segment file from a position on, without looking at their CRCs. Holds one
// batch in memory. Belongs to one thread; borrows the file.
class BatchScanner {
 public:
  BatchScanner(File& file, std::string path, uint64_t position = 0)
      : file_(file), path_(std::move(path)), position_(position) {}

  // The next batch; nullopt where no whole batch follows. An error, data loss, where what follows
  // cannot be a batch.
  StatusOr<std::optional<ScannedBatch>> Next();
  uint64_t position() const { return position_; }  // behind the last batch

 private:
  File& file_;
  const std::string path_;
  uint64_t position_;
  BufferPool pool_;
  Buffer buffer_;
};

}  // namespace millrace::cli
