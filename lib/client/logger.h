#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/observe.h"

namespace millrace::client {

// The error as people read it, without the payload that DetailOf reads.
inline std::string Text(const Status& status) {
  return status.ToString(absl::StatusToStringMode::kWithNoExtraData);
}

using LogFields = std::vector<std::pair<std::string_view, std::string>>;

// Hands lines at or above a level to a sink (stderr when null). Thread-safe.
class Logger {
 public:
  Logger(std::shared_ptr<LogSink> sink, LogLevel level);
  bool enabled(LogLevel level) const { return level >= level_ && level_ != LogLevel::kOff; }
  // What the sink throws is dropped: there is nowhere left to report it.
  void Write(LogLevel level, const char* file, int line, std::string_view message,
             const LogFields& fields = {}) const noexcept;

 private:
  const std::shared_ptr<LogSink> sink_;
  const LogLevel level_;
};

}  // namespace millrace::client

#define MILLRACE_LOG(logger, level, ...)                                            \
  do {                                                                              \
    if ((logger).enabled(::millrace::LogLevel::level))                              \
      (logger).Write(::millrace::LogLevel::level, __FILE__, __LINE__, __VA_ARGS__); \
  } while (false)
