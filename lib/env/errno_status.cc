#include "env/errno_status.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/errors.h"

namespace millrace {
namespace {

ErrorId IdOf(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return ErrorId::kNoSpace;
    case ENOENT:
      return ErrorId::kNotFound;
    case EEXIST:
      return ErrorId::kAlreadyExists;
    case EMFILE:
    case ENFILE:
      return ErrorId::kTooManyFiles;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorId::kPermissionDenied;
    default:
      return ErrorId::kIoError;
  }
}

// What the text of the C library leaves out: what to change.
std::string_view HintOf(int error) {
  switch (error) {
    case EMFILE:
      return " (raise RLIMIT_NOFILE, the limit of open files of a process)";
    case ENFILE:
      return " (raise fs.file-max, the limit of open files of the machine; RLIMIT_NOFILE is not "
             "reached)";
    case EDQUOT:
      return " (raise the quota of the user or the project)";
    default:
      return "";
  }
}

}  // namespace

Status ErrnoStatus(int error, std::string_view what) {
  char buffer[128];
  // The GNU version: the text may or may not be in the buffer.
  const char* text = ::strerror_r(error, buffer, sizeof buffer);
  return MakeError(IdOf(error), fmt::format("{}: {}{}", what, text, HintOf(error)));
}

}  // namespace millrace
