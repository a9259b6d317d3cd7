// docs/bad-inputs.md names a test for each row; a name that is no test would be a promise without
// proof.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <catch2/catch.hpp>

namespace millrace {
namespace {

namespace fs = std::filesystem;

std::string Read(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST_CASE("docs/bad-inputs.md names tests that there are", "[base][docs]") {
  const fs::path root = MILLRACE_SOURCE_DIR;
  std::string tests;
  for (const auto& entry : fs::recursive_directory_iterator(root / "tests"))
    if (entry.path().string().ends_with("_test.cc")) tests += Read(entry.path());
  const std::string harnesses = Read(root / "tests/harness.sh");

  std::stringstream page(Read(root / "docs/bad-inputs.md"));
  int rows = 0;
  for (std::string line; std::getline(page, line);) {
    if (!line.starts_with("| ") || line.starts_with("| input") || line.starts_with("| damage"))
      continue;
    ++rows;
    INFO(line);
    CHECK(std::ranges::count(line, '|') == 4);
    std::stringstream cell(line.substr(line.rfind('|', line.size() - 2)));
    int names = 0;
    for (std::string text, name; std::getline(cell, text, '`') && std::getline(cell, name, '`');) {
      ++names;
      INFO(name);
      CHECK((tests.find("\"" + name + "\"") != std::string::npos ||
             harnesses.find("  " + name + ")") != std::string::npos));
    }
    CHECK(names > 0);
  }
  CHECK(rows > 70);
}

}  // namespace
}  // namespace millrace
