#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "harness/check/history.h"

namespace millrace::check {

// What each replica of each partition was last seen to hold.
class Replicas {
 public:
  // Takes the records of one partition on `node`, in offset order. Returns where they differ from
  // another replica's within the offsets that both cover, in words; empty if nowhere.
  std::string Compare(int32_t key, int64_t node, std::span<const Item> items);

 private:
  std::map<int32_t, std::map<int64_t, std::vector<Item>>> held_;  // partition, node
};

}  // namespace millrace::check
