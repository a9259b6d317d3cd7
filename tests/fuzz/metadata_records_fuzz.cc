// A record of the metadata log from any bytes: what reads is written again and must read the same.
#include "fuzz/fuzz.h"
#include "schema/metadata_records.h"

namespace millrace::schema {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fuzz::Require;
  const auto bytes = fuzz::View(data, size);
  const auto record = DecodeMetadataRecord(bytes);
  Require(record.ok() == DumpMetadataRecord(bytes).ok());
  if (!record.ok()) return 0;
  const auto encoded = EncodeMetadataRecord(*record);
  Require(encoded.ok());
  const auto again = DecodeMetadataRecord(*encoded);
  Require(again.ok() && *again == *record);
  return 0;
}

}  // namespace millrace::schema
