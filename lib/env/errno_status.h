#pragma once

#include <string_view>

#include "millrace/status.h"

namespace millrace {

// The error of a file operation that failed with `error`, an errno. `what` names the operation, the
// path and, where there is one, the position: "write of 512 bytes at position 0 of a/b".
Status ErrnoStatus(int error, std::string_view what);

}  // namespace millrace
