#pragma once

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "harness/support/fatal.h"

namespace millrace::harness {

// The "--name value" pairs of a command line. Ends the process if there is anything else.
class Arguments {
 public:
  Arguments(int argc, char** argv) {
    for (int i = 1; i < argc; i += 2) {
      const std::string_view name = argv[i];
      if (!name.starts_with("--") || i + 1 == argc) Fatal("wanted --name value, found {}", name);
      values_[std::string(name.substr(2))] = argv[i + 1];
    }
  }

  std::string Text(const std::string& name, std::string otherwise) {
    const auto found = values_.find(name);
    if (found == values_.end()) return otherwise;
    std::string value = found->second;
    values_.erase(found);
    return value;
  }
  uint64_t Number(const std::string& name, uint64_t otherwise) {
    const auto found = values_.find(name);
    if (found == values_.end()) return otherwise;
    return ToNumber("--" + name, Text(name, ""));
  }
  // To be called last: names that nobody asked for are mistakes.
  void RefuseOthers() const {
    if (!values_.empty()) Fatal("unknown option --{}", values_.begin()->first);
  }

  static uint64_t ToNumber(std::string_view name, std::string_view text) {
    uint64_t number = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
      Fatal("{}: wanted a number, found '{}'", name, text);
    }
    return number;
  }
  // How much to do is said by the environment, so that one ctest serves a quick run and a long one.
  static uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text == nullptr ? otherwise : ToNumber(name, text);
  }

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace millrace::harness
