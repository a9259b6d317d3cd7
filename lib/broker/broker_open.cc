// A broker's beginning and end.
#include <algorithm>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/no_throw.h"
#include "base/seeded_bug.h"
#include "base/status_macros.h"
#include "broker/broker_impl.h"
#include "broker/options.h"
#include "env/file_util.h"

namespace millrace::broker {
namespace {

constexpr absl::Duration kCloseTimeout = absl::Seconds(5);  // of a broker that is dropped
// Threads that sync while a broker closes: 2,000 written partitions take a third of the time of
// one.
constexpr int kCloseThreads = 8;
// What comes after the deadline of a close where no call of the disk hangs: letting go.
constexpr absl::Duration kCloseGrace = absl::Milliseconds(100);
constexpr size_t kEpochsABatch = 5000;

std::string BallastPath(const Options& options) {
  if (options.directory.empty() || options.read_only) return "";
  return JoinPath(options.directory, "millrace/ballast");
}

// "orders-0.<topic id>-delete", which a deletion has renamed and not yet removed.
std::optional<log::LogDirectory::Folder> ParseDeleted(std::string_view name) {
  constexpr std::string_view kSuffix = "-delete";
  if (!name.ends_with(kSuffix)) return std::nullopt;
  name.remove_suffix(kSuffix.size());
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto id = Uuid::Parse(name.substr(dot + 1));
  if (!id.has_value()) return std::nullopt;
  return log::LogDirectory::Folder{.name = std::string(name.substr(0, dot)), .topic_id = *id};
}

// The end of a broker that nobody holds any more.
void Dispose(BrokerImpl* broker) {
  // In a forked child its threads do not exist and its locks may be held for ever: it is left as it
  // is.
  if (broker->forked()) return;
  const auto end = [broker] { broker->End(); };
  // The last reference may go in a callback on one of the threads that closing waits for.
  if (!broker->OnOwnThread()) return end();
  try {
    std::thread(end).detach();
  } catch (...) {
    // No thread to be had: it stays open for as long as the process lives.
  }
}

}  // namespace

StatusOr<std::shared_ptr<Broker>> Broker::Open(Options options) {
  MILLRACE_RETURN_IF_ERROR(CheckOptions(options));
  std::shared_ptr<BrokerImpl> broker(new BrokerImpl(std::move(options)), Dispose);
  MILLRACE_RETURN_IF_ERROR(broker->Start());
  return broker;
}

BrokerImpl::BrokerImpl(Options options)
    : shared_(std::make_shared<Shared>(std::move(options))),
      incarnation_(Uuid::FromRandom(shared_->random->Next(), shared_->random->Next()).ToString()),
      ballast_(*shared_->files, *shared_->clock, BallastPath(shared_->options)),
      table_(shared_),
      housekeeper_(*shared_, table_) {
  shared_->producer_id = [this] { return ProcessProducerId(); };
  shared_->fail_waiting = [this](const Status& why) {
    for (const auto& partition : table_.All()) partition->FailWaiting(why);
  };
  shared_->release_ballast = [this] { return ballast_.Release(); };
  shared_->has_room = [this] { return ballast_.HasRoom(); };
  shared_->bump_epoch = [this](const TopicPartition& name, const Uuid& topic_id, int32_t above) {
    return BumpEpoch(name, topic_id, above);
  };
  shared_->note_recovery = [this](const TopicPartition& name, const log::RecoveryReport& report) {
    for (const log::DamagedRange& damage : report.damage) {
      shared_->Log(Severity::kError, fmt::format("damaged: {}", log::Describe(damage)));
    }
    if (report.cut_bytes > 0) {
      shared_->Log(Severity::kWarning,
                   fmt::format("{}-{}: a torn tail of {} bytes was cut at offset {}", name.topic,
                               name.partition, report.cut_bytes, report.cut_offset));
    }
    MutexLock lock(reports_mu_);
    reports_.emplace_back(name, report);
  };
}

BrokerImpl::~BrokerImpl() {
  Abandon();
  shared_->producer_id = nullptr;
  shared_->fail_waiting = nullptr;
  shared_->release_ballast = nullptr;
  shared_->has_room = nullptr;
  shared_->note_recovery = nullptr;
  shared_->bump_epoch = nullptr;
}

// ---- opening

Status BrokerImpl::Start() {
  AddJobs();
  MILLRACE_RETURN_IF_ERROR(OpenDirectory());
  MILLRACE_RETURN_IF_ERROR(OpenMetadata());
  const bool writes = !shared_->options.read_only;
  if (writes && !shared_->directory->was_clean()) MILLRACE_RETURN_IF_ERROR(BumpEpochs());
  for (const auto& [name, topic] : metadata()->topics) table_.Install(*topic, /*fresh=*/false);
  if (writes) MILLRACE_RETURN_IF_ERROR(SettleFolders());
  // The quota counts what is open; else the partitions of a clean close can wait for their first
  // use.
  if (writes && (!shared_->directory->was_clean() || shared_->options.max_total_bytes > 0)) {
    MILLRACE_RETURN_IF_ERROR(OpenPartitions());
  }
  StartThreads();
  MutexLock lock(close_mu_);
  phase_ = Phase::kOpen;
  return absl::OkStatus();
}

Status BrokerImpl::OpenDirectory() {
  log::LogDirectory::Options options;
  options.path = shared_->directory_path;
  options.create_if_missing = shared_->options.create_if_missing;
  options.error_if_exists = shared_->options.error_if_exists;
  options.read_only = shared_->options.read_only;
  options.random = shared_->random.get();
  return shared_->WithBallast([&]() -> Status {
    MILLRACE_ASSIGN_OR_RETURN(shared_->directory,
                              log::LogDirectory::Open(*shared_->files, *shared_->clock, options));
    return absl::OkStatus();
  });
}

Status BrokerImpl::OpenMetadata() {
  MutexLock lock(log_mu_);
  MILLRACE_ASSIGN_OR_RETURN(metadata_log_, MetadataLog::Open(*shared_));
  MutexLock image_lock(image_mu_);
  image_ = metadata_log_->image();
  version_.store(image_->version, std::memory_order_seq_cst);
  return absl::OkStatus();
}

Status BrokerImpl::BumpEpochs() {
  if (SeededBug(Bug::kEpochNotBumped)) return absl::OkStatus();
  std::vector<schema::MetadataRecord> records;
  for (const auto& [name, topic] : metadata()->topics) {
    for (size_t i = 0; i < topic->partitions.size(); ++i) {
      records.push_back(schema::PartitionChangeRecord{
          .partition_id = static_cast<int32_t>(i), .topic_id = topic->id, .leader = kNodeId});
      if (records.size() < kEpochsABatch) continue;
      MILLRACE_RETURN_IF_ERROR(Change(records));
      records.clear();
    }
  }
  return records.empty() ? absl::OkStatus() : Change(records);
}

Status BrokerImpl::SettleFolders() {
  std::set<Uuid> dead;
  {
    MutexLock lock(log_mu_);
    dead = metadata_log_->state().tombstones();
  }
  {
    MutexLock lock(admin_mu_);
    deleted_before_ = !dead.empty();
  }
  std::set<std::string> expected = {std::string(kMetadataFolder)};
  std::set<Uuid> ids = {MetadataTopicId()};
  for (const auto& [name, topic] : metadata()->topics) {
    ids.insert(topic->id);
    for (size_t i = 0; i < topic->partitions.size(); ++i) {
      expected.insert(fmt::format("{}-{}", name, i));
    }
  }
  // The ids stand in a file of each folder: they are read only where the names leave a question.
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                            shared_->files->List(shared_->directory_path));
  const bool all_expected = std::ranges::all_of(names, [&](const std::string& name) {
    return name == "millrace" || expected.contains(name);
  });
  if (all_expected && dead.empty()) return absl::OkStatus();
  MILLRACE_ASSIGN_OR_RETURN(const auto folders, shared_->directory->ListFolders());
  if (!dead.empty()) {
    auto remains = folders;
    for (const std::string& name : names) {
      if (const auto half_deleted = ParseDeleted(name)) remains.push_back(*half_deleted);
    }
    MutexLock lock(admin_mu_);
    if (const Status removed = RemoveRemains(dead, remains); !removed.ok()) {
      shared_->Log(Severity::kWarning,
                   fmt::format("{}: folders of deleted topics are left for later: {}",
                               shared_->Where(), Text(removed)));
    }
  }
  for (const log::LogDirectory::Folder& folder : folders) {
    const bool known =
        folder.topic_id.is_zero() ? expected.contains(folder.name) : ids.contains(folder.topic_id);
    if (!known && !dead.contains(folder.topic_id)) NoteOrphan(folder);
  }
  return absl::OkStatus();
}

