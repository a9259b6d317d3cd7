#include "cli/line_reader.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "cli/context.h"

namespace millrace::cli {
namespace {

Status InputError(std::string_view name) {
  return MakeError(ErrorId::kIoError, fmt::format("{}: {}", name, std::strerror(errno)));
}

}  // namespace

StatusOr<LineReader> LineReader::Open(const std::string& path, std::stop_token stop) {
  LineReader reader;
  reader.stop_ = std::move(stop);
  if (path.empty() || path == "-") return reader;
  reader.name_ = path;
  reader.files_ = FileSystem::Real();
  MILLRACE_ASSIGN_OR_RETURN(reader.file_, reader.files_->Open(path, OpenMode::kRead));
  return reader;
}

StatusOr<bool> LineReader::WaitForInput() const {
  constexpr int kLookForStopMs = 100;
  while (!stop_.stop_requested()) {
    pollfd input = {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&input, 1, kLookForStopMs);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return InputError(name_);
  }
  return false;
}

StatusOr<bool> LineReader::Fill() {
  constexpr size_t kChunkBytes = 64 << 10;
  buffer_.erase(0, start_);
  scanned_ -= start_;
  start_ = 0;
  const size_t old_size = buffer_.size();
  buffer_.resize(old_size + kChunkBytes);
  size_t got = 0;
  if (file_) {
    const auto out = std::as_writable_bytes(std::span(buffer_)).subspan(old_size);
    const StatusOr<size_t> read = file_->ReadAt(position_, out);
    if (!read.ok()) return Annotate(read.status(), "pass a pipe on standard input");
    got = *read;
    position_ += got;
  } else {
    // Not fread: it would wait for a whole chunk, and what is typed or trickles in is due at once.
    MILLRACE_ASSIGN_OR_RETURN(const bool ready, WaitForInput());
    if (ready) {
      const ssize_t read = ::read(STDIN_FILENO, buffer_.data() + old_size, kChunkBytes);
      if (read < 0) return InputError(name_);
      got = static_cast<size_t>(read);
    }
  }
  buffer_.resize(old_size + got);
  return got > 0;
}

StatusOr<std::optional<std::string_view>> LineReader::Next() {
  for (;;) {
    const size_t end = buffer_.find('\n', scanned_);
    if (end != buffer_.npos) {
      const std::string_view line(buffer_.data() + start_, end - start_);
      start_ = scanned_ = end + 1;
      ++line_number_;
      return line;
    }
    scanned_ = buffer_.size();
    if (scanned_ - start_ > kMaxLineBytes) {
      return MakeError(ErrorId::kRecordTooLarge,
                       fmt::format("{}: line {} is longer than {} bytes", name_, line_number_ + 1,
                                   kMaxLineBytes));
    }
    if (!at_end_) {
      MILLRACE_ASSIGN_OR_RETURN(const bool more, Fill());
      at_end_ = !more;
      continue;
    }
    if (start_ == buffer_.size()) return std::nullopt;
    const std::string_view line(buffer_.data() + start_, buffer_.size() - start_);
    start_ = buffer_.size();
    ++line_number_;
    return line;
  }
}

}  // namespace millrace::cli
