// millrace/broker.h - the embedded broker, when its storage and lifetime matter.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "millrace/client.h"

namespace millrace {

class Clock {  // replaced by tests; also the source of record timestamps
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() = 0;
  virtual void CallAt(absl::Time when, absl::AnyInvocable<void()> fn) = 0;
  static std::shared_ptr<Clock> Real();
};

enum class Flush {
  kOs,        // page cache: survives a crash of the process, not of the machine
  kInterval,  // fdatasync every flush_interval
  kEachBatch  // fdatasync before acknowledging; concurrent batches share one
};

struct BrokerOptions {
  std::filesystem::path directory = {};  // empty: memory
  bool create_if_missing = true;
  bool error_if_exists = false;
  bool read_only = false;
  Flush flush = Flush::kEachBatch;
  absl::Duration flush_interval = absl::Seconds(1);
  TopicOptions topic_defaults = {};
  bool auto_create_topics = false;
  int64_t max_total_bytes = 0;     // 0: unlimited; else appends fail with kResourceExhausted
  size_t block_cache_bytes = 0;    // 0: rely on the page cache
  int background_threads = 3;      // two to sync, one for upkeep; 0: blocking calls and RunMaintenance do it
  absl::Duration group_initial_rebalance_delay = absl::ZeroDuration();
  std::shared_ptr<Env> env = nullptr;  // files, clock, random (env.h); null: the real ones
  ClientOptions client = {};
};

// Owns the storage. Thread-safe. Move-only. Installs no signal handler, never exits the process,
// starts no listener, reads no environment variable.
class Broker {
 public:
  static StatusOr<Broker> Open(BrokerOptions o);
  Broker(Broker&&) noexcept;
  Broker& operator=(Broker&&) noexcept;
  ~Broker();  // Close

  Client client() const;
  Status Sync();                      // everything acknowledged so far to stable storage
  Status RunMaintenance();            // all that is due now (linger, syncs, timers, retention, cleaning), on this thread
  Status Checkpoint(const std::filesystem::path& dir);  // a consistent copy, by hard links
  // Stops new work (kFailedPrecondition), wakes every Poll, drains, syncs, releases the lock.
  // RecordBatches that are still held stay readable.
  Status Close(absl::Duration timeout = absl::Seconds(5));

 private:
  Broker();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
