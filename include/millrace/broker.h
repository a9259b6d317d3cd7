// millrace/broker.h - the embedded broker, when its storage and lifetime matter.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "millrace/admin.h"
#include "millrace/client.h"
#include "millrace/env.h"
#include "millrace/status.h"

namespace millrace {

// When an append is acknowledged, and so what a power cut may take. Nothing acknowledged is lost
// when only the process dies, under any of them.
enum class Flush {
  kOs,  // after the write: a power cut may take a suffix of each partition, of no stated length
  kInterval,  // likewise, but synced every flush_interval: at most the last interval's records
  kEachBatch  // after fdatasync, shared by concurrent batches: nothing is lost
};

struct BrokerOptions {
  std::filesystem::path directory = {};  // empty: memory, gone with the broker
  bool create_if_missing = true;
  bool error_if_exists = false;
  // Opens beside the process that writes, and changes nothing: whole batches are seen as they come
  // to the files, perhaps before they are synced, and so are topics. What somebody waits for (in
  // Poll) is looked for every 20 ms; RunMaintenance looks at once, and so does whoever asks for a
  // group. Appends, commits and joining a group (in Poll) answer read_only.
  bool read_only = false;
  Flush flush = Flush::kEachBatch;
  absl::Duration flush_interval = absl::Seconds(1);  // of Flush::kInterval
  TopicOptions topic_defaults = {};                  // for topics that do not say otherwise
  bool auto_create_topics = false;                   // on the first Send
  // Bounds the log files of all topics together; at it appends answer quota_reached. 0: unlimited.
  int64_t max_total_bytes = 0;
  // The last one does upkeep (timers, linger, retention, scrub), the others sync; a single one does
  // both. What hangs in the disk while a caller leaves in time, and admin calls, have one more,
  // only as long as there is such work. 0: no thread at all; calls that wait, and RunMaintenance,
  // do what is due, and then wait for the disk whatever their timeout.
  int background_threads = 3;
  Env env = {};  // files, clock, random (env.h); null members: the real ones
  ClientOptions client = {};
};

// What opening found of a partition that was not closed cleanly.
struct RecoveryInfo {
  TopicPartition partition;
  uint64_t cut_bytes = 0;  // torn tail that was cut; kept in `cut_file`
  Offset cut_offset = -1;  // the log end after the cut
  std::string cut_file;
  std::vector<std::string> damage;  // what cannot be read: file, bytes, offsets and why
  std::vector<std::string> notes;   // what was rebuilt
};

// Owns the storage. Thread-safe. Move-only. Installs no signal handler, never exits the process,
// starts no listener, reads no environment variable.
class Broker {
 public:
  // Every problem of the options is reported at once (invalid_config). already_open: another
  // process, or another Broker of this one, has the directory. corrupt_log: what says which topics
  // there are cannot be read (millrace/format, __cluster_metadata-0); nothing is guessed then. Any
  // other damage is reported by recovery(), the log, and reads of what is damaged.
  static StatusOr<Broker> Open(BrokerOptions o);
  Broker(Broker&&) noexcept;
  Broker& operator=(Broker&&) noexcept;
  ~Broker();  // Close, for at most ClientOptions::close_timeout

  Client client() const;
  Status Sync();  // everything acknowledged so far to stable storage
  // All that is due now (linger, syncs, timers, retention, cleaning), on this thread.
  Status RunMaintenance();
  // A consistent copy, by hard links: closed segments cost no space. `dir` must not exist, and lie
  // on the same file system.
  Status Checkpoint(const std::filesystem::path& dir);
  std::vector<RecoveryInfo> recovery() const;
  // Stops new work (`closed`), sends what lingers, wakes every Poll, drains, syncs, releases the
  // lock. RecordBatches that are still held stay readable. Closing again: OK. timed_out: a call of
  // the disk hangs. Everything has its answer (`closed`, possibly_persisted) and nothing more is
  // logged, but the directory stays locked until the disk lets go of it; Close may be called again
  // to wait for that.
  Status Close(absl::Duration timeout = absl::Seconds(5));

 private:
  Broker();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
