#include "env/file_util.h"

#include <memory>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"

namespace millrace {
namespace {

Status WriteAndSync(FileSystem& fs, const std::string& path, std::span<const std::byte> bytes) {
  MILLRACE_ASSIGN_OR_RETURN(const auto file, fs.Open(path, OpenMode::kCreate));
  // A crash may have left a longer one.
  MILLRACE_RETURN_IF_ERROR(file->Truncate(0));
  MILLRACE_RETURN_IF_ERROR(file->WriteAt(0, bytes));
  return file->Sync();
}

}  // namespace

std::string JoinPath(std::string_view directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  if (name.empty()) return std::string(directory);
  return fmt::format("{}{}{}", directory, directory.ends_with('/') ? "" : "/", name);
}

std::string ParentDir(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  path = path.substr(0, slash);
  while (path.ends_with('/')) path.remove_suffix(1);
  return path.empty() ? "/" : std::string(path);
}

StatusOr<std::vector<std::byte>> ReadWholeFile(FileSystem& fs, const std::string& path,
                                               uint64_t max_bytes) {
  MILLRACE_ASSIGN_OR_RETURN(const auto file, fs.Open(path, OpenMode::kRead));
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  if (size > max_bytes) {
    return MakeError(ErrorId::kCorruptLog, fmt::format("{}: holds {} bytes, at most {} are allowed",
                                                       path, size, max_bytes));
  }
  std::vector<std::byte> bytes(size);
  MILLRACE_ASSIGN_OR_RETURN(const size_t count, file->ReadAt(0, bytes));
  bytes.resize(count);  // it may have been cut since it was measured
  return bytes;
}

Status WriteFileDurably(FileSystem& fs, const std::string& path, std::span<const std::byte> bytes) {
  const std::string temporary = fmt::format("{}.tmp", path);
  Status status = WriteAndSync(fs, temporary, bytes);
  if (status.ok()) status = fs.Rename(temporary, path);
  if (!status.ok()) {
    fs.RemoveFile(temporary).IgnoreError();  // the first error is the one to report
    return status;
  }
  return fs.SyncDir(ParentDir(path));
}

Status CreateDirs(FileSystem& fs, const std::string& path) {
  const auto info = fs.Stat(path);
  if (info.ok() && info->is_directory) return absl::OkStatus();
  if (info.ok()) {
    return MakeError(ErrorId::kAlreadyExists, fmt::format("{}: is a file, not a directory", path));
  }
  if (!absl::IsNotFound(info.status())) return info.status();
  const std::string parent = ParentDir(path);
  if (parent != "." && parent != path) MILLRACE_RETURN_IF_ERROR(CreateDirs(fs, parent));
  // Somebody else may create it at the same moment.
  Status created = fs.CreateDir(path);
  if (!created.ok() && !absl::IsAlreadyExists(created)) return created;
  return fs.SyncDir(parent);
}

Status RemoveTree(FileSystem& fs, const std::string& directory) {
  const auto names = fs.List(directory);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    const std::string path = JoinPath(directory, name);
    // Removing comes first, since Stat would follow a symbolic link out of the tree.
    Status removed = fs.RemoveFile(path);
    if (removed.ok() || absl::IsNotFound(removed)) continue;
    const auto info = fs.Stat(path);
    if (!info.ok() || !info->is_directory) return removed;
    MILLRACE_RETURN_IF_ERROR(RemoveTree(fs, path));
  }
  Status removed = fs.RemoveDir(directory);
  return absl::IsNotFound(removed) ? absl::OkStatus() : removed;
}

}  // namespace millrace
