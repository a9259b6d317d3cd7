#pragma once

#include <string>

#include "base/mutex.h"
#include "millrace/env.h"

namespace millrace::broker {

// A file of real blocks that is given back to a full disk, so that commits, metadata and recovery
// go on when users' appends do not. Thread-safe.
class Ballast {
 public:
  static constexpr uint64_t kBytes = 1 << 20;

  // Borrows `files`. An empty path: there is none.
  Ballast(FileSystem& files, std::string path) : files_(files), path_(std::move(path)) {}
  // Removes the file; true when there was one.
  bool Release();
  // Makes the file if it is not there. no_space when the disk is still full.
  Status Restore();

 private:
  FileSystem& files_;
  const std::string path_;
  Mutex mu_;
};

}  // namespace millrace::broker