void BrokerImpl::NoteOrphan(const log::LogDirectory::Folder& folder) {
  if (SeededBug(Bug::kOrphanCleanUp)) {
    shared_->directory->DeletePartition(folder.name, folder.topic_id, 0).IgnoreError();
    return;
  }
  const std::string note = fmt::format(
      "orphan_data: the folder {}/{} is of topic id {}, which the metadata does not know; "
      "its data is kept and not served",
      shared_->Where(), folder.name, folder.topic_id.ToString());
  shared_->Log(Severity::kWarning, note);
  const TopicPartition name{folder.name.substr(0, folder.name.rfind('-')), -1};
  log::RecoveryReport report;
  report.clean = false;
  report.notes.push_back(note);
  MutexLock lock(reports_mu_);
  reports_.emplace_back(name, report);
}

Status BrokerImpl::OpenPartitions() {
  for (const auto& partition : table_.All()) {
    if (const Status opened = partition->EnsureOpen(); !opened.ok()) {
      // It answers this to whoever uses it; the others are served.
      MILLRACE_RETURN_IF_ERROR(shared_->directory->failed());
      shared_->Log(Severity::kError, Text(opened));
      log::RecoveryReport report;
      report.clean = false;
      report.notes.push_back(Text(opened));
      shared_->note_recovery(partition->name(), report);
      continue;
    }
    partition->open_log()->ReleaseIdle();
  }
  return absl::OkStatus();
}

