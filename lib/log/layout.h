#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "millrace/topic_partition.h"

// Names of the files in a data directory (docs/format/directory.md).
namespace millrace::log {

inline constexpr std::string_view kLogSuffix = ".log";
inline constexpr std::string_view kIndexSuffix = ".index";
inline constexpr std::string_view kTimeIndexSuffix = ".timeindex";
inline constexpr std::string_view kSnapshotSuffix = ".snapshot";
inline constexpr std::string_view kCutSuffix = ".cut";
inline constexpr std::string_view kDeletedSuffix = ".deleted";
inline constexpr std::string_view kEpochFile = "leader-epoch-checkpoint";
inline constexpr std::string_view kPartitionMetadataFile = "partition.metadata";
// The folder of Millrace's own files, beside the folders of the partitions.
inline constexpr std::string_view kOwnFolder = "millrace";

// 42, ".log" -> "00000000000000000042.log"
std::string OffsetFileName(Offset offset, std::string_view suffix);
// The inverse; nullopt for any other name.
std::optional<Offset> ParseOffsetFileName(std::string_view name, std::string_view suffix);

}  // namespace millrace::log
