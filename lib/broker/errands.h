#pragma once

#include <list>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "base/mutex.h"

namespace millrace::broker {

// Runs what may wait for the disk on a thread that nobody needs: who asked for it can wait for as
// long as suits, and leave. One after another. The thread is there only while there is something to
// do. Thread-safe.
class Errands {
 public:
  using Task = absl::AnyInvocable<void()>;
  ~Errands();  // Stop

  // Takes the task; it must not throw. False when there is no thread to be had, or after Stop.
  bool Run(Task& task);
  // Waits for what runs, and runs what is left here.
  void Stop();
  bool OnOwnThread() const;

 private:
  void Loop();

  Mutex mu_;
  std::list<Task> tasks_ ABSL_GUARDED_BY(mu_);
  std::thread thread_ ABSL_GUARDED_BY(mu_);
  bool running_ ABSL_GUARDED_BY(mu_) = false;  // the thread will look for more
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace millrace::broker
