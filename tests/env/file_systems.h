#pragma once

#include <memory>
#include <string>
#include <vector>

#include "millrace/env.h"
#include "support/temporary_directory.h"

namespace millrace {

// One of the file systems that promise the same, with an empty directory to work in.
struct FileSystemUnderTest {
  std::string name;
  std::shared_ptr<FileSystem> files;
  std::string root;
  std::shared_ptr<TemporaryDirectory> directory = nullptr;
};
FileSystemUnderTest MakeFileSystem(const std::string& name);
inline const std::vector<std::string> kFileSystems = {"real", "memory", "simulated"};

}  // namespace millrace
