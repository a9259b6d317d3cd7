#include <memory>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/status_macros.h"
#include "cli/context.h"
#include "cli/log_dump.h"
#include "cli/log_verify.h"
#include "millrace/env.h"

namespace millrace::cli {
namespace {

struct LogArguments {
  std::vector<std::string> files;
  bool deep = false, contents = false;
  std::string directory;
};

Status Dump(Context& context, const LogArguments& arguments) {
  const DumpOptions options{.deep = arguments.deep || arguments.contents,
                            .contents = arguments.contents,
                            .json = context.json};
  const auto files = FileSystem::Real();
  Status first;
  for (const std::string& path : arguments.files) {
    const Status status = DumpFile(*files, path, options, context.out);
    if (context.out.failed()) return context.out.Flush();
    if (first.ok()) {
      first = status;
    } else if (!status.ok()) {
      PrintError(status, context.json);
    }
  }
  return first;
}

}  // namespace

void AddLogCommands(CLI::App& app, Context& context) {
  CLI::App* log = app.add_subcommand("log", "Look into the files of a directory; check them");
  log->require_subcommand(1);
  log->fallthrough();

  auto dumped = std::make_shared<LogArguments>();
  CLI::App* dump = log->add_subcommand("dump", "Print what is in segments, indexes and snapshots");
  dump->add_option("files", dumped->files, "Files of a partition's folder")
      ->required()
      ->type_name("FILE...");
  dump->add_flag("--deep-iteration", dumped->deep, "The records of each batch, too");
  dump->add_flag("--print-data-log", dumped->contents, "And their keys and values");
  dump->footer(
      R"(The output is that of Kafka's kafka-dump-log.sh; --json prints a line for each batch or entry.

Example:
  millrace log dump --print-data-log data/orders-0/00000000000000000000.log)");
  dump->callback(
      [&context, dumped] { context.run = [&context, dumped] { return Dump(context, *dumped); }; });

  auto verified = std::make_shared<LogArguments>();
  CLI::App* verify =
      log->add_subcommand("verify", "Read and check every record of every partition");
  verify->add_option("directory", verified->directory, "Which; if not given, --dir")
      ->type_name("DIR");
  verify->footer(
      R"(Nothing is written, and another process may have the directory open. Exit code 3 when damage is found.

Example:
  millrace log verify data)");
  verify->callback([&context, verified] {
    context.run = [&context, verified]() -> Status {
      const std::string& directory =
          verified->directory.empty() ? context.directory : verified->directory;
      if (directory.empty()) return UsageError("the directory is missing: millrace log verify DIR");
      return VerifyDirectory(context, directory);
    };
  });
}

}  // namespace millrace::cli
