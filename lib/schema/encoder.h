#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/endian.h"
#include "base/status_macros.h"
#include "schema/failure.h"
#include "schema/schema.h"

namespace millrace::schema::internal {

// Where encoded bytes go. The counter runs first, over the same code as the writer, so that a size
// cannot disagree with the bytes; the writer then needs no check and one allocation.
class Counter {
 public:
  template <std::integral T>
  void Integer(T) {
    size_ += sizeof(T);
  }
  void Varint(uint64_t v) { size_ += UnsignedVarintSize(v); }
  void Bytes(const void*, size_t count) { size_ += count; }
  size_t size() const { return size_; }

 private:
  size_t size_ = 0;
};

class Writer {
 public:
  explicit Writer(std::byte* at) : at_(at) {}
  template <std::integral T>
  void Integer(T value) {
    StoreBigEndian(at_, value);
    at_ += sizeof(T);
  }
  void Varint(uint64_t v) { at_ = PutUnsignedVarint(at_, v); }
  void Bytes(const void* bytes, size_t count) {
    if (count != 0) std::memcpy(at_, bytes, count);
    at_ += count;
  }

 private:
  std::byte* at_;
};

template <typename T>
const T& DefaultOf() {
  static const T value{};
  return value;
}

template <typename T>
bool Same(const T& a, const T& b) {
  if constexpr (requires { a == b; }) {
    return a == b;
  } else if constexpr (Nullable<T>) {
    return a.has_value() == b.has_value() && (!a.has_value() || Same(*a, *b));
  } else {
    return std::ranges::equal(a, b);
  }
}

template <typename Sink>
class Encoder {
 public:
  Encoder(Sink& sink, int16_t version, bool flexible, Failure& failure)
      : sink_(sink), version_(version), flexible_(flexible), failure_(failure) {}

  template <Struct T>
  void Put(const T& value) {
    uint32_t tags = 0;
    T::Fields([&](std::string_view name, auto member, const FieldSpec& spec = {}) {
      if (failure_.failed()) return;
      const bool is_default_needed = spec.tagged() || !spec.In(version_);
      const bool is_default = is_default_needed && Same(value.*member, DefaultOf<T>().*member);
      if (!spec.In(version_)) {
        if (!is_default && !spec.ignorable)
          failure_.Set("has a value, this version has no such field");
      } else if (spec.tagged()) {
        tags += is_default ? 0 : 1;
      } else {
        PutValue(value.*member, spec);
      }
      if (failure_.failed()) failure_.Within(name);
    });
    if (flexible_ && !failure_.failed()) PutTags(value, tags);
  }

 private:
  template <typename T>
  void PutValue(const T& value, const FieldSpec& spec) {
    if constexpr (Nullable<T>) {
      const bool may_be_null = version_ >= spec.nullable_since;
      if (!value.has_value() && !may_be_null)
        return failure_.Set("is null, this version needs a value");
      using V = typename OptionalTraits<T>::Value;
      if constexpr (Struct<V>) {
        if (may_be_null) sink_.Integer(static_cast<int8_t>(value.has_value() ? 1 : -1));
        if (value.has_value()) Put(*value);
      } else if (value.has_value()) {
        PutValue(*value, spec);
      } else {
        PutNull<V>(spec);
      }
    } else if constexpr (std::same_as<T, bool>) {
      sink_.Integer(static_cast<int8_t>(value ? 1 : 0));
    } else if constexpr (std::same_as<T, double>) {
      sink_.Integer(std::bit_cast<int64_t>(value));
    } else if constexpr (std::integral<T>) {
      sink_.Integer(value);
    } else if constexpr (std::same_as<T, Uuid>) {
      sink_.Bytes(value.bytes.data(), value.bytes.size());
    } else if constexpr (Struct<T>) {
      Put(value);
    } else if constexpr (Array<T>) {
      PutLength<T>(value.size(), spec);
      for (size_t i = 0; i < value.size() && !failure_.failed(); ++i) {
        PutValue(value[i], spec);
        if (failure_.failed()) failure_.WithinElement(i);
      }
    } else {
      static_assert(Text<T> || Blob<T>, "schema.h names the types that a field may have");
      PutLength<T>(value.size(), spec);
      sink_.Bytes(value.data(), value.size());
    }
  }

