#pragma once

#include <cstdio>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "millrace/status.h"

namespace millrace::cli {

// Standard output, buffered. Once a write failed nothing more is written. Belongs to one thread.
class Output {
 public:
  explicit Output(std::FILE* file = stdout) : file_(file) {}
  void Write(std::string_view text);
  void Line(std::string_view text);
  // What was written reaches the reader. OK; or why it did not: see IsBrokenPipe.
  Status Flush();
  bool failed() const { return error_ != 0; }
  // Whether nobody reads any more the pipe that it is, which without a write is seen so alone.
  bool ReaderGone() const;

 private:
  Status error() const;
  std::FILE* file_;
  int error_ = 0;  // errno of the first failure
};

// The reader of the output has gone, as `| head` does: a reason to end, not an error to print.
bool IsBrokenPipe(const Status& status);

// For messages. Not fmt::print, which throws where standard error is closed or its disk is full.
template <typename... T>
void PrintToStderr(fmt::format_string<T...> format, T&&... values) {
  const std::string text = fmt::format(format, std::forward<T>(values)...);
  std::fwrite(text.data(), 1, text.size(), stderr);
}

// A text table: numbers to the right, everything else to the left; two spaces between columns.
class Table {
 public:
  explicit Table(std::vector<std::string> heading) : rows_{std::move(heading)} {}
  void Row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::string Text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// A line on a terminal that is written over and over; nothing when stderr is not a terminal.
class ProgressLine {
 public:
  ProgressLine();
  bool on() const { return on_; }
  void Show(std::string_view text);
  void Clear();

 private:
  bool on_ = false;
  size_t width_ = 0;
};

std::string WithThousands(int64_t n);  // "1,234,567"
std::string Bytes10(double bytes);     // "1.2 MB"

}  // namespace millrace::cli
