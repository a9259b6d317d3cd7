#pragma once

#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "millrace/observe.h"

namespace millrace::client {

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

// A line for which there is no memory is dropped.
#define MILLRACE_LOG(logger, level, ...)                                            \
  do {                                                                              \
    if (!(logger).enabled(::millrace::LogLevel::level)) break;                      \
    try {                                                                           \
      (logger).Write(::millrace::LogLevel::level, __FILE__, __LINE__, __VA_ARGS__); \
    } catch (const std::bad_alloc&) {                                               \
    }                                                                               \
  } while (false)
