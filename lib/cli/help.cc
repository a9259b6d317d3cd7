#include "cli/help.h"

#include <CLI/CLI.hpp>

namespace millrace::cli {
namespace {

constexpr char kExamples[] = R"(Examples:
  millrace --dir data topic create orders --partitions 4
  seq 10 | millrace --dir data produce orders
  millrace --dir data consume orders --from beginning -e
  millrace --dir data consume orders --group billing -f '%p:%o %k=%s\n'
  millrace --dir data group describe billing
  millrace log dump --print-data-log data/orders-0/00000000000000000000.log
  millrace log verify data

Exit codes: 0 done, 1 error, 2 wrong usage, 3 data is damaged.
Results go to standard output; errors and progress to standard error.)";

}  // namespace

void DefineCommands(CLI::App& app, Context& context) {
  app.name("millrace");
  app.description("Partitioned, durable, replayable logs in a directory. No server is needed.");
  app.footer(kExamples);
  app.set_version_flag("--version", "millrace " MILLRACE_VERSION);
  app.require_subcommand(1);
  // --dir and --json may stand before or after the command.
  app.fallthrough();
  app.add_option("--dir,-d", context.directory, "The directory that holds the logs")
      ->envname("MILLRACE_DIR")
      ->type_name("DIR");
  app.add_flag("--json", context.json, "Print JSON: one document, or a line for each record");

  AddTopicCommands(app, context);
  AddProduceCommand(app, context);
  AddConsumeCommand(app, context);
  AddGroupCommands(app, context);
  AddLogCommands(app, context);
  AddBenchCommand(app, context);
  AddCompletionCommand(app, context);
}

}  // namespace millrace::cli
