#include "schema/group_records.h"

#include <utility>

namespace millrace::schema {
namespace {

// Tries the alternatives of the variant in turn.
template <size_t I = 0>
StatusOr<GroupRecordKey> DecodeKeyOfType(int16_t type, std::span<const std::byte> body) {
  using Key = std::variant_alternative_t<I, GroupRecordKey>;
  if constexpr (std::same_as<Key, OtherGroupKey>) {
    return GroupRecordKey(OtherGroupKey{type});
  } else {
    if (type != Key::kSchema.key) return DecodeKeyOfType<I + 1>(type, body);
    StatusOr<GroupRecordKey> key{absl::in_place, std::in_place_type<Key>};
    if (Status status = Decode(body, 0, std::get<Key>(*key)); !status.ok()) return status;
    return key;
  }
}

}  // namespace

StatusOr<GroupRecordKey> DecodeGroupKey(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  auto type = reader.Integer<int16_t>();
  if (!reader.ok()) {
    return MakeError(ErrorId::kCorruptMessage,
                     fmt::format("group record: {} bytes cannot hold a type", bytes.size()));
  }
  // Before Kafka 0.9 a committed offset had type 0; its key and version 0 of its value are the
  // same.
  if (type == 0) type = OffsetCommitKey::kSchema.key;
  return DecodeKeyOfType(type, reader.rest());
}

StatusOr<std::string> DumpGroupKey(std::span<const std::byte> bytes) {
  MILLRACE_ASSIGN_OR_RETURN(const GroupRecordKey any_key, DecodeGroupKey(bytes));
  return std::visit(
      []<typename Key>(const Key& key) {
        if constexpr (std::same_as<Key, OtherGroupKey>) {
          return fmt::format(R"({{"type":"{}"}})", key.type);
        } else {
          return fmt::format(R"({{"type":"{}","data":{}}})", Key::kSchema.key, Dump(key, 0));
        }
      },
      any_key);
}

StatusOr<std::string> DumpGroupValue(std::span<const std::byte> key_bytes,
                                     std::optional<std::span<const std::byte>> value) {
  MILLRACE_ASSIGN_OR_RETURN(const GroupRecordKey any_key, DecodeGroupKey(key_bytes));
  if (!value.has_value()) return std::string("null");
  ByteReader reader(*value);
  const auto version = reader.Integer<int16_t>();
  return std::visit(
      [&]<typename Key>(const Key&) -> StatusOr<std::string> {
        if constexpr (std::same_as<Key, OtherGroupKey>) {
          return fmt::format(R"({{"version":"{}"}})", version);
        } else {
          using Value = typename GroupValueOf<Key>::type;
          MILLRACE_ASSIGN_OR_RETURN(const Value decoded, DecodeGroupValue<Value>(*value));
          return fmt::format(R"({{"version":"{}","data":{}}})", version, Dump(decoded, version));
        }
      },
      any_key);
}

}  // namespace millrace::schema
