#include "base/no_throw.h"

#include "base/errors.h"

namespace millrace {

const Status& OutOfMemory() {
  // Never destroyed: a host's static objects may still make calls while the process ends.
  static const auto* const status =
      new Status(MakeError(ErrorId::kOutOfMemory,
                           "out of memory: the call has done nothing, or not "
                           "all; what was acknowledged stands"));
  return *status;
}

namespace {
[[maybe_unused]] const Status& made_at_start = OutOfMemory();
}  // namespace

}  // namespace millrace
