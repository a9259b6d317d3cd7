#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "cli/output.h"
#include "millrace/broker.h"
#include "millrace/status.h"

namespace CLI {
class App;
}

namespace millrace::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitError = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitDataLoss = 3;

// What every command shares. Parsing fills it and leaves in `run` what the command line asks for.
struct Context {
  std::string directory;
  bool json = false;
  Output out;
  std::function<Status()> run;
};

// An error of the command line itself: exit code 2, with a pointer to --help.
Status UsageError(std::string_view message);
int ExitCodeOf(const Status& status);
// `status` in words on stderr; as a line of JSON when asked for.
void PrintError(const Status& status, bool json);

enum class Access {
  kRead,    // beside a writer too: nothing is locked or written
  kWrite,   // the directory must exist; one process at a time
  kCreate,  // as kWrite; made when missing
};
StatusOr<Broker> OpenBroker(const Context& context, Access access, Flush flush = Flush::kEachBatch);

void AddTopicCommands(CLI::App& app, Context& context);
void AddProduceCommand(CLI::App& app, Context& context);
void AddConsumeCommand(CLI::App& app, Context& context);
void AddGroupCommands(CLI::App& app, Context& context);
void AddLogCommands(CLI::App& app, Context& context);
void AddBenchCommand(CLI::App& app, Context& context);
void AddCompletionCommand(CLI::App& app, Context& context);

}  // namespace millrace::cli
