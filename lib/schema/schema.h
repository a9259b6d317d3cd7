#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/uuid.h"
#include "millrace/status.h"

// How a message of Kafka is declared: a plain struct, which names each field once, in wire order,
// with the versions that have it. Encoding, decoding, size and dump all follow from that one list.
//
//   struct OffsetCommitValue {
//     int64_t offset = 0;
//     int32_t leader_epoch = -1;
//     std::string metadata;
//
//     static constexpr schema::Description kSchema = {
//         .name = "OffsetCommitValue", .key = 1, .versions = {0, 4}, .flexible_since = 4};
//     template <typename F>
//     static void Fields(F f) {
//       using T = OffsetCommitValue;
//       f("offset", &T::offset);
//       f("leaderEpoch", &T::leader_epoch, {.since = 3, .ignorable = true});
//       f("metadata", &T::metadata);
//     }
//     bool operator==(const OffsetCommitValue&) const = default;
//   };
//
// The member's type decides the bytes:
//   bool, integers, double    fixed width, big-endian
//   Uuid                      16 bytes
//   std::string               string; std::string_view borrows it from the decoded bytes
//   std::vector<std::byte>    bytes; std::span<const std::byte> borrows them
//   std::vector<T>            array
//   a struct with Fields      its fields, one after the other
//   std::optional<any of the above but fixed-width ones>   the same, nullable
// A member's initial value is the field's default. Nested structs take the version of the message.
namespace millrace::schema {

struct Versions {
  int16_t first = 0;
  int16_t last = INT16_MAX;
  constexpr bool Contain(int16_t version) const { return first <= version && version <= last; }
};

struct Description {
  std::string_view name;
  int16_t key = -1;  // Kafka's apiKey: of a request, or the type of a state or metadata record
  Versions versions = {};
  // From this version on strings, bytes and arrays are compact, and each struct ends with tagged
  // fields.
  int16_t flexible_since = INT16_MAX;
};

struct FieldSpec {
  // The versions that have the field. In others it has its default, and encoding another value is
  // an error unless the field is `ignorable`.
  int16_t since = 0;
  int16_t until = INT16_MAX;
  bool ignorable = false;
  // An optional member may be null from this version on.
  int16_t nullable_since = 0;
  // A tagged field stands in the tagged section of its struct, if it differs from the default.
  int32_t tag = -1;
  // Never in compact form: the client id of the request header alone.
  bool never_compact = false;

  constexpr bool In(int16_t version) const { return since <= version && version <= until; }
  constexpr bool tagged() const { return tag >= 0; }
};

// Tagged fields that the declaration does not know. A struct with a member `unknown_tags` of this
// type keeps them through decoding and encoding; others drop them.
struct UnknownTag {
  uint32_t tag = 0;
  std::vector<std::byte> bytes;
  bool operator==(const UnknownTag&) const = default;
};
using UnknownTags = std::vector<UnknownTag>;

namespace internal {

struct Probe {
  void operator()(std::string_view, auto, const FieldSpec& = {}) const {}
};
template <typename T>
struct OptionalTraits : std::false_type {};
template <typename T>
struct OptionalTraits<std::optional<T>> : std::true_type {
  using Value = T;
};
template <typename T>
struct VectorTraits : std::false_type {};
template <typename T>
struct VectorTraits<std::vector<T>> : std::true_type {
  using Element = T;
};

}  // namespace internal

template <typename T>
concept Fixed = std::is_arithmetic_v<T>;
template <typename T>
concept Text = std::same_as<T, std::string> || std::same_as<T, std::string_view>;
template <typename T>
concept Blob =
    std::same_as<T, std::vector<std::byte>> || std::same_as<T, std::span<const std::byte>>;
template <typename T>
concept Array = internal::VectorTraits<T>::value && !Blob<T>;
template <typename T>
concept Nullable = internal::OptionalTraits<T>::value;
template <typename T>
concept Struct = requires { T::Fields(internal::Probe{}); };
template <typename T>
concept Message = Struct<T> && requires {
  { T::kSchema } -> std::convertible_to<const Description&>;
};
template <typename T>
concept KeepsUnknownTags = requires(T t) {
  { t.unknown_tags } -> std::same_as<UnknownTags&>;
};

// The version that is written where nothing asks for an older one.
template <Message M>
constexpr int16_t NewestVersion() {
  return M::kSchema.versions.last;
}

// ---- the whole interface; schema/encoder.h, decoder.h and dump.h define it.

// Appends the encoded message to `out`. invalid_argument names the field that this version cannot
// express, and then `out` is as it was; unsupported_version for a version that does not exist.
template <Message M>
Status Encode(const M& message, int16_t version, std::vector<std::byte>& out);
template <Message M>
StatusOr<size_t> EncodedSize(const M& message, int16_t version);

// Decodes bytes from outside, all of them. corrupt_message names message, field and what was found.
// Every count and length is held against the bytes that are left before memory is taken for it,
// and all arrays together take at most kMaxExpansion times the input, plus kFreeBytes.
// Views in the message borrow `bytes`.
template <Message M>
StatusOr<M> Decode(std::span<const std::byte> bytes, int16_t version);
// The same into a new message of the caller's; what it holds after an error means nothing.
template <Message M>
Status Decode(std::span<const std::byte> bytes, int16_t version, M& message);
// The same from the front of `bytes`, and moves `bytes` past it: for a header, whose body follows.
template <Message M>
Status DecodePrefix(std::span<const std::byte>& bytes, int16_t version, M& message);

// An empty string takes one byte on the wire and 32 in memory; what is legitimate stays below 16.
inline constexpr size_t kMaxExpansion = 16;
inline constexpr size_t kFreeBytes = 4096;

// JSON as Kafka's tools print it: camel case names, only the fields of that version, base64 for
// bytes.
template <Message M>
std::string Dump(const M& message, int16_t version);

}  // namespace millrace::schema

#include "schema/decoder.h"  // IWYU pragma: export
#include "schema/dump.h"     // IWYU pragma: export
#include "schema/encoder.h"  // IWYU pragma: export
