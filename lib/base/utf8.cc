#include "base/utf8.h"

namespace millrace {

Utf8Character FirstCharacter(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = at(0);
  if (lead < 0x80) return {lead, 1, true};
  size_t length = 0;
  if (lead >= 0xc2 && lead <= 0xdf) length = 2;
  if (lead >= 0xe0 && lead <= 0xef) length = 3;
  if (lead >= 0xf0 && lead <= 0xf4) length = 4;
  if (length == 0) return {kReplacementCharacter, 1, false};
  // Over-long forms and what lies beyond U+10FFFF show in the second byte.
  uint8_t low = 0x80, high = 0xbf;
  if (lead == 0xe0) low = 0xa0;
  if (lead == 0xf0) low = 0x90;
  if (lead == 0xf4) high = 0x8f;
  uint32_t point = lead & (0x7fU >> length);
  for (size_t i = 1; i < length; ++i) {
    if (i >= text.size() || at(i) < low || at(i) > high) return {kReplacementCharacter, i, false};
    point = point << 6 | (at(i) & 0x3fU);
    low = 0x80;
    high = 0xbf;
  }
  const bool surrogate = point >= 0xd800 && point <= 0xdfff;
  return {surrogate ? kReplacementCharacter : point, length, !surrogate};
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Character first = FirstCharacter(text);
    if (!first.valid) return false;
    text.remove_prefix(first.length);
  }
  return true;
}

std::string ToUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Character first = FirstCharacter(text);
    out += first.valid ? text.substr(0, first.length) : std::string_view("\xef\xbf\xbd");
    text.remove_prefix(first.length);
  }
  return out;
}

}  // namespace millrace
