#include "schema/metadata_records.h"

#include <cctype>
#include <utility>

namespace millrace::schema {
namespace {

constexpr uint64_t kFrameVersion = 1;

struct Frame {
  uint32_t type = 0;
  int16_t version = 0;
  std::span<const std::byte> body;
};

StatusOr<Frame> ReadFrame(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  const uint32_t frame_version = reader.UnsignedVarint();
  const uint32_t type = reader.UnsignedVarint();
  const uint32_t version = reader.UnsignedVarint();
  if (!reader.ok() || version > INT16_MAX) {
    return MakeError(ErrorId::kCorruptMessage,
                     fmt::format("metadata record: {} bytes hold no frame version, type and "
                                 "version",
                                 bytes.size()));
  }
  if (frame_version != kFrameVersion) {
    return MakeError(ErrorId::kUnsupportedVersion,
                     fmt::format("metadata record: frame version {} is not known, only {} is",
                                 frame_version, kFrameVersion));
  }
  return Frame{type, static_cast<int16_t>(version), reader.rest()};
}

// Tries the alternatives of the variant in turn.
template <size_t I = 0>
StatusOr<MetadataRecord> DecodeRecordOfType(const Frame& frame) {
  if constexpr (I == std::variant_size_v<MetadataRecord>) {
    return MakeError(ErrorId::kUnsupportedVersion,
                     fmt::format("metadata record: type {} (version {}) is not known", frame.type,
                                 frame.version));
  } else {
    using Record = std::variant_alternative_t<I, MetadataRecord>;
    if (frame.type != static_cast<uint32_t>(Record::kSchema.key))
      return DecodeRecordOfType<I + 1>(frame);
    StatusOr<MetadataRecord> record{absl::in_place, std::in_place_type<Record>};
    if (Status status = Decode(frame.body, frame.version, std::get<Record>(*record)); !status.ok())
      return status;
    return record;
  }
}

// "TopicRecord" as "TOPIC_RECORD".
std::string UpperSnake(std::string_view camel) {
  std::string out;
  for (const char c : camel) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isupper(u) != 0 && !out.empty()) out += '_';
    out += static_cast<char>(std::toupper(u));
  }
  return out;
}

}  // namespace

StatusOr<std::vector<std::byte>> EncodeMetadataRecord(const MetadataRecord& record) {
  return std::visit(
      []<typename Record>(const Record& r) -> StatusOr<std::vector<std::byte>> {
        constexpr int16_t kVersion = NewestVersion<Record>();
        ByteWriter writer;
        writer.UnsignedVarint(kFrameVersion);
        writer.UnsignedVarint(static_cast<uint64_t>(Record::kSchema.key));
        writer.UnsignedVarint(static_cast<uint64_t>(kVersion));
        std::vector<std::byte> bytes = writer.Take();
        MILLRACE_RETURN_IF_ERROR(Encode(r, kVersion, bytes));
        return bytes;
      },
      record);
}

StatusOr<MetadataRecord> DecodeMetadataRecord(std::span<const std::byte> bytes) {
  MILLRACE_ASSIGN_OR_RETURN(const Frame frame, ReadFrame(bytes));
  return DecodeRecordOfType(frame);
}

StatusOr<std::string> DumpMetadataRecord(std::span<const std::byte> bytes) {
  MILLRACE_ASSIGN_OR_RETURN(const Frame frame, ReadFrame(bytes));
  MILLRACE_ASSIGN_OR_RETURN(const MetadataRecord record, DecodeRecordOfType(frame));
  return std::visit(
      [&]<typename Record>(const Record& r) {
        return fmt::format(R"({{"type":"{}","version":{},"data":{}}})",
                           UpperSnake(Record::kSchema.name), frame.version, Dump(r, frame.version));
      },
      record);
}

}  // namespace millrace::schema
