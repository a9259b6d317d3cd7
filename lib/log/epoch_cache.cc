#include "log/epoch_cache.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/errors.h"

namespace millrace::log {
namespace {

// Takes "<number><terminator>" from the front of `text`.
template <typename T>
bool TakeNumber(std::string_view* text, char terminator, T* out) {
  const auto [at, error] = std::from_chars(text->data(), text->data() + text->size(), *out);
  if (error != std::errc() || at == text->data() + text->size() || *at != terminator) return false;
  text->remove_prefix(static_cast<size_t>(at - text->data()) + 1);
  return true;
}

}  // namespace

StatusOr<EpochCache> EpochCache::Parse(std::string_view text) {
  const auto damaged = [](std::string_view what) {
    return MakeError(ErrorId::kCorruptLog, fmt::format("leader epoch checkpoint: {}", what));
  };
  int32_t version = 0;
  uint32_t count = 0;
  if (!TakeNumber(&text, '\n', &version) || version != 0) return damaged("version is not 0");
  if (!TakeNumber(&text, '\n', &count)) return damaged("no count of entries");
  std::vector<EpochStart> entries;
  for (uint32_t i = 0; i < count; ++i) {
    EpochStart entry;
    if (!TakeNumber(&text, ' ', &entry.epoch) || !TakeNumber(&text, '\n', &entry.start_offset))
      return damaged(fmt::format("entry {} of {} does not parse", i, count));
    const bool ascends = entries.empty() || (entry.epoch > entries.back().epoch &&
                                             entry.start_offset > entries.back().start_offset);
    if (!ascends || entry.epoch < 0 || entry.start_offset < 0)
      return damaged(fmt::format("entry {} of {} does not ascend", i, count));
    entries.push_back(entry);
  }
  if (!text.empty()) return damaged(fmt::format("more than its {} entries", count));
  return EpochCache(std::move(entries));
}

std::string EpochCache::Format() const {
  std::string text = fmt::format("0\n{}\n", entries_.size());
  for (const EpochStart& e : entries_) text += fmt::format("{} {}\n", e.epoch, e.start_offset);
  return text;
}

int32_t EpochCache::EpochAt(Offset offset) const {
  const auto after = std::ranges::upper_bound(entries_, offset, {}, &EpochStart::start_offset);
  return after == entries_.begin() ? -1 : std::prev(after)->epoch;
}

void EpochCache::Assign(int32_t epoch, Offset start) {
  while (!entries_.empty() &&
         (entries_.back().epoch >= epoch || entries_.back().start_offset >= start)) {
    entries_.pop_back();
  }
  entries_.push_back({epoch, start});
}

void EpochCache::Observe(int32_t epoch, Offset offset) {
  // An epoch above what follows it was never the log's: the batch that said so is damaged.
  while (!entries_.empty() && entries_.back().epoch > epoch) entries_.pop_back();
  if (latest() < epoch) entries_.push_back({epoch, offset});
}

void EpochCache::CutFront(Offset log_start) {
  const auto after = std::ranges::upper_bound(entries_, log_start, {}, &EpochStart::start_offset);
  if (after == entries_.begin()) return;
  entries_.erase(entries_.begin(), std::prev(after));
  entries_.front().start_offset = log_start;
}

void EpochCache::CutBack(Offset log_end) {
  while (entries_.size() > 1 && entries_[entries_.size() - 2].start_offset >= log_end) {
    entries_.erase(entries_.end() - 2);
  }
  if (!entries_.empty() && entries_.back().start_offset > log_end) {
    entries_.back().start_offset = log_end;
  }
}

std::optional<EpochCache::End> EpochCache::EndOf(int32_t epoch, Offset log_end) const {
  const auto after = std::ranges::upper_bound(entries_, epoch, {}, &EpochStart::epoch);
  if (entries_.empty()) return std::nullopt;
  // Nothing of it is left: it ended where the first epoch that is known begins.
  if (after == entries_.begin()) return End{epoch, after->start_offset};
  return End{std::prev(after)->epoch, after == entries_.end() ? log_end : after->start_offset};
}

}  // namespace millrace::log
