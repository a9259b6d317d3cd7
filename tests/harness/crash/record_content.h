#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "harness/support/rng.h"
#include "millrace/record.h"

namespace millrace::harness {

// Everything that a record carries. What a number stands for is always the same, so that whoever
// reads a record can tell which one it is and whether every byte of it is right.
struct Content {
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::vector<std::pair<std::string, std::optional<std::string>>> headers;
  int64_t timestamp_ms = 0;
};

Content ContentOf(int64_t id);
ProducerRecord ToRecord(std::string_view topic, int32_t partition, Content content);

// The number that the record says it is; -1 if it says none.
int64_t IdOf(const RecordView& record);
// Of all bytes, of what is null and what is empty, and of the timestamp. Never 0.
uint64_t HashOf(const Content& content);
uint64_t HashOf(const RecordView& record);

}  // namespace millrace::harness
