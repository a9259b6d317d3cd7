// The parent's side: fork, exec, listen, kill.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sstream>

#include <fmt/format.h>

#include "streaming.h"

namespace demo {
namespace {

using millrace::Status;

struct Child {
  pid_t pid = -1;
  std::FILE* says = nullptr;
};

millrace::StatusOr<Child> Start(const std::string& directory, const std::string& input, bool hang) {
  int ends[2];
  if (::pipe(ends) != 0) return absl::InternalError(fmt::format("pipe: {}", std::strerror(errno)));
  const pid_t pid = ::fork();
  if (pid < 0) return absl::InternalError(fmt::format("fork: {}", std::strerror(errno)));
  if (pid == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    ::close(ends[0]);
    ::close(ends[1]);
    ::execl("/proc/self/exe", "millrace-demo", hang ? "--child-hang" : "--child", directory.c_str(),
            input.c_str(), nullptr);
    ::_exit(127);
  }
  ::close(ends[1]);
  return Child{.pid = pid, .says = ::fdopen(ends[0], "r")};
}

void Take(const std::string& line, StreamingReport& report) {
  std::istringstream words(line);
  std::string what;
  words >> what;
  if (what == "open") words >> report.open_ms >> report.found;
  if (what == "at") words >> report.appended >> report.worked_on;
  if (what == "done") words >> report.delivered_again;
  if (what == "assigned") std::getline(words >> std::ws, report.assigned);
  if (what == "takeover") {
    words >> report.held >> report.takeover_seconds;
    std::getline(words >> std::ws, report.taken_over);
  }
}

}  // namespace

millrace::StatusOr<StreamingReport> RunStreaming(const std::string& directory,
                                                 const std::string& input, bool hang,
                                                 int64_t kill_after) {
  const auto child = Start(directory, input, hang);
  if (!child.ok()) return child.status();
  StreamingReport report;
  char line[512];
  while (std::fgets(line, sizeof line, child->says) != nullptr) {
    Take(line, report);
    if (report.killed || kill_after == 0 || report.appended < kill_after) continue;
    ::kill(child->pid, SIGKILL);
    report.killed = true;
  }
  std::fclose(child->says);
  int status = 0;
  while (::waitpid(child->pid, &status, 0) < 0 && errno == EINTR) continue;
  const bool by_our_hand = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && report.killed;
  if (kill_after > 0 && !by_our_hand)
    return absl::InternalError("the first process was not killed in the middle");
  if (kill_after == 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
    return absl::InternalError("the second process failed");
  return report;
}

}  // namespace demo
