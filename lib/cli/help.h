#pragma once

#include "cli/context.h"

namespace millrace::cli {

// The whole tree of commands and options. Parsing leaves what to do in context.run.
void DefineCommands(CLI::App& app, Context& context);

}  // namespace millrace::cli
