#pragma once

#include <algorithm>
#include <bit>
#include <limits>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/status_macros.h"
#include "schema/failure.h"
#include "schema/schema.h"

namespace millrace::schema::internal {

// What is wrong with a length or a count that was read.
std::string BadLength(int64_t found, size_t left, size_t min_element_bytes);
std::string BadEnd(size_t left);
std::string LeftOver(size_t bytes);

class Decoder {
 public:
  Decoder(std::span<const std::byte> bytes, int16_t version, bool flexible, Failure& failure)
      : in_(bytes),
        version_(version),
        flexible_(flexible),
        failure_(failure),
        budget_(bytes.size() * kMaxExpansion + kFreeBytes) {}

  std::span<const std::byte> rest() const { return in_.rest(); }

  template <Struct T>
  void Get(T& value) {
    T::Fields([&](std::string_view name, auto member, const FieldSpec& spec = {}) {
      if (failure_.failed() || spec.tagged() || !spec.In(version_)) return;
      GetValue(value.*member, spec);
      if (failure_.failed()) failure_.Within(name);
    });
    if (flexible_ && !failure_.failed()) GetTags(value);
  }

 private:
  // The fewest bytes that a value can take: what a count is checked against before it is believed.
  template <typename T>
  size_t MinBytes(const FieldSpec& spec) const {
    if constexpr (std::same_as<T, Uuid>) {
      return 16;
    } else if constexpr (Fixed<T>) {
      return sizeof(T);
    } else if constexpr (Nullable<T>) {
      using V = typename OptionalTraits<T>::Value;
      if constexpr (!Struct<V>) return MinBytes<V>(spec);
      return version_ >= spec.nullable_since ? 1 : MinBytes<V>(spec);
    } else if constexpr (Struct<T>) {
      size_t bytes = flexible_ ? 1 : 0;
      T::Fields([&](std::string_view, auto member, const FieldSpec& s = {}) {
        using V = std::remove_cvref_t<decltype(std::declval<T&>().*member)>;
        if (!s.tagged() && s.In(version_)) bytes += MinBytes<V>(s);
      });
      return std::max<size_t>(bytes, 1);
    } else {
      return Compact(spec) ? 1 : Text<T> ? 2 : 4;
    }
  }

  bool Compact(const FieldSpec& spec) const { return flexible_ && !spec.never_compact; }

  template <typename T>
  void GetValue(T& value, const FieldSpec& spec) {
    if constexpr (Nullable<T>) {
      GetNullable(value, spec);
    } else if constexpr (Struct<T>) {
      Get(value);
    } else if constexpr (Fixed<T> || std::same_as<T, Uuid>) {
      GetFixed(value);
    } else {
      const int64_t length = GetLength<T>(spec);
      if (length < 0) return FailLength(length, 1);
      GetContent(value, static_cast<uint64_t>(length), spec);
    }
  }

  template <typename T>
  void GetNullable(T& value, const FieldSpec& spec) {
    using V = typename OptionalTraits<T>::Value;
    const bool may_be_null = version_ >= spec.nullable_since;
    if constexpr (Struct<V>) {
      const auto presence = may_be_null ? in_.Integer<int8_t>() : int8_t{1};
      if (!in_.ok()) return failure_.Set(BadEnd(0));
      value.reset();
      if (presence < 0) return;
      Get(value.emplace());
    } else {
      static_assert(!Fixed<V>, "fixed-width fields cannot be null on the wire");
      const int64_t length = GetLength<V>(spec);
      if (failure_.failed()) return;
      value.reset();
      if (length == -1 && may_be_null) return;
      if (length < 0) return FailLength(length, 1);
      GetContent(value.emplace(), static_cast<uint64_t>(length), spec);
    }
  }

  template <typename T>
  void GetFixed(T& value) {
    const size_t left = in_.remaining();
    if constexpr (std::same_as<T, Uuid>) {
      const auto bytes = in_.Bytes(value.bytes.size());
      std::transform(bytes.begin(), bytes.end(), value.bytes.begin(),
                     [](std::byte b) { return static_cast<uint8_t>(b); });
    } else if constexpr (std::same_as<T, bool>) {
      value = in_.Integer<int8_t>() != 0;
    } else if constexpr (std::same_as<T, double>) {
      value = std::bit_cast<double>(in_.Integer<int64_t>());
    } else {
      value = in_.Integer<T>();
    }
    if (!in_.ok()) failure_.Set(BadEnd(left));
  }

  // -1 for null. Fails when the bytes end, and then returns -1 as well.
  template <typename T>
  int64_t GetLength(const FieldSpec& spec) {
    const size_t left = in_.remaining();
    int64_t length = 0;
    if (Compact(spec)) {
      length = int64_t{in_.UnsignedVarint()} - 1;
    } else if constexpr (Text<T>) {
      length = in_.Integer<int16_t>();
    } else {
      length = in_.Integer<int32_t>();
    }
    if (in_.ok()) return length;
    failure_.Set(BadEnd(left));
    return -1;
  }

