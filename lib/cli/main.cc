#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "absl/strings/ascii.h"
#include "cli/context.h"
#include "cli/help.h"

namespace millrace::cli {
namespace {

// Holds the numbers of standard streams that are closed: the next file opened would get them, and a
// log be taken for the input or written over by the output. What is opened here fails to be used.
void HoldStandardStreams() {
  for (;;) {
    const int fd = ::open("/dev/null", O_PATH | O_CLOEXEC);
    if (fd < 0) return;
    if (fd > 2) {
      ::close(fd);
      return;
    }
  }
}

int Finish(Context& context, Status status) {
  const Status flushed = context.out.Flush();
  if (status.ok() || IsBrokenPipe(status)) status = flushed;
  if (IsBrokenPipe(status)) return kExitOk;
  if (!status.ok()) PrintError(status, context.json);
  return ExitCodeOf(status);
}

std::string MessageOf(const CLI::ParseError& error, const CLI::App& app) {
  // A command that is spelled wrong is to CLI11 one that is missing, with a word too many.
  const std::vector<std::string> unknown = app.remaining(true);
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError) &&
      std::string_view(error.what()).find("subcommand") != std::string_view::npos &&
      !unknown.empty()) {
    const bool option = unknown.front().starts_with('-');
    return fmt::format("there is no {} '{}'", option ? "option" : "command", unknown.front());
  }
  std::string message = error.what();
  // By our rule for messages; CLI11's begin with a capital.
  if (!message.empty())
    message.front() = absl::ascii_tolower(static_cast<uint8_t>(message.front()));
  return message;
}

int Main(int argc, char** argv) {
  HoldStandardStreams();
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
    return Finish(context, UsageError(MessageOf(error, app)));
  }
  return Finish(context, context.run());
}

}  // namespace
}  // namespace millrace::cli

int main(int argc, char** argv) { return millrace::cli::Main(argc, argv); }
