#pragma once

#include <cstdint>

namespace millrace {

// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and every seed is a good one. Not for secrets.
// Belongs to one thread.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // One of [0, bound), for a bound far below 2^64 (the bias does not matter in tests).
  uint64_t Below(uint64_t bound) { return Next() % bound; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

}  // namespace millrace
