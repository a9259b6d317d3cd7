#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/buffer.h"
#include "broker/broker.h"
#include "broker/errands.h"
#include "broker/gate.h"
#include "broker/sync_lane.h"
#include "broker/upkeep.h"
#include "env/fork_guard.h"
#include "log/log_directory.h"

namespace millrace::broker {

// What all parts of one broker stand on. Outlives the broker for as long as a partition handle is
// held; by then `closed` is set and nothing of the directory is touched any more.
struct Shared {
  explicit Shared(Options given);

  // OK; or closed, or forked: what every call is answered first.
  Status Usable() const;
  // The same, and read_only or the failure of the directory.
  Status Writable() const;
  // Whether this is one of the broker's threads, which must not wait for the others.
  bool OnOwnThread() const {
    return lane.OnOwnThread() || upkeep.OnOwnThread() || errands.OnOwnThread();
  }
  // Of the broker's own writes, which go on while it closes.
  Status WritableInside() const;
  void Log(Severity severity, std::string_view message) {
    const GateEntry inside(log_gate);
    if (inside && options.log) options.log(severity, message);
  }
  // Nothing is logged any more, once this returns.
  void Mute() { log_gate.Shut(); }
  // Takes note that the directory failed, once: nothing more is acknowledged, and every append that
  // waits is answered.
  void NoteFailure(const Status& why);
  void TellWaiting();  // of the failure; once more later on, where there is no memory for it now
  // Asks for the marks to be written soon, since something was synced.
  void ArmMarks();
  // Runs `fn`; where that meets no_space, gives the ballast back to the disk and runs it once more.
  // For what must go on when the disk is full: internal topics, metadata, recovery.
  Status WithBallast(const std::function<Status()>& fn);
  std::string Where() const;  // the directory for messages: "/data/orders", or "memory:"

  const Options options;
  std::shared_ptr<FileSystem> files;
  std::shared_ptr<Clock> clock;
  std::shared_ptr<Random> random;
  std::string directory_path;
  std::unique_ptr<log::LogDirectory> directory;
  BufferPool pool;
  Metrics metrics;
  ForkGuard fork;
  Gate log_gate;
  SyncLane lane;
  Upkeep upkeep;
  Errands errands;
  size_t marks_job = 0;
  size_t follow_job = 0;                    // looks what the writer has done; where read_only
  size_t resting_job = 0;                   // syncs again what rests in the lane
  std::atomic<bool> closing{false};         // no new work
  std::atomic<bool> failed{false};          // the directory failed
  std::atomic<bool> waiting_untold{false};  // TellWaiting is due again
  std::atomic<bool> saw_full_disk{false};   // an append met no_space
  // Set by the broker before the first partition is opened.
  std::function<StatusOr<int64_t>()> producer_id;  // the one id of all producers in this process
  std::function<void(const Status&)> fail_waiting;
  std::function<bool()> release_ballast;
  std::function<bool()> has_room;  // whether users may append, as far as the disk goes
  std::function<void(const TopicPartition&, const log::RecoveryReport&)> note_recovery;
  // Durably begins a new leader epoch of one partition, larger than `above`, and answers it.
  std::function<StatusOr<int32_t>(const TopicPartition&, const Uuid& topic_id, int32_t above)>
      bump_epoch;
};

// Tells everybody, when it goes out of scope, if the directory has failed meanwhile. Stands above
// the locks of a call: those who wait are answered without any.
class FailureWatch {
 public:
  explicit FailureWatch(Shared& shared) : shared_(shared) {}
  ~FailureWatch() {
    if (shared_.directory == nullptr || shared_.fork.forked()) return;
    if (const Status failed = shared_.directory->failed(); !failed.ok())
      shared_.NoteFailure(failed);  // needs no memory
  }
  FailureWatch(const FailureWatch&) = delete;
  FailureWatch& operator=(const FailureWatch&) = delete;

 private:
  Shared& shared_;
};

}  // namespace millrace::broker
