#include "harness/support/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "harness/support/fatal.h"

namespace millrace::harness {

ChildProcess::ChildProcess(const std::vector<std::string>& command) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) Fatal("pipe: {}", std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const int error = ::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  output_ = ends[0];
  if (error != 0) Fatal("{}: cannot be started: {}", command[0], std::strerror(error));
}

ChildProcess::~ChildProcess() {
  if (!waited_) {
    Kill();
    Wait();
  }
  ::close(output_);
}

bool ChildProcess::TakeLine(std::string* line) {
  const size_t end = buffer_.find('\n', taken_);
  if (end == std::string::npos) {
    buffer_.erase(0, taken_);
    taken_ = 0;
    return false;
  }
  line->assign(buffer_, taken_, end - taken_);
  taken_ = end + 1;
  return true;
}

ChildProcess::Outcome ChildProcess::ReadLine(SteadyClock::time_point deadline, std::string* line) {
  while (!TakeLine(line)) {
    if (stopped_) return Outcome::kEnd;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now());
    pollfd readable{output_, POLLIN, 0};
    const int wait_ms = static_cast<int>(std::clamp<int64_t>(left.count(), 0, 60'000));
    const int ready = ::poll(&readable, 1, wait_ms);
    if (ready == 0) return Outcome::kTimeout;
    char chunk[65536];
    const ssize_t count = ready < 0 ? -1 : ::read(output_, chunk, sizeof chunk);
    if (count < 0 && errno != EINTR) Fatal("reading from a child: {}", std::strerror(errno));
    if (count == 0) return Outcome::kEnd;
    if (count > 0) buffer_.append(chunk, static_cast<size_t>(count));
  }
  return Outcome::kLine;
}

void ChildProcess::StopReading() { stopped_ = true; }

void ChildProcess::Kill() {
  if (!waited_) ::kill(pid_, SIGKILL);
}

int ChildProcess::Wait() {
  while (!waited_ && ::waitpid(pid_, &status_, 0) != pid_) {
    if (errno != EINTR) Fatal("waitpid: {}", std::strerror(errno));
  }
  waited_ = true;
  return status_;
}

bool ChildProcess::WasKilled() const {
  return WIFSIGNALED(status_) && WTERMSIG(status_) == SIGKILL;
}

std::string ChildProcess::HowItEnded() const {
  if (WIFEXITED(status_)) return fmt::format("exit code {}", WEXITSTATUS(status_));
  return fmt::format("signal {} ({})", WTERMSIG(status_), ::strsignal(WTERMSIG(status_)));
}

}  // namespace millrace::harness
