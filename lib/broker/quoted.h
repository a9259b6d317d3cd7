#pragma once

#include <string>
#include <string_view>

namespace millrace::broker {

// What a caller gave, for a message: it may be long or binary, so its beginning, with odd bytes
// escaped.
std::string Quoted(std::string_view text);

}  // namespace millrace::broker
