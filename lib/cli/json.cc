#include "cli/json.h"

#include <cmath>

#include <absl/strings/escaping.h>
#include <fmt/format.h>

#include "base/utf8.h"

namespace millrace::cli {

std::string Base64(std::string_view bytes) {
  return absl::Base64Escape(absl::string_view(bytes.data(), bytes.size()));
}

JsonWriter& JsonWriter::Begin(char open, char close) {
  Separate();
  out_ += open;
  open_ += close;
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::End() {
  out_ += open_.back();
  open_.pop_back();
  comma_ = true;
  return *this;
}

void JsonWriter::Separate() {
  if (comma_) out_ += ',';
  comma_ = true;
}

JsonWriter& JsonWriter::Key(std::string_view key) {
  Text(key);
  out_ += ':';
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::Text(std::string_view text) {
  Separate();
  out_ += '"';
  const std::string valid = ToUtf8(text);
  for (const char c : valid) {
    switch (c) {
      case '"':
        out_ += "\\\"";
        break;
      case '\\':
        out_ += "\\\\";
        break;
      case '\n':
        out_ += "\\n";
        break;
      case '\r':
        out_ += "\\r";
        break;
      case '\t':
        out_ += "\\t";
        break;
      default:
        if (static_cast<uint8_t>(c) < 0x20 || c == 0x7f) {
          fmt::format_to(std::back_inserter(out_), "\\u{:04x}", static_cast<uint8_t>(c));
        } else {
          out_ += c;
        }
    }
  }
  out_ += '"';
  return *this;
}

JsonWriter& JsonWriter::Number(int64_t n) {
  Separate();
  fmt::format_to(std::back_inserter(out_), "{}", n);
  return *this;
}

JsonWriter& JsonWriter::Real(double d) {
  if (!std::isfinite(d)) return Null();
  Separate();
  fmt::format_to(std::back_inserter(out_), "{:.6g}", d);
  return *this;
}

JsonWriter& JsonWriter::Bool(bool b) {
  Separate();
  out_ += b ? "true" : "false";
  return *this;
}

JsonWriter& JsonWriter::Null() {
  Separate();
  out_ += "null";
  return *this;
}

JsonWriter& JsonWriter::Payload(std::string_view name, Bytes bytes) {
  if (bytes.is_null()) return Key(name).Null();
  if (IsUtf8(bytes.str())) return Key(name).Text(bytes.str());
  return Key(fmt::format("{}_base64", name)).Text(Base64(bytes.str()));
}

}  // namespace millrace::cli