  bool Compact(const FieldSpec& spec) const { return flexible_ && !spec.never_compact; }

  template <typename T>
  void PutNull(const FieldSpec& spec) {
    if (Compact(spec)) return sink_.Varint(0);
    if constexpr (Text<T>) return sink_.Integer(int16_t{-1});
    sink_.Integer(int32_t{-1});
  }

  template <typename T>
  void PutLength(size_t length, const FieldSpec& spec) {
    constexpr size_t kLimit = Text<T> ? INT16_MAX : INT32_MAX;
    if (length > kLimit) {
      return failure_.Set(fmt::format("has {} {}, at most {} fit", length,
                                      Array<T> ? "elements" : "bytes", kLimit));
    }
    if (Compact(spec)) return sink_.Varint(length + 1);
    if constexpr (Text<T>) return sink_.Integer(static_cast<int16_t>(length));
    sink_.Integer(static_cast<int32_t>(length));
  }

  // Known and unknown tags in one ascending order.
  template <Struct T>
  void PutTags(const T& value, uint32_t known) {
    size_t count = known;
    if constexpr (KeepsUnknownTags<T>) count += value.unknown_tags.size();
    sink_.Varint(count);
    if (count == 0) return;
    std::vector<std::pair<int64_t, const UnknownTag*>> tags;  // null: a declared one
    tags.reserve(count);
    T::Fields([&](std::string_view, auto member, const FieldSpec& spec = {}) {
      if (spec.tagged() && spec.In(version_) && !Same(value.*member, DefaultOf<T>().*member))
        tags.emplace_back(spec.tag, nullptr);
    });
    if constexpr (KeepsUnknownTags<T>) {
      for (const UnknownTag& unknown : value.unknown_tags) tags.emplace_back(unknown.tag, &unknown);
    }
    std::ranges::sort(tags);
    for (size_t i = 0; i < count && !failure_.failed(); ++i) {
      if (i != 0 && tags[i].first == tags[i - 1].first)
        return failure_.Set(fmt::format("has the tag {} twice", tags[i].first));
      PutTag(value, tags[i].first, tags[i].second);
    }
  }

  template <Struct T>
  void PutTag(const T& value, int64_t tag, const UnknownTag* unknown) {
    sink_.Varint(static_cast<uint64_t>(tag));
    if (unknown != nullptr) {
      sink_.Varint(unknown->bytes.size());
      return sink_.Bytes(unknown->bytes.data(), unknown->bytes.size());
    }
    T::Fields([&](std::string_view name, auto member, const FieldSpec& spec = {}) {
      if (spec.tag != tag || !spec.In(version_) || failure_.failed()) return;
      Counter counter;
      Encoder<Counter>(counter, version_, flexible_, failure_).PutValue(value.*member, spec);
      if (failure_.failed()) return failure_.Within(name);
      sink_.Varint(counter.size());
      PutValue(value.*member, spec);
    });
  }

  template <typename>
  friend class Encoder;

  Sink& sink_;
  const int16_t version_;
  const bool flexible_;
  Failure& failure_;
};

}  // namespace millrace::schema::internal

namespace millrace::schema {

template <Message M>
StatusOr<size_t> EncodedSize(const M& message, int16_t version) {
  MILLRACE_RETURN_IF_ERROR(internal::CheckVersion(M::kSchema, version));
  internal::Counter counter;
  internal::Failure failure;
  internal::Encoder(counter, version, version >= M::kSchema.flexible_since, failure).Put(message);
  if (failure.failed()) return failure.ToStatus(ErrorId::kInvalidArgument, M::kSchema, version);
  return counter.size();
}

template <Message M>
Status Encode(const M& message, int16_t version, std::vector<std::byte>& out) {
  MILLRACE_ASSIGN_OR_RETURN(const size_t size, EncodedSize(message, version));
  const size_t at = out.size();
  out.resize(at + size);
  internal::Writer writer(out.data() + at);
  internal::Failure none;  // the counter has passed over the same fields
  internal::Encoder(writer, version, version >= M::kSchema.flexible_since, none).Put(message);
  return absl::OkStatus();
}

}  // namespace millrace::schema
