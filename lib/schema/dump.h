#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "schema/encoder.h"
#include "schema/schema.h"

namespace millrace::schema::internal {

// `text` with JSON's escapes and quotes. Bytes that are not UTF-8 become U+FFFD, as Kafka reads
// them.
void AppendJsonText(std::string_view text, std::string& out);
void AppendBase64(std::span<const std::byte> bytes, std::string& out);

class Dumper {
 public:
  Dumper(int16_t version, std::string& out) : version_(version), out_(out) {}

  template <Struct T>
  void Put(const T& value) {
    char before = '{';
    T::Fields([&](std::string_view name, auto member, const FieldSpec& spec = {}) {
      if (!spec.In(version_)) return;
      if (spec.tagged() && Same(value.*member, DefaultOf<T>().*member)) return;
      out_ += std::exchange(before, ',');
      AppendJsonText(name, out_);
      out_ += ':';
      PutValue(value.*member);
    });
    out_ += before == '{' ? "{}" : "}";
  }

 private:
  template <typename T>
  void PutValue(const T& value) {
    if constexpr (Nullable<T>) {
      if (value.has_value()) return PutValue(*value);
      out_ += "null";
    } else if constexpr (Struct<T>) {
      Put(value);
    } else if constexpr (std::same_as<T, Uuid>) {
      AppendJsonText(value.ToString(), out_);
    } else if constexpr (Text<T>) {
      AppendJsonText(value, out_);
    } else if constexpr (Blob<T>) {
      AppendBase64(value, out_);
    } else if constexpr (Array<T>) {
      out_ += '[';
      for (size_t i = 0; i < value.size(); ++i) {
        if (i != 0) out_ += ',';
        PutValue(value[i]);
      }
      out_ += ']';
    } else {
      fmt::format_to(std::back_inserter(out_), "{}", value);
    }
  }

  const int16_t version_;
  std::string& out_;
};

}  // namespace millrace::schema::internal

namespace millrace::schema {

template <Message M>
std::string Dump(const M& message, int16_t version) {
  std::string out;
  internal::Dumper(version, out).Put(message);
  return out;
}

}  // namespace millrace::schema
