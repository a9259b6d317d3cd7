#include "client/logger.h"

#include <cstdio>
#include <iterator>

#include <fmt/format.h>

namespace millrace::client {
namespace {

std::string_view Name(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    default:
      return "error";
  }
}

// One write a line, so that the lines of several threads do not mix.
class StderrSink : public LogSink {
 public:
  void Write(LogLevel level, std::string_view, int, std::string_view message,
             const std::vector<std::pair<std::string_view, std::string>>& fields) override {
    std::string line = fmt::format("millrace: {}: {}", Name(level), message);
    for (const auto& [name, value] : fields)
      fmt::format_to(std::back_inserter(line), " {}={}", name, value);
    line += '\n';
    std::fputs(line.c_str(), stderr);
  }
};

}  // namespace

Logger::Logger(std::shared_ptr<LogSink> sink, LogLevel level)
    : sink_(sink != nullptr ? std::move(sink) : std::make_shared<StderrSink>()), level_(level) {}

void Logger::Write(LogLevel level, const char* file, int line, std::string_view message,
                   const LogFields& fields) const noexcept {
  try {
    sink_->Write(level, file, line, message, fields);
  } catch (...) {
  }
}

}  // namespace millrace::client
