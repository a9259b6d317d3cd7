#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace millrace {

// CRC-32C (Castagnoli), the checksum of Kafka's record batches. Crc32c(b, Crc32c(a)) is the
// checksum of a followed by b. Chosen once a process: the SSE4.2 instruction on three interleaved
// streams (one where the input is short), or tables where the processor lacks it. Thread-safe.
uint32_t Crc32c(std::span<const std::byte> data, uint32_t crc_of_what_came_before = 0);

// The checksum of a followed by b, from the checksum of each and the length of b in bytes. Takes
// time by the digits of the length, not by the length.
uint32_t Crc32cCombine(uint32_t crc_a, uint32_t crc_b, uint64_t length_b);

namespace internal {
// What a processor without the instruction runs, for tests to compare the other with.
uint32_t Crc32cPortable(std::span<const std::byte> data, uint32_t crc);
uint32_t Crc32cCombinePortable(uint32_t crc_a, uint32_t crc_b, uint64_t length_b);
}  // namespace internal

}  // namespace millrace
