#pragma once

#include <string>

namespace millrace::harness {

enum class Place {
  kMemory,  // a memory file system if there is one: what syncs a lot is quick there
  kDisk,
};

// A new, empty directory whose name begins with "millrace-" and `name`. The caller removes it.
std::string MakeWorkDirectory(const std::string& name, Place place = Place::kMemory);

}  // namespace millrace::harness
