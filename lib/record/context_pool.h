#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "base/mutex.h"

namespace millrace::record::internal {

// Keeps a few contexts of a compression library, so that a small batch does not pay for making one.
// They belong to the process and not to its threads: what is kept is bounded however many threads
// there are, and a client that a static object closes at exit still finds them. Thread-safe.
//
// `Kind` has a type Context, New() (nullptr where memory is out), Free(Context*), and
// MayKeep(Context*): false for one that grew beyond what is worth keeping.
template <typename Kind>
class ContextPool {
 public:
  using Context = typename Kind::Context;
  struct Return {
    void operator()(Context* context) const { Shared().Put(context); }
  };
  // A context for its holder alone, in whatever state the one before left it. Null: out of memory.
  using Lease = std::unique_ptr<Context, Return>;

  static Lease Take() {
    Context* context = Shared().Pop();
    return Lease(context != nullptr ? context : Kind::New());
  }

 private:
  static constexpr size_t kKept = 4;

  // Never destroyed, see above.
  static ContextPool& Shared() {
    static ContextPool& shared = *new ContextPool;
    return shared;
  }
  Context* Pop() {
    MutexLock lock(mu_);
    return count_ == 0 ? nullptr : kept_[--count_];
  }
  void Put(Context* context) {
    if (Kind::MayKeep(context)) {
      MutexLock lock(mu_);
      if (count_ < kKept) {
        kept_[count_++] = context;
        return;
      }
    }
    Kind::Free(context);
  }

  Mutex mu_;
  std::array<Context*, kKept> kept_ ABSL_GUARDED_BY(mu_) = {};
  size_t count_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace millrace::record::internal
