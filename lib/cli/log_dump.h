#pragma once

#include <string>

#include "cli/context.h"
#include "millrace/env.h"

namespace millrace::cli {

// What `log dump` prints of a file follows Kafka's DumpLogSegments (4.3) to the byte, so that the
// outputs can be compared; what is wrong goes to stderr.
struct DumpOptions {
  bool deep = false;      // the records of each batch
  bool contents = false;  // and their keys and values
  bool json = false;      // a line of JSON for each batch or entry instead
};

// One file of a partition, by its suffix: .log, .checkpoint, .index, .timeindex, .snapshot,
// .txnindex. Data loss when the file is damaged, after all of it that can be read was printed.
Status DumpFile(FileSystem& files, const std::string& path, const DumpOptions& options,
                Output& out);

// Of log_dump.cc and log_dump_index.cc; `path` was opened as `file`.
Status DumpSegment(File& file, const std::string& path, const DumpOptions& options, Output& out);
Status DumpOffsetIndex(FileSystem& files, File& file, const std::string& path,
                       const DumpOptions& options, Output& out);
Status DumpTimeIndex(FileSystem& files, File& file, const std::string& path,
                     const DumpOptions& options, Output& out);
Status DumpProducerSnapshot(File& file, const std::string& path, const DumpOptions& options,
                            Output& out);
Status DumpTransactionIndex(File& file, const std::string& path, const DumpOptions& options,
                            Output& out);

}  // namespace millrace::cli
