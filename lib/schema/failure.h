#pragma once

#include <string>
#include <string_view>

#include "base/errors.h"
#include "schema/schema.h"

namespace millrace::schema::internal {

// The first thing that went wrong in a message, and where. Costs one test of a bool a field while
// all is well; the path is put together while the recursion unwinds.
class Failure {
 public:
  bool failed() const { return failed_; }
  void Set(std::string what) {
    if (failed_) return;
    failed_ = true;
    what_ = std::move(what);
  }
  void Within(std::string_view field);
  void WithinElement(size_t index);
  Status ToStatus(ErrorId id, const Description& message, int16_t version) const;

 private:
  bool failed_ = false;
  std::string what_;
  std::string path_;
};

Status CheckVersion(const Description& message, int16_t version);

}  // namespace millrace::schema::internal
