// A metadata log of any records, and a snapshot of any bytes: what is taken in comes back from the
// snapshot, whether or not it was published in between, and through the snapshot's file.
//
// Input: a list of records, each after its length in one byte; a length of 255 publishes.
#include <algorithm>
#include <vector>

#include "base/byte_reader.h"
#include "base/endian.h"
#include "broker/metadata_snapshot.h"
#include "broker/metadata_state.h"
#include "fuzz/fuzz.h"
#include "record/batch.h"

namespace millrace::broker {
namespace {

using fuzz::Require;
using Records = std::vector<schema::MetadataRecord>;

void Shorten(std::string& name) { name.resize(std::min<size_t>(name.size(), 1)); }
void Shorten(std::optional<std::string>& name) {
  if (name.has_value()) Shorten(*name);
}

// Ids and names of a small set, so that records speak of one another.
void Narrow(schema::MetadataRecord& any) {
  std::visit(
      [](auto& record) {
        if constexpr (requires { record.topic_id; }) {
          const int id = record.topic_id.bytes[0] & 3;
          record.topic_id = {};
          record.topic_id.bytes[0] = static_cast<uint8_t>(id);
        }
        if constexpr (requires { record.resource_name; }) {
          Shorten(record.resource_name);
        } else if constexpr (requires { record.name; }) {
          Shorten(record.name);
        }
      },
      any);
}

MetadataState Replayed(const Records& records) {
  MetadataState state;
  for (const auto& record : records) Require(state.Apply(record).ok());
  return state;
}

// Topics that are not published yet stand elsewhere.
bool SameButForOrder(const Records& a, const Records& b) {
  return std::is_permutation(a.begin(), a.end(), b.begin(), b.end());
}

void CheckSnapshot(const MetadataState& state, BufferPool& pool) {
  const Records records = state.Snapshot();
  Require(SameButForOrder(Replayed(records).Snapshot(), records));
  const auto bytes = EncodeSnapshot(records, 1, 2, pool);
  Require(bytes.ok());
  const auto decoded = DecodeSnapshot(*bytes, pool);
  Require(decoded.ok() && *decoded == records);
}

void CheckState(std::span<const std::byte> bytes, BufferPool& pool) {
  ByteReader in(bytes);
  MetadataState state;
  while (in.remaining() > 0) {
    const auto length = in.Integer<uint8_t>();
    if (length == 255) {
      const Records before = state.Snapshot();
      state.Publish();
      Require(SameButForOrder(before, state.Snapshot()));
      continue;
    }
    const auto record_bytes = in.Bytes(std::min<size_t>(length, in.remaining()));
    auto record = schema::DecodeMetadataRecord(record_bytes);
    if (!record.ok()) continue;
    Narrow(*record);
    const Records before = state.Snapshot();
    if (!state.Apply(*record).ok()) Require(SameButForOrder(before, state.Snapshot()));
  }
  CheckSnapshot(state, pool);
  const auto image = state.Publish();
  CheckSnapshot(state, pool);
  for (const auto& [name, topic] : image->topics) Require(topic != nullptr && topic->name == name);
}

// The lengths and CRCs of batches that follow one another are made right: what a fuzzer finds by
// chance alone.
void CheckFile(std::vector<std::byte> bytes, BufferPool& pool) {
  DecodeSnapshot(bytes, pool).status().IgnoreError();
  Offset next = 0;
  for (std::span<std::byte> rest = bytes; rest.size() >= record::kHeaderBytes;) {
    StoreBigEndian(rest.data(), next);
    rest[16] = std::byte{record::kMagic};
    auto header = record::ParseHeader(rest);
    if (!header.ok() || header->size_bytes() > rest.size()) {
      StoreBigEndian(rest.data() + 8,
                     static_cast<int32_t>(rest.size() - record::kLogOverheadBytes));
      header = record::ParseHeader(rest);
    }
    if (!header.ok()) break;
    const auto batch = rest.first(header->size_bytes());
    StoreBigEndian(batch.data() + 17, record::ComputeCrc(batch));
    next = header->next_offset();
    rest = rest.subspan(header->size_bytes());
  }
  const auto decoded = DecodeSnapshot(bytes, pool);
  if (!decoded.ok()) return;
  const auto again = EncodeSnapshot(*decoded, 1, 2, pool);
  Require(again.ok() && *DecodeSnapshot(*again, pool) == *decoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static BufferPool& pool = *new BufferPool;
  const auto bytes = fuzz::View(data, size);
  CheckState(bytes, pool);
  CheckFile({bytes.begin(), bytes.end()}, pool);
  Require(pool.outstanding_bytes() == 0);
  return 0;
}

}  // namespace millrace::broker
