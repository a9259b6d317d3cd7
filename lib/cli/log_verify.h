#pragma once

#include <string>

#include "cli/context.h"

namespace millrace::cli {

// Reads every batch of every partition in `directory` from the device, checks CRCs, continuity,
// segment sums and that each record decodes, and prints a table and what is damaged. Nothing is
// written, and a writer may be at work. Data loss when anything is damaged.
Status VerifyDirectory(Context& context, const std::string& directory);

}  // namespace millrace::cli
