#include "harness/check/replicas.h"

#include <algorithm>

#include <fmt/format.h>

namespace millrace::check {
namespace {

bool SameRecord(const Item& a, const Item& b) {
  return a.offset == b.offset && a.value == b.value &&
         (a.hash == b.hash || a.hash == 0 || b.hash == 0);
}

std::string Difference(int64_t node_a, std::span<const Item> a, int64_t node_b,
                       std::span<const Item> b) {
  if (a.empty() || b.empty()) return "";
  const int64_t begin = std::max(a.front().offset, b.front().offset);
  const int64_t end = std::min(a.back().offset, b.back().offset) + 1;
  const auto within = [&](std::span<const Item> items) {
    const auto before = [](const Item& item, int64_t offset) { return item.offset < offset; };
    const auto first = std::lower_bound(items.begin(), items.end(), begin, before);
    return std::span(first, std::lower_bound(first, items.end(), end, before));
  };
  const auto in_a = within(a);
  const auto in_b = within(b);
  const auto [at_a, at_b] =
      std::mismatch(in_a.begin(), in_a.end(), in_b.begin(), in_b.end(), SameRecord);
  if (at_a == in_a.end() && at_b == in_b.end()) return "";
  const auto describe = [](int64_t node, const auto& at, const auto& items) {
    if (at == items.end()) return fmt::format("node {} has nothing more", node);
    return fmt::format("node {} has value {} at offset {}", node, at->value, at->offset);
  };
  return fmt::format("{}, {}", describe(node_a, at_a, in_a), describe(node_b, at_b, in_b));
}

}  // namespace

std::string Replicas::Compare(int32_t key, int64_t node, std::span<const Item> items) {
  auto& nodes = held_[key];
  auto& own = nodes[node];
  own.assign(items.begin(), items.end());
  // The walk needs the order of offsets; a line may list them in any.
  std::stable_sort(own.begin(), own.end(),
                   [](const Item& a, const Item& b) { return a.offset < b.offset; });
  for (const auto& [other, held] : nodes) {
    if (other == node) continue;
    std::string difference = Difference(node, own, other, held);
    if (!difference.empty()) return difference;
  }
  return "";
}

}  // namespace millrace::check
