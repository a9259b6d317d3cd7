#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "millrace/client.h"

namespace millrace::harness {

// Sends records to one partition of one topic and remembers which were acknowledged, to compare
// that with what is read later. Belongs to one thread.
class TopicLedger {
 public:
  // Ids count up from `first_id`.
  TopicLedger(std::string topic, int64_t first_id) : topic_(std::move(topic)), next_id_(first_id) {}

  // One record of about `size` bytes, and its outcome.
  Status Send(Producer& producer, size_t size);
  // Sends until one fails, for at most `most` records, and says how that one failed.
  Status SendUntilFailure(Producer& producer, size_t size, int64_t most);

  struct Comparison {
    uint64_t read = 0;
    uint64_t lost = 0;   // acknowledged, at or above the log start, and not there
    uint64_t wrong = 0;  // there with other bytes, twice, out of order or never sent
    std::string first_problem;
  };
  // Reads the whole partition and compares.
  Comparison Compare(const Client& client) const;

  int64_t acknowledged() const { return static_cast<int64_t>(acknowledged_.size()); }
  const std::string& topic() const { return topic_; }
  Offset end() const { return acknowledged_.empty() ? 0 : acknowledged_.rbegin()->first + 1; }

 private:
  const std::string topic_;
  int64_t next_id_;
  std::map<Offset, int64_t> acknowledged_;  // offset -> id
  std::set<int64_t> sent_;
};

// The value of record `id`: the id, then bytes that only this id has.
std::string ValueOf(int64_t id, size_t size);

}  // namespace millrace::harness
