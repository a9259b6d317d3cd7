#include "cli/batch_scan.h"

#include <fmt/format.h>

#include "base/endian.h"
#include "base/errors.h"
#include "base/status_macros.h"

namespace millrace::cli {

StatusOr<std::optional<ScannedBatch>> BatchScanner::Next() {
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, file_.Size());
  const uint64_t left = size > position_ ? size - position_ : 0;
  std::byte head[record::kHeaderBytes] = {};
  MILLRACE_ASSIGN_OR_RETURN(const size_t got, file_.ReadAt(position_, head));
  // A batch that ends behind the end of the file is torn, whatever else its header says.
  if (got < record::kLogOverheadBytes) return std::nullopt;
  const auto length = LoadBigEndian<int32_t>(head + 8);
  if (length >= 0 && static_cast<uint64_t>(length) + record::kLogOverheadBytes > left)
    return std::nullopt;
  const auto header = record::ParseHeader(std::span(head, got));
  if (!header.ok()) {
    return Annotate(header.status(), fmt::format("{}: at byte {}", path_, position_));
  }
  ScannedBatch batch{.position = position_, .header = *header, .bytes = {}};
  const size_t bytes = header->size_bytes();
  if (buffer_.capacity() < bytes) buffer_ = pool_.Get(bytes);
  MILLRACE_ASSIGN_OR_RETURN(const size_t read,
                            file_.ReadAt(position_, buffer_.span().first(bytes)));
  if (read < bytes) return std::nullopt;  // the file got shorter meanwhile
  batch.bytes = buffer_.span().first(bytes);
  position_ += bytes;
  return batch;
}

}  // namespace millrace::cli
