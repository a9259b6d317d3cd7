#pragma once

#include <cstdio>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "millrace/env.h"
#include "millrace/status.h"

namespace millrace::cli {

// Lines of standard input or of a file, without their ends ("\n"; a "\r" before it stays, it may be
// data). Holds one line and one chunk at a time. Belongs to one thread.
class LineReader {
 public:
  static constexpr size_t kMaxLineBytes = size_t{64} << 20;

  // `path` empty or "-": standard input. `stop` ends a wait for more of it as the end of input
  // does.
  static StatusOr<LineReader> Open(const std::string& path, std::stop_token stop);

  // The next line, valid until the next call; nullopt at the end of the input.
  StatusOr<std::optional<std::string_view>> Next();
  int64_t line_number() const { return line_number_; }  // of the last line, from 1

 private:
  // Reads another chunk behind what is there; false at the end of the input.
  StatusOr<bool> Fill();
  // Standard input has something to read, or has ended; false once `stop_` is requested.
  StatusOr<bool> WaitForInput() const;

  std::string name_ = "standard input";
  std::stop_token stop_;
  std::shared_ptr<FileSystem> files_;
  std::unique_ptr<File> file_;  // null: standard input
  uint64_t position_ = 0;
  std::string buffer_;
  size_t start_ = 0;    // of the next line in buffer_
  size_t scanned_ = 0;  // no line end in [start_, scanned_)
  bool at_end_ = false;
  int64_t line_number_ = 0;
};

}  // namespace millrace::cli
