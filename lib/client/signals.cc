#include <signal.h>

#include <array>
#include <atomic>
#include <csignal>
#include <system_error>
#include <thread>

#include "env/bell.h"
#include "millrace/env.h"
#include "millrace/run.h"

namespace millrace {
namespace {

// What a signal finds. Made once and never destroyed: a signal may come until the process is gone.
struct Signals {
  static constexpr int kCount = 65;  // NSIG of Linux
  Bell bell;
  std::stop_source stop;
  std::array<std::atomic<bool>, kCount> ours{};
  std::array<struct sigaction, kCount> before{};
};
std::atomic<Signals*> signals_now{nullptr};

// Gives every signal back, so that the next one acts as if StopOnSignals had not been called, and
// wakes the thread that requests the stop: a stop_source must not be used here, it takes locks.
void OnSignal(int) {
  Signals& signals = *signals_now.load(std::memory_order_relaxed);
  for (int i = 1; i < Signals::kCount; ++i)
    if (signals.ours[static_cast<size_t>(i)].exchange(false))
      ::sigaction(i, &signals.before[static_cast<size_t>(i)], nullptr);
  signals.bell.Ring();
}

Signals* Make() {
  auto* const signals = new Signals;
  signals_now.store(signals);
  try {
    std::thread([signals] {
      signals->bell.Wait(*Clock::Real(), 0, absl::InfiniteDuration());
      while (signals->bell.count() == 0)
        signals->bell.Wait(*Clock::Real(), 0, absl::InfiniteDuration());
      signals->stop.request_stop();
    }).detach();
  } catch (const std::system_error&) {
    // No thread to be had: signals keep their meaning.
    return nullptr;
  }
  return signals;
}

}  // namespace

std::stop_token StopOnSignals(std::initializer_list<int> which) {
  static Signals* const signals = Make();
  if (signals == nullptr) return {};
  for (const int number : which) {
    if (number < 1 || number >= Signals::kCount) continue;
    const auto index = static_cast<size_t>(number);
    if (signals->ours[index].load()) continue;
    struct sigaction action{};
    action.sa_handler = OnSignal;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    if (::sigaction(number, nullptr, &signals->before[index]) != 0) continue;
    signals->ours[index].store(true);
    if (::sigaction(number, &action, nullptr) != 0) signals->ours[index].store(false);
  }
  return signals->stop.get_token();
}

}  // namespace millrace
