#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/env.h"

namespace millrace {

// "a" and "b" make "a/b"; an empty part leaves the other.
std::string JoinPath(std::string_view directory, std::string_view name);
// The directory that holds the entry: "a/b" -> "a", "/a" -> "/", "a" -> ".".
std::string ParentDir(std::string_view path);

// All of the file. corrupt_log when it holds more than `max_bytes`: nothing is allocated then.
StatusOr<std::vector<std::byte>> ReadWholeFile(FileSystem& fs, const std::string& path,
                                               uint64_t max_bytes);

// Puts `bytes` in the place of the file, so that a power cut at any moment leaves the old contents
// or the new ones: writes and syncs `path.tmp`, renames it, syncs the directory. On an error
// `path.tmp` is removed; if the last sync failed, either contents may be there. Belongs to one
// caller a path at a time, since they would share `path.tmp`.
Status WriteFileDurably(FileSystem& fs, const std::string& path, std::span<const std::byte> bytes);

// Creates the directory and its missing parents, and syncs each directory that got an entry.
Status CreateDirs(FileSystem& fs, const std::string& path);

// Removes the directory and all that is in it. Symbolic links are removed, never followed. OK when
// it is not there. Durable only after SyncDir of its parent.
Status RemoveTree(FileSystem& fs, const std::string& directory);

}  // namespace millrace
