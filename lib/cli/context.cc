#include "cli/context.h"

#include <memory>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "cli/json.h"
#include "millrace/observe.h"

namespace millrace::cli {
namespace {

constexpr char kUsageUrl[] = "millrace/usage";

// The library's warnings, in the voice of the command.
class StderrLog : public LogSink {
 public:
  void Write(LogLevel level, std::string_view, int, std::string_view message,
             const std::vector<std::pair<std::string_view, std::string>>& fields) override {
    std::string line =
        fmt::format("millrace: {}: {}", level >= LogLevel::kError ? "error" : "warning", message);
    for (const auto& [name, value] : fields) line += fmt::format(" {}={}", name, value);
    PrintToStderr("{}\n", line);
  }
};

std::string_view View(absl::string_view text) { return {text.data(), text.size()}; }

}  // namespace

Status UsageError(std::string_view message) {
  Status status = MakeError(ErrorId::kInvalidArgument, message);
  status.SetPayload(kUsageUrl, absl::Cord("1"));
  return status;
}

int ExitCodeOf(const Status& status) {
  if (status.ok()) return kExitOk;
  if (status.GetPayload(kUsageUrl).has_value()) return kExitUsage;
  return absl::IsDataLoss(status) ? kExitDataLoss : kExitError;
}

void PrintError(const Status& status, bool json) {
  const std::string_view message = View(status.message());
  const bool usage = ExitCodeOf(status) == kExitUsage;
  if (!json) {
    PrintToStderr("millrace: {}\n", message);
    if (usage) PrintToStderr("Run 'millrace --help', or a command with --help.\n");
    return;
  }
  JsonWriter line;
  line.BeginObject().Key("error").BeginObject();
  const auto detail = DetailOf(status);
  line.Key("name").Text(usage ? "usage" : detail ? detail->name : "unknown");
  if (detail && !usage) line.Key("kafka_code").Number(detail->code);
  if (detail && !usage) line.Key("retriable").Bool(detail->retriable);
  line.Key("message").Text(message).End().End();
  PrintToStderr("{}\n", line.str());
}

StatusOr<Broker> OpenBroker(const Context& context, Access access, Flush flush) {
  if (context.directory.empty())
    return UsageError("--dir DIR is missing (or set MILLRACE_DIR): the directory to work on");
  BrokerOptions options;
  options.directory = context.directory;
  options.create_if_missing = access == Access::kCreate;
  options.read_only = access == Access::kRead;
  options.flush = flush;
  options.client.client_id = "millrace-cli";
  options.client.log = std::make_shared<StderrLog>();
  return Broker::Open(std::move(options));
}

}  // namespace millrace::cli
