#include "broker/quoted.h"

#include <fmt/format.h>

namespace millrace::broker {

std::string Quoted(std::string_view text) {
  constexpr size_t kMaxShownBytes = 64;
  std::string out = "\"";
  for (const char c : text.substr(0, kMaxShownBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\') {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  out += text.size() > kMaxShownBytes ? "...\"" : "\"";
  return out;
}

}  // namespace millrace::broker