void BrokerImpl::AddJobs() {
  shared_->marks_job = shared_->upkeep.AddJob([this](absl::Duration) {
    if (const Status written = shared_->directory->WriteMarks(); !written.ok()) {
      if (const Status failed = shared_->directory->failed(); !failed.ok()) {
        shared_->NoteFailure(failed);
      } else {
        // An old mark only makes the next recovery read more.
        shared_->Log(Severity::kWarning, fmt::format("marks: {}", Text(written)));
      }
    }
    return absl::InfiniteDuration();
  });
  shared_->resting_job = shared_->upkeep.AddJob([this](absl::Duration) {
    shared_->lane.RunResting();
    if (shared_->waiting_untold.exchange(false)) shared_->TellWaiting();
    return absl::InfiniteDuration();
  });
  shared_->follow_job =
      shared_->upkeep.AddJob([this](absl::Duration now) { return FollowJob(now); });
  groups_job_ = shared_->upkeep.AddJob([this](absl::Duration) {
    MaintainGroups();
    return absl::InfiniteDuration();
  });
  housekeeper_.AddJobs(shared_->upkeep);
  housekeeper_.AtEndOfPass([this] {
    ballast_.Restore().IgnoreError();  // a full disk; the next pass tries again
  });
}

void BrokerImpl::StartThreads() {
  Shared& shared = *shared_;
  if (!shared.options.read_only) housekeeper_.Start();
  const int threads = shared.options.background_threads;
  if (threads == 0) return;          // the first RunMaintenance makes the ballast
  ballast_.Restore().IgnoreError();  // a full disk: appends wait until there is room for it
  if (threads == 1) shared.upkeep.SetExtraWork([&shared] { shared.lane.RunQueued(); });
  if (threads > 1 && !shared.options.read_only) shared.lane.Start(threads - 1);
  shared.upkeep.Start();
}

// ---- calls of a whole broker

Status BrokerImpl::usable() const {
  MILLRACE_RETURN_IF_ERROR(shared_->Usable());
  if (!shared_->failed.load(std::memory_order_acquire)) return absl::OkStatus();
  return shared_->Writable();
}

