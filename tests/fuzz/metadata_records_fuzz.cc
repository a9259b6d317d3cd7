// A record of the metadata log from any bytes: what reads is written again and must read the same.
#include <cstdlib>

#include "schema/metadata_records.h"

namespace millrace::schema {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto record = DecodeMetadataRecord(bytes);
  if (record.ok() != DumpMetadataRecord(bytes).ok()) std::abort();
  if (!record.ok()) return 0;
  const auto encoded = EncodeMetadataRecord(*record);
  if (!encoded.ok()) std::abort();
  const auto again = DecodeMetadataRecord(*encoded);
  if (!again.ok() || *again != *record) std::abort();
  return 0;
}

}  // namespace millrace::schema
