#pragma once

#include <cstddef>
#include <cstdint>

#include "env/split_mix.h"

namespace millrace {

// Which of `count` operations, in their order, a power cut leaves. Coins alone would hardly ever
// draw "all", "none" or "all but one" of many, which are what real disks do and what most bugs
// need: so a pattern is drawn first. Belongs to one thread; borrows the generator.
class Survival {
 public:
  enum class Fate { kKept, kDropped, kTorn };

  Survival(SplitMix64& random, size_t count)
      : random_(random), pattern_(random.Below(8)), pivot_(random.Below(count + 1)) {}

  // Asked for each operation in turn.
  Fate Of(size_t index) {
    switch (pattern_) {
      case 0:
        return Fate::kKept;
      case 1:
        return Fate::kDropped;
      case 2:
      case 3:  // a prefix
        if (index == pivot_) return Fate::kTorn;
        return index < pivot_ ? Fate::kKept : Fate::kDropped;
      case 4:  // all but one
        if (index != pivot_) return Fate::kKept;
        return random_.OneIn(2) ? Fate::kDropped : Fate::kTorn;
      default:
        if (random_.OneIn(4)) return Fate::kTorn;
        return random_.OneIn(2) ? Fate::kKept : Fate::kDropped;
    }
  }

 private:
  SplitMix64& random_;
  const uint64_t pattern_;
  const size_t pivot_;
};

}  // namespace millrace
