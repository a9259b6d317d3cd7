#include "schema/schema.h"

#include <algorithm>
#include <iterator>

#include <absl/strings/escaping.h>
#include <fmt/format.h>

#include "base/utf8.h"
#include "schema/failure.h"

namespace millrace::schema::internal {

void Failure::Within(std::string_view field) {
  // "partitions" before "[3].offset" is "partitions[3].offset".
  const bool needs_dot = !path_.empty() && path_.front() != '[';
  path_ = fmt::format("{}{}{}", field, needs_dot ? "." : "", path_);
}

void Failure::WithinElement(size_t index) {
  path_ = fmt::format("[{}]{}{}", index, path_.empty() ? "" : ".", path_);
}

Status Failure::ToStatus(ErrorId id, const Description& message, int16_t version) const {
  return MakeError(id, fmt::format("{} version {}: {}{}{}", message.name, version, path_,
                                   path_.empty() ? "" : ": ", what_));
}

std::string BadLength(int64_t found, size_t left, size_t min_element_bytes) {
  if (found < 0) return fmt::format("a length of {}", found);
  if (min_element_bytes == 1) return fmt::format("a length of {}, {} bytes are left", found, left);
  return fmt::format("a count of {} of at least {} bytes each, {} bytes are left", found,
                     min_element_bytes, left);
}

std::string BadEnd(size_t left) {
  return fmt::format("the value does not fit into the {} bytes that are left", left);
}

std::string LeftOver(size_t bytes) {
  return fmt::format("{} bytes are left over after the last field", bytes);
}

namespace {}  // namespace

void AppendJsonText(std::string_view text, std::string& out) {
  out += '"';
  while (!text.empty()) {
    const Utf8Character first = FirstCharacter(text);
    const auto c = static_cast<unsigned char>(text.front());
    if (!first.valid) {
      out += "\xef\xbf\xbd";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += text.front();
    } else if (c < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
    } else {
      out += text.substr(0, first.length);
    }
    text.remove_prefix(first.length);
  }
  out += '"';
}

void AppendBase64(std::span<const std::byte> bytes, std::string& out) {
  std::string text;
  absl::Base64Escape({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, &text);
  out += '"' + text + '"';
}

Status CheckVersion(const Description& message, int16_t version) {
  if (message.versions.Contain(version)) return absl::OkStatus();
  return MakeError(ErrorId::kUnsupportedVersion,
                   fmt::format("{}: version {} is not known, known are {} to {}", message.name,
                               version, message.versions.first, message.versions.last));
}

}  // namespace millrace::schema::internal
