#include "log/layout.h"

#include <charconv>

#include <fmt/format.h>

namespace millrace::log {
namespace {
constexpr size_t kDigits = 20;
}

std::string OffsetFileName(Offset offset, std::string_view suffix) {
  return fmt::format("{:020}{}", offset, suffix);
}

std::optional<Offset> ParseOffsetFileName(std::string_view name, std::string_view suffix) {
  if (name.size() != kDigits + suffix.size() || !name.ends_with(suffix)) return std::nullopt;
  Offset offset = 0;
  const char* const begin = name.data();
  const char* const end = begin + kDigits;
  const auto [at, error] = std::from_chars(begin, end, offset);
  if (error != std::errc() || at != end || offset < 0) return std::nullopt;
  return offset;
}

}  // namespace millrace::log
