#include <csignal>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "absl/strings/ascii.h"
#include "cli/context.h"
#include "cli/help.h"

namespace millrace::cli {
namespace {

int Finish(Context& context, Status status) {
  const Status flushed = context.out.Flush();
  if (status.ok() || IsBrokenPipe(status)) status = flushed;
  if (IsBrokenPipe(status)) return kExitOk;
  if (!status.ok()) PrintError(status, context.json);
  return ExitCodeOf(status);
}

int Main(int argc, char** argv) {
  // A reader that goes away (`| head`) is seen as an error of the write, so that a consumer can
  // still commit and close.
  std::signal(SIGPIPE, SIG_IGN);
  Context context;
  CLI::App app;
  DefineCommands(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::ParseError& error) {
    // By our rule for messages; CLI11's begin with a capital.
    std::string message = error.what();
    if (!message.empty())
      message.front() = absl::ascii_tolower(static_cast<uint8_t>(message.front()));
    return Finish(context, UsageError(message));
  }
  return Finish(context, context.run());
}

}  // namespace
}  // namespace millrace::cli

int main(int argc, char** argv) { return millrace::cli::Main(argc, argv); }
