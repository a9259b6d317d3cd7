#include "record/for_each_record.h"

#include "base/status_macros.h"
#include "record/batch.h"
#include "record/codec.h"

namespace millrace::record {

Status ForEachRecord(std::span<const std::byte> batches, size_t max_bytes, BufferPool& pool,
                     const std::function<Status(const RecordFields&)>& fn) {
  while (!batches.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const BatchHeader header, ParseHeader(batches));
    const auto batch = batches.first(header.size_bytes());
    batches = batches.subspan(header.size_bytes());
    if (header.is_control()) continue;
    MILLRACE_ASSIGN_OR_RETURN(const Payload payload,
                              ExpandedPayload(header, batch, max_bytes, pool));
    RecordReader reader(header, payload.records);
    RecordFields fields;
    while (reader.Next(&fields)) MILLRACE_RETURN_IF_ERROR(fn(fields));
    MILLRACE_RETURN_IF_ERROR(reader.status());
  }
  return absl::OkStatus();
}

}  // namespace millrace::record
