#pragma once

#include <cstdint>
#include <iterator>

namespace millrace::harness {

// A small generator whose numbers are the same on every machine (SplitMix64), so that a seed that
// was printed replays the same run.
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t x = state_ += 0x9E3779B97F4A7C15;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  }
  uint64_t Below(uint64_t bound) { return Next() % bound; }
  // From `least` to `most`, both included.
  int64_t Between(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(Below(static_cast<uint64_t>(most - least + 1)));
  }
  bool OneIn(uint64_t count) { return Below(count) == 0; }
  template <typename List>
  auto& Pick(List& list) {
    return list[Below(std::size(list))];
  }

 private:
  uint64_t state_;
};

}  // namespace millrace::harness
