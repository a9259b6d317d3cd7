#include "cli/json.h"

#include <cmath>

#include <fmt/format.h>

#include "absl/strings/escaping.h"

namespace millrace::cli {
namespace {

// The length of the well-formed sequence at the front of `text` (Unicode 15, table 3-7), or 0 and
// in
// `*wrong` the length of the ill-formed beginning. `text` is not empty.
size_t SequenceLength(std::string_view text, size_t* wrong) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = at(0);
  if (lead < 0x80) return 1;
  *wrong = 1;
  size_t length = 0;
  if (lead >= 0xc2 && lead <= 0xdf) length = 2;
  if (lead >= 0xe0 && lead <= 0xef) length = 3;
  if (lead >= 0xf0 && lead <= 0xf4) length = 4;
  if (length == 0) return 0;
  // Over-long forms, surrogates and what lies beyond U+10FFFF show in the second byte.
  uint8_t low = 0x80, high = 0xbf;
  if (lead == 0xe0) low = 0xa0;
  if (lead == 0xed) high = 0x9f;
  if (lead == 0xf0) low = 0x90;
  if (lead == 0xf4) high = 0x8f;
  for (size_t i = 1; i < length; ++i) {
    if (i >= text.size() || at(i) < low || at(i) > high) return 0;
    *wrong = i + 1;
    low = 0x80;
    high = 0xbf;
  }
  return length;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  size_t wrong = 0;
  while (!text.empty()) {
    const size_t length = SequenceLength(text, &wrong);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string ToUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t wrong = 0;
  while (!text.empty()) {
    const size_t length = SequenceLength(text, &wrong);
    out += length > 0 ? text.substr(0, length) : std::string_view("\xef\xbf\xbd");
    text.remove_prefix(length > 0 ? length : wrong);
  }
  return out;
}

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
