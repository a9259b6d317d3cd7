#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace millrace::harness {

using SteadyClock = std::chrono::steady_clock;

// A program that we started and whose standard output we read. Belongs to one thread.
class ChildProcess {
 public:
  // Ends this process with a message if the program cannot be started.
  explicit ChildProcess(const std::vector<std::string>& command);
  ~ChildProcess();  // kills what still runs, and waits for it
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  enum class Outcome { kLine, kTimeout, kEnd };
  // The next whole line without its end. kEnd: the child has closed its output; a piece of a line
  // that a kill left is dropped.
  Outcome ReadLine(SteadyClock::time_point deadline, std::string* line);
  // What has arrived is what ReadLine returns from now on; nothing that comes later.
  void StopReading();

  void Kill();                     // SIGKILL; harmless if it has ended
  int Wait();                      // its wait status
  bool WasKilled() const;          // after Wait: it ended by SIGKILL
  std::string HowItEnded() const;  // after Wait, in words

 private:
  bool TakeLine(std::string* line);

  pid_t pid_ = -1;
  int output_ = -1;
  bool stopped_ = false;
  bool waited_ = false;
  int status_ = 0;
  std::string buffer_;
  size_t taken_ = 0;
};

}  // namespace millrace::harness
