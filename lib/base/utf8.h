// Text that may or may not be UTF-8, read as Java reads it. Kafka's brokers and tools are Java: the
// hash of a group's name and the text that a dump prints depend on how ill-formed bytes are taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace millrace {

inline constexpr uint32_t kReplacementCharacter = 0xfffd;

struct Utf8Character {
  uint32_t code_point;  // kReplacementCharacter where the bytes are ill-formed
  size_t length;        // bytes that it took, at least one
  bool valid;
};

// The character at the front of `text`, which is not empty. Of ill-formed bytes, the longest
// beginning of a character counts as one (Unicode 15, table 3-7), and so does a surrogate, which
// Unicode would take as three.
Utf8Character FirstCharacter(std::string_view text);

bool IsUtf8(std::string_view text);

// `text` with U+FFFD for what is ill-formed.
std::string ToUtf8(std::string_view text);

}  // namespace millrace
