#pragma once

#include <string>

namespace millrace {

// A directory of the real file system that goes away with the object.
class TemporaryDirectory {
 public:
  // In TMPDIR, or else in /tmp.
  TemporaryDirectory();
  // In memory where the machine has such a place: for tests of many syncs, whose cost is not
  // theirs.
  static TemporaryDirectory InMemory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryDirectory(const std::string& base);
  std::string path_;
};

}  // namespace millrace
