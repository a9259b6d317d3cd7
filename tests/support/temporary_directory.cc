#include "support/temporary_directory.h"

#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "env/file_util.h"
#include "millrace/env.h"

namespace millrace {
namespace {

std::string Base() {
  const char* const base = ::getenv("TMPDIR");
  return base == nullptr ? "/tmp" : base;
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() : TemporaryDirectory(Base()) {}
TemporaryDirectory TemporaryDirectory::InMemory() {
  constexpr const char* kSharedMemory = "/dev/shm";
  return TemporaryDirectory(::access(kSharedMemory, W_OK) == 0 ? kSharedMemory : Base());
}

TemporaryDirectory::TemporaryDirectory(const std::string& base)
    : path_(JoinPath(base, "millrace-test-XXXXXX")) {
  REQUIRE(::mkdtemp(path_.data()) != nullptr);
}

TemporaryDirectory::~TemporaryDirectory() {
  const Status removed = RemoveTree(*FileSystem::Real(), path_);
  if (!removed.ok()) WARN(removed.ToString());
}

}  // namespace millrace
