#include "client/mark_tracker.h"

#include <algorithm>

namespace millrace::client {

void MarkTracker::Returned(std::span<const Offset> offsets, Offset next) {
  MutexLock lock(mu_);
  if (offsets.empty()) {
    // Only control records: reading went on over them, and so does the prefix where it was there.
    if (runs_.empty())
      prefix_ = next;
    else
      runs_.back().next = next;
    return;
  }
  Run run{.first = offsets.front(), .next = next, .offsets = {}, .done = {}};
  run.done.resize(offsets.size());
  const bool dense = offsets.back() - offsets.front() + 1 == static_cast<Offset>(offsets.size());
  if (!dense) run.offsets.assign(offsets.begin(), offsets.end());
  if (runs_.empty()) prefix_ = run.first;
  runs_.push_back(std::move(run));
  outstanding_ += offsets.size();
}

void MarkTracker::Unreturn(Offset from) {
  MutexLock lock(mu_);
  while (!runs_.empty() && runs_.back().first >= from) {
    outstanding_ -= static_cast<size_t>(std::ranges::count(runs_.back().done, false));
    runs_.pop_back();
  }
}

void MarkTracker::Done(Offset offset) {
  MutexLock lock(mu_);
  const auto found = std::ranges::upper_bound(runs_, offset, {}, &Run::first);
  if (found == runs_.begin()) return;
  Run& run = *std::prev(found);
  size_t index = static_cast<size_t>(offset - run.first);
  if (!run.offsets.empty()) {
    const auto at = std::ranges::lower_bound(run.offsets, offset);
    if (at == run.offsets.end() || *at != offset) return;
    index = static_cast<size_t>(at - run.offsets.begin());
  }
  if (index >= run.done.size() || run.done[index]) return;
  run.done[index] = true;
  --outstanding_;
  Advance();
}

void MarkTracker::Advance() {
  while (!runs_.empty()) {
    Run& run = runs_.front();
    while (run.begin < run.done.size() && run.done[run.begin]) ++run.begin;
    if (run.begin < run.done.size()) {
      prefix_ = run.OffsetAt(run.begin);
      return;
    }
    prefix_ = run.next;
    runs_.pop_front();
  }
}

std::optional<Offset> MarkTracker::prefix() const {
  MutexLock lock(mu_);
  return prefix_;
}

void MarkTracker::Reset() {
  MutexLock lock(mu_);
  runs_.clear();
  prefix_.reset();
  outstanding_ = 0;
}

size_t MarkTracker::outstanding() const {
  MutexLock lock(mu_);
  return outstanding_;
}

}  // namespace millrace::client
