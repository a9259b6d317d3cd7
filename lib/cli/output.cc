#include "cli/output.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/errors.h"

namespace millrace::cli {
namespace {

constexpr char kBrokenPipeUrl[] = "millrace/broken-pipe";

bool IsNumber(std::string_view cell) {
  return !cell.empty() && std::all_of(cell.begin(), cell.end(), [](char c) {
    return std::isdigit(static_cast<unsigned char>(c)) || c == ',' || c == '.' || c == '-';
  });
}

// Columns that a terminal needs for it: code points, which is right for all that we print.
size_t WidthOf(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }));
}

}  // namespace

void Output::Write(std::string_view text) {
  if (failed() || text.empty()) return;
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size()) error_ = errno ? errno : EIO;
}

void Output::Line(std::string_view text) {
  Write(text);
  Write("\n");
}

Status Output::Flush() {
  if (!failed() && std::fflush(file_) != 0) error_ = errno ? errno : EIO;
  return error();
}

bool Output::ReaderGone() const {
  pollfd output = {.fd = ::fileno(file_), .events = 0, .revents = 0};
  return ::poll(&output, 1, 0) == 1 && (output.revents & POLLERR) != 0;
}

Status Output::error() const {
  if (error_ == 0) return absl::OkStatus();
  Status status =
      MakeError(ErrorId::kIoError, fmt::format("standard output: {}", std::strerror(error_)));
  if (error_ == EPIPE) status.SetPayload(kBrokenPipeUrl, absl::Cord("1"));
  return status;
}

bool IsBrokenPipe(const Status& status) { return status.GetPayload(kBrokenPipeUrl).has_value(); }

std::string Table::Text() const {
  const size_t columns = rows_.front().size();
  std::vector<size_t> width(columns, 0);
  std::vector<bool> numeric(columns, rows_.size() > 1);
  for (size_t row = 0; row < rows_.size(); ++row) {
    for (size_t column = 0; column < columns; ++column) {
      const std::string& cell = rows_[row][column];
      width[column] = std::max(width[column], WidthOf(cell));
      if (row > 0 && !IsNumber(cell)) numeric[column] = false;
    }
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t column = 0; column < columns; ++column) {
      const std::string pad(width[column] - WidthOf(row[column]), ' ');
      if (column > 0) line += "  ";
      line += numeric[column] ? pad + row[column] : row[column] + pad;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line;
    text += '\n';
  }
  return text;
}

ProgressLine::ProgressLine() : on_(::isatty(STDERR_FILENO) == 1) {}

void ProgressLine::Show(std::string_view text) {
  if (!on_) return;
  const size_t width = WidthOf(text);
  PrintToStderr("\r{}{}", text, std::string(width_ > width ? width_ - width : 0, ' '));
  std::fflush(stderr);
  width_ = width;
}

void ProgressLine::Clear() {
  if (on_ && width_ > 0) PrintToStderr("\r{}\r", std::string(width_, ' '));
  width_ = 0;
}

std::string WithThousands(int64_t n) {
  std::string digits = std::to_string(n);
  const size_t first = n < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

std::string Bytes10(double bytes) {
  static constexpr std::string_view kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < std::size(kUnits)) {
    bytes /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

}  // namespace millrace::cli
