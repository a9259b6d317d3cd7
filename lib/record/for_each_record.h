#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "base/buffer.h"
#include "millrace/status.h"
#include "record/record_reader.h"

namespace millrace::record {

// Calls `fn` for each record of whole batches whose CRCs are known to be good, until it returns an
// error, which is the answer. Control batches are passed over. No batch expands to more than
// `max_bytes`. For whoever reads state back; the paths of records in bulk walk batches themselves.
Status ForEachRecord(std::span<const std::byte> batches, size_t max_bytes, BufferPool& pool,
                     const std::function<Status(const RecordFields&)>& fn);

}  // namespace millrace::record