Status BrokerImpl::Sync() {
  const GateEntry inside(calls_);
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  for (const auto& host : LoadedHosts()) MILLRACE_RETURN_IF_ERROR(host->WriteBehind());
  std::vector<std::shared_ptr<LocalPartition>> dirty;
  for (const auto& partition : table_.All()) {
    if (partition->needs_sync()) dirty.push_back(partition);
  }
  // The lane helps; whoever comes first to a partition leads its sync.
  for (const auto& partition : dirty) shared_->lane.Enqueue(partition);
  for (const auto& partition : dirty) {
    Status synced = partition->SyncTo(INT64_MAX);
    if (!synced.ok() && !partition->deleted()) return synced;
  }
  return absl::OkStatus();
}

Status BrokerImpl::RunMaintenance() {
  const GateEntry inside(calls_);
  MILLRACE_RETURN_IF_ERROR(shared_->Usable());
  if (shared_->options.read_only) {
    FollowWriter(/*everywhere=*/true);
  } else {
    housekeeper_.ArmPass();
  }
  shared_->upkeep.RunDue();
  shared_->lane.RunQueued();
  return usable();
}

void BrokerImpl::RunApart(absl::AnyInvocable<void()> task) {
  const Options& options = shared_->options;
  const bool hangs = !options.directory.empty() && !options.read_only;
  if (hangs && options.background_threads > 0 && shared_->Usable().ok() && !OnOwnThread() &&
      shared_->errands.Run(task))
    return;
  task();
}

uint64_t BrokerImpl::CallAt(absl::Duration when, absl::AnyInvocable<void()> task) {
  return shared_->upkeep.CallAt(when, std::move(task));
}

void BrokerImpl::CancelCall(uint64_t id) {
  if (!forked()) shared_->upkeep.Cancel(id);
}

std::vector<std::pair<TopicPartition, log::RecoveryReport>> BrokerImpl::recovery_reports() const {
  MutexLock lock(reports_mu_);
  return reports_;
}

// ---- closing

Status BrokerImpl::Close(absl::Duration timeout) {
  if (forked()) return shared_->Usable();
  if (OnOwnThread()) {
    return MakeError(ErrorId::kReentrant,
                     fmt::format("{}: closing waits for the broker's threads, and was asked for on "
                                 "one of them",
                                 shared_->Where()));
  }
  const absl::Duration deadline = shared_->clock->Elapsed() + timeout;
  bool first = false;
  {
    MutexLock lock(close_mu_);
    if (phase_ == Phase::kNotOpen) return absl::OkStatus();
    first = phase_ == Phase::kOpen;
    if (first) phase_ = Phase::kClosing;
  }
  if (first) {
    shared_->closing.store(true, std::memory_order_seq_cst);
    const bool bounded = timeout != absl::InfiniteDuration();
    if (!bounded || !StartCloser(deadline)) RunClose(deadline);
  }
  return AwaitClose(deadline);
}

// Nothing ends a call of the disk: whoever closes must be able to leave it to another thread.
bool BrokerImpl::StartCloser(absl::Duration deadline) {
  if (shared_->options.background_threads == 0) return false;
  MutexLock lock(close_mu_);
  try {
    closer_ = std::thread([this, deadline] {
      if (!RunClose(deadline)) delete this;
    });
    return true;
  } catch (...) {
    return false;  // there is none to be had
  }
}

bool BrokerImpl::RunClose(absl::Duration deadline) {
  Status status = NoThrow([&] { return CloseOnce(deadline); });
  if (shared_->directory != nullptr) {
    // Memory ran out on the way. The next opening finds what was acknowledged by a recovery.
    calls_.Shut();
    Abandon();
  }
  MutexLock lock(close_mu_);
  {
    MutexLock hosts_lock(hosts_mu_);
    hosts_.clear();
  }
  close_status_ = std::move(status);
  phase_ = Phase::kClosed;
  close_done_.NotifyAll();
  return !nobody_left_;
}