  void FailLength(int64_t length, size_t min_element_bytes) {
    failure_.Set(BadLength(length, in_.remaining(), min_element_bytes));
  }

  template <typename T>
  void GetContent(T& value, uint64_t length, const FieldSpec& spec) {
    if constexpr (Array<T>) {
      using E = typename VectorTraits<T>::Element;
      const size_t min_bytes = MinBytes<E>(spec);
      if (length > in_.remaining() / min_bytes)
        return FailLength(static_cast<int64_t>(length), min_bytes);
      if (length * sizeof(E) > budget_) {
        return failure_.Set("the arrays of the message take more than " +
                            std::to_string(kMaxExpansion) + " times its bytes in memory");
      }
      budget_ -= length * sizeof(E);
      value.clear();
      value.resize(length);
      for (size_t i = 0; i < length; ++i) {
        GetValue(value[i], spec);
        if (failure_.failed()) return failure_.WithinElement(i);
      }
    } else {
      if (length > in_.remaining()) return FailLength(static_cast<int64_t>(length), 1);
      // What could not be encoded again; Kafka refuses it as well.
      if (Text<T> && length > INT16_MAX) return FailLength(static_cast<int64_t>(length), 1);
      const auto bytes = in_.Bytes(length);
      if constexpr (Text<T>) {
        value = AsText(bytes);
      } else if constexpr (std::same_as<T, std::span<const std::byte>>) {
        value = bytes;
      } else {
        value.assign(bytes.begin(), bytes.end());
      }
    }
  }

  template <Struct T>
  void GetTags(T& value) {
    const size_t left = in_.remaining();
    const uint32_t count = in_.UnsignedVarint();
    if (!in_.ok()) return failure_.Set("tagged fields: " + BadEnd(left));
    if (count > in_.remaining() / 2)
      return failure_.Set("tagged fields: " + BadLength(count, in_.remaining(), 2));
    int64_t last = -1;
    for (uint32_t i = 0; i < count && !failure_.failed(); ++i) {
      const uint32_t tag = in_.UnsignedVarint();
      const uint32_t size = in_.UnsignedVarint();
      if (!in_.ok() || size > in_.remaining())
        return failure_.Set("tagged fields: " + BadLength(size, in_.remaining(), 1));
      if (int64_t{tag} <= last) return failure_.Set("tagged fields: the tags do not ascend");
      last = tag;
      GetTag(value, tag, in_.Bytes(size));
    }
  }

  template <Struct T>
  void GetTag(T& value, uint32_t tag, std::span<const std::byte> bytes) {
    bool found = false;
    T::Fields([&](std::string_view name, auto member, const FieldSpec& spec = {}) {
      if (spec.tag != int64_t{tag} || !spec.In(version_)) return;
      found = true;
      const ByteReader outer = in_;
      in_ = ByteReader(bytes);
      GetValue(value.*member, spec);
      if (in_.remaining() != 0) failure_.Set(LeftOver(in_.remaining()));
      in_ = outer;
      if (failure_.failed()) failure_.Within(name);
    });
    if constexpr (KeepsUnknownTags<T>) {
      if (found) return;
      if (sizeof(UnknownTag) > budget_) return failure_.Set("too many unknown tagged fields");
      budget_ -= sizeof(UnknownTag);
      value.unknown_tags.push_back({tag, {bytes.begin(), bytes.end()}});
    }
  }

  ByteReader in_;
  const int16_t version_;
  const bool flexible_;
  Failure& failure_;
  size_t budget_;
};

}  // namespace millrace::schema::internal

namespace millrace::schema {

template <Message M>
Status DecodePrefix(std::span<const std::byte>& bytes, int16_t version, M& message) {
  MILLRACE_RETURN_IF_ERROR(internal::CheckVersion(M::kSchema, version));
  internal::Failure failure;
  internal::Decoder decoder(bytes, version, version >= M::kSchema.flexible_since, failure);
  decoder.Get(message);
  if (failure.failed()) return failure.ToStatus(ErrorId::kCorruptMessage, M::kSchema, version);
  bytes = decoder.rest();
  return absl::OkStatus();
}

template <Message M>
Status Decode(std::span<const std::byte> bytes, int16_t version, M& message) {
  MILLRACE_RETURN_IF_ERROR(DecodePrefix(bytes, version, message));
  if (bytes.empty()) return absl::OkStatus();
  internal::Failure failure;
  failure.Set(internal::LeftOver(bytes.size()));
  return failure.ToStatus(ErrorId::kCorruptMessage, M::kSchema, version);
}

template <Message M>
StatusOr<M> Decode(std::span<const std::byte> bytes, int16_t version) {
  StatusOr<M> message{M{}};
  if (Status status = Decode(bytes, version, *message); !status.ok()) return status;
  return message;
}

}  // namespace millrace::schema
