#pragma once

#include <memory>
#include <string>

#include "millrace/env.h"

namespace millrace {

// Takes the lock of FileSystem::Lock on a real file.
StatusOr<std::unique_ptr<FileLock>> TakePosixLock(const std::string& path);

}  // namespace millrace