Status BrokerImpl::AwaitClose(absl::Duration deadline) {
  std::thread closer;
  {
    MutexLock lock(close_mu_);
    const absl::Duration until = deadline + kCloseGrace;
    while (phase_ != Phase::kClosed && shared_->clock->Elapsed() < until)
      close_done_.WaitWith(
          close_mu_, [&](auto& cv, auto& held) { shared_->clock->WaitUntil(cv, held, until); });
    if (phase_ == Phase::kClosed) {
      closer.swap(closer_);
    } else {
      gave_up_ = true;
      if (closer_.joinable()) closer_.detach();
    }
  }
  if (closer.joinable()) closer.join();
  {
    MutexLock lock(close_mu_);
    if (phase_ == Phase::kClosed) return close_status_;
  }
  // The closer goes on, unheard.
  return NoThrow([&]() -> Status {
    for (const auto& partition : table_.All()) partition->FailWaiting(shared_->Usable());
    shared_->Mute();
    return MakeError(ErrorId::kTimedOut,
                     fmt::format("{}: the disk has not finished what it was asked to; the folder "
                                 "stays locked until it has",
                                 shared_->Where()));
  });
}

void BrokerImpl::End() {
  const auto left_to_closer = [&] {
    MutexLock lock(close_mu_);
    nobody_left_ = gave_up_ && phase_ != Phase::kClosed;
    return nobody_left_;
  };
  if (left_to_closer()) return;
  Close(kCloseTimeout).IgnoreError();  // who wants to know calls Close
  if (!left_to_closer()) delete this;
}

void BrokerImpl::RingEverybody() {
  bells_.Ring();
  for (const auto& host : LoadedHosts()) host->RingAll();
  for (const auto& partition : table_.All()) partition->RingBells();
}

Status BrokerImpl::CloseOnce(absl::Duration deadline) {
  RingEverybody();
  shared_->upkeep.Stop();
  shared_->errands.Stop();
  calls_.Shut();
  Status status;
  if (!shared_->options.read_only) {
    for (const auto& host : LoadedHosts()) status.Update(host->WriteBehind());
  }
  // Nothing is appended from here on; what waits for a sync gets it, from all threads of the lane.
  const TopicTable::Partitions partitions = table_.All();
  for (const auto& partition : partitions) partition->Shut(/*deleted=*/false);
  for (const auto& partition : partitions) {
    if (partition->needs_sync()) shared_->lane.Enqueue(partition);
  }
  shared_->lane.Drain(*shared_->clock, deadline);
  shared_->lane.Stop();
  for (const auto& partition : partitions) partition->FailWaiting(shared_->Usable());
  status.Update(CloseDirectory(partitions, deadline - shared_->clock->Elapsed()));
  return status;
}

Status BrokerImpl::CloseDirectory(const TopicTable::Partitions& partitions,
                                  absl::Duration timeout) {
  std::vector<std::unique_ptr<log::PartitionLog>> logs;
  for (const auto& partition : partitions) {
    if (auto log = partition->TakeLog()) logs.push_back(std::move(log));
  }
  {
    MutexLock lock(log_mu_);
    logs.push_back(metadata_log_->TakeLog());
    metadata_log_ = nullptr;
  }
  Status status;
  if (!shared_->options.read_only) {
    // Indexes, producer state and the manifest need room. The next opening makes the ballast again.
    if (shared_->saw_full_disk) ballast_.Release();
    std::vector<log::PartitionLog*> borrowed;
    for (const auto& log : logs) borrowed.push_back(log.get());
    status = shared_->directory->CloseCleanly(
        borrowed, shared_->clock->Now() + timeout,
        shared_->options.background_threads > 0 ? kCloseThreads : 1);
  }
  logs.clear();
  while (table_.TakeTopic(nullptr)) {
  }
  shared_->directory = nullptr;
  return status;
}

void BrokerImpl::Abandon() {
  shared_->closing.store(true, std::memory_order_seq_cst);
  shared_->upkeep.Stop();
  shared_->errands.Stop();
  shared_->lane.Stop();
  const Status closed = NoThrow([&] { return shared_->Usable(); });
  TopicTable::Partitions partitions;
  while (table_.TakeTopic(&partitions)) {
    for (const auto& partition : partitions) {
      partition->Shut(/*deleted=*/false);
      partition->FailWaiting(closed);
      partition->TakeLog().reset();
    }
  }
  {
    MutexLock lock(log_mu_);
    metadata_log_ = nullptr;
  }
  shared_->directory = nullptr;
  MutexLock lock(hosts_mu_);
  hosts_.clear();
}

}  // namespace millrace::broker
