#include "base/uuid.h"

#include <algorithm>
#include <cstring>

#include <absl/strings/escaping.h>

#include "base/endian.h"

namespace millrace {

std::string Uuid::ToString() const {
  std::string text;
  absl::WebSafeBase64Escape(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), &text);
  text.erase(std::find(text.begin(), text.end(), '='), text.end());
  return text;
}

std::optional<Uuid> Uuid::Parse(std::string_view text) {
  std::string raw;
  if (text.size() != 22) return std::nullopt;
  if (!absl::WebSafeBase64Unescape(absl::string_view(text.data(), text.size()), &raw) ||
      raw.size() != 16)
    return std::nullopt;
  Uuid id;
  std::memcpy(id.bytes.data(), raw.data(), 16);
  if (id.ToString() != text) return std::nullopt;
  return id;
}

Uuid Uuid::FromRandom(uint64_t high, uint64_t low) {
  Uuid id;
  StoreBigEndian(reinterpret_cast<std::byte*>(id.bytes.data()), high);
  StoreBigEndian(reinterpret_cast<std::byte*>(id.bytes.data()) + 8, low);
  id.bytes[6] = static_cast<uint8_t>((id.bytes[6] & 0x0f) | 0x40);
  id.bytes[8] = static_cast<uint8_t>((id.bytes[8] & 0x3f) | 0x80);
  return id;
}

}  // namespace millrace
