#include "log/log_directory.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <functional>
#include <thread>

#include <fmt/format.h>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/crc32c.h"
#include "base/errors.h"
#include "base/kill_point.h"
#include "base/no_throw.h"
#include "base/seeded_bug.h"
#include "base/status_macros.h"
#include "env/file_util.h"
#include "log/directory_impl.h"
#include "log/layout.h"
#include "log/partition_impl.h"

namespace millrace::log {
namespace {

constexpr int kFormatVersion = 1;
constexpr uint64_t kMaxTextBytes = 4096;
constexpr uint64_t kMaxManifestBytes = uint64_t{1} << 30;
constexpr size_t kScanPoolBytes = size_t{4} << 20;
constexpr std::string_view kDeleteSuffix = "-delete";

std::string MetadataText(const Uuid& topic_id) {
  return fmt::format("version: 0\ntopic_id: {}", topic_id.ToString());
}

// The topic id in a partition.metadata file, as Kafka writes it; nullopt for anything else.
std::optional<Uuid> ParseMetadata(std::string_view text) {
  constexpr std::string_view kFront = "version: 0\ntopic_id: ";
  if (!text.starts_with(kFront)) return std::nullopt;
  text.remove_prefix(kFront.size());
  while (text.ends_with('\n')) text.remove_suffix(1);
  return Uuid::Parse(text);
}

// `key: value` in a file of such lines.
std::optional<std::string_view> Field(std::string_view text, std::string_view field) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.starts_with(field) && line.substr(field.size()).starts_with(": "))
      return line.substr(field.size() + 2);
  }
  return std::nullopt;
}

// 0 where no number stands.
int VersionOf(std::string_view text) {
  const std::string_view digits = Field(text, "version").value_or("");
  int version = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), version);
  return version;
}

bool HasSegments(const std::vector<std::string>& names) {
  return std::ranges::any_of(names, [](const std::string& name) {
    return ParseOffsetFileName(name, kLogSuffix).has_value();
  });
}

}  // namespace

LogDirectory::Impl::Impl(FileSystem& fs, Clock& time, Options opts)
    : files(fs),
      clock(time),
      options(std::move(opts)),
      gate(fs, options.read_only ? "" : OwnPath("failed")),
      scan_pool(kScanPoolBytes) {}

std::string LogDirectory::Impl::OwnPath(std::string_view name) const {
  return JoinPath(JoinPath(options.path, kOwnFolder), name);
}
std::string LogDirectory::Impl::PartitionPath(std::string_view name) const {
  return JoinPath(options.path, name);
}
std::string LogDirectory::Impl::SumsPath(const DurableMarks::Key& key) const {
  return OwnPath(fmt::format("sums/{}-{}", key.first.ToString(), key.second));
}

Status LogDirectory::Impl::OpenDirectory() {
  const auto info = files.Stat(options.path);
  if (absl::IsNotFound(info.status()) && (options.read_only || !options.create_if_missing)) {
    return MakeError(ErrorId::kNotFound,
                     fmt::format("{}: there is no such directory", options.path));
  }
  if (!info.ok() && !absl::IsNotFound(info.status())) return info.status();
  if (info.ok() && !info->is_directory) {
    return MakeError(ErrorId::kInvalidArgument,
                     fmt::format("{}: is a file, not a directory", options.path));
  }
  if (options.read_only) return OpenFormat();
  MILLRACE_RETURN_IF_ERROR(CreateDirs(files, OwnPath("sums")));
  MILLRACE_ASSIGN_OR_RETURN(lock, files.Lock(OwnPath("lock")));
  return OpenFormat();
}

Status LogDirectory::Impl::OpenFormat() {
  const std::string path = OwnPath("format");
  const auto bytes = ReadWholeFile(files, path, kMaxTextBytes);
  if (absl::IsNotFound(bytes.status())) {
    if (options.read_only || !options.create_if_missing) {
      return MakeError(ErrorId::kNotFound,
                       fmt::format("{}: there is no Millrace directory", options.path));
    }
    return CreateFormat();
  }
  if (!bytes.ok()) return bytes.status();
  if (options.error_if_exists) {
    return MakeError(ErrorId::kAlreadyExists,
                     fmt::format("{}: there is a Millrace directory already", options.path));
  }
  const std::string_view text = AsText(*bytes);
  const int version = VersionOf(text);
  if (version > kFormatVersion) {
    return MakeError(ErrorId::kUnsupportedVersion,
                     fmt::format("{}: format {} is from the future, up to {} is known; nothing was "
                                 "changed",
                                 path, version, kFormatVersion));
  }
  const auto uuid = Uuid::Parse(Field(text, "directory_id").value_or(""));
  const size_t signed_bytes = text.find("crc: ");
  const bool good =
      version == kFormatVersion && uuid.has_value() && signed_bytes != std::string_view::npos &&
      Field(text, "crc") == fmt::format("{:08x}", Crc32c(AsBytes(text.substr(0, signed_bytes))));
  if (!good) {
    return MakeError(ErrorId::kCorruptLog,
                     fmt::format("{}: is damaged; nothing was changed", path));
  }
  id = *uuid;
  return absl::OkStatus();
}

Status LogDirectory::Impl::CreateFormat() {
  const auto random = options.random != nullptr ? nullptr : Random::Real();
  Random& source = options.random != nullptr ? *options.random : *random;
  do {
    const uint64_t high = source.Next();
    id = Uuid::FromRandom(high, source.Next());
  } while (id.IsReserved());
  std::string text = fmt::format("version: {}\ndirectory_id: {}\n", kFormatVersion, id.ToString());
  text += fmt::format("crc: {:08x}\n", Crc32c(AsBytes(text)));
  const auto names = files.List(options.path);
  // Where there are partitions already, only our own files were lost: their logs are not clean.
  clean = names.ok() && names->size() <= 1;
  // A process may have been killed while it made them: the format file says that all of them are
  // durable.
  MILLRACE_RETURN_IF_ERROR(gate.SyncDir(ParentDir(options.path)));
  MILLRACE_RETURN_IF_ERROR(gate.SyncDir(options.path));
  MILLRACE_RETURN_IF_ERROR(gate.SyncDir(OwnPath("")));
  for (std::string at = ParentDir(options.path); ParentDir(at) != at; at = ParentDir(at)) {
    // Further up they may not even be ours to open.
    files.SyncDir(ParentDir(at)).IgnoreError();
  }
  return gate.ReplaceFile(OwnPath("format"), AsBytes(text));
}

// The marks vouch for what the manifest vouches for before it goes. The close has written them, so
// they are missing only where their file was damaged.
Status LogDirectory::Impl::KeepMarks(const CloseManifest& vouched) {
  bool changed = false;
  for (const auto& [key, record] : vouched.partitions) {
    const auto mark = marks->Find(key);
    if (mark.has_value() && mark->synced_end >= record.log_end()) continue;
    marks->Update(key, record.MakeMark(/*opener=*/0));
    changed = true;
  }
  if (!changed) return absl::OkStatus();
  const Status written = marks->Write();
  return gate.IsLackOfRoom(written) ? absl::OkStatus() : written;
}

// The manifest speaks of the files as they are now; the first append makes it a lie. So it goes
// first.
Status LogDirectory::Impl::TakeManifest() {
  const std::string path = OwnPath("manifest");
  const auto bytes = ReadWholeFile(files, path, kMaxManifestBytes);
  const bool found = !absl::IsNotFound(bytes.status());
  if (found && !bytes.ok()) return bytes.status();
  auto parsed = found ? CloseManifest::Parse(*bytes) : bytes.status();
  if (parsed.ok() && parsed->directory_id == id) {
    if (!options.read_only) MILLRACE_RETURN_IF_ERROR(KeepMarks(*parsed));
    MutexLock mutex_lock(mu);
    manifest = *std::move(parsed);
    clean = manifest.all_clean;
  }
  if (SeededBug(Bug::kManifestStays)) return absl::OkStatus();
  if (options.read_only) return absl::OkStatus();
  // Also where it was not found: one that this disk hid for a moment must not be believed later.
  const Status removed = files.RemoveFile(path);
  if (absl::IsNotFound(removed) && !found) return absl::OkStatus();
  MILLRACE_RETURN_IF_ERROR(removed);
  MILLRACE_KILL_POINT(kManifestTaken);
  return gate.SyncDir(OwnPath(""));
}

Status LogDirectory::Impl::ReadEvidence() {
  const auto failed = files.Stat(OwnPath("failed"));
  if (!failed.ok() && !absl::IsNotFound(failed.status())) return failed.status();
  // After a failed sync the page cache of the same boot is no witness.
  if (failed.ok()) return absl::OkStatus();
  const std::string evidence = fmt::format("{}\n{}", files.BootId(), files.MountId(options.path));
  opener = std::max(1u, Crc32c(AsBytes(evidence)));
  return absl::OkStatus();
}

StatusOr<std::unique_ptr<LogDirectory>> LogDirectory::Open(FileSystem& files, Clock& clock,
                                                           Options options) {
  auto impl = std::make_unique<Impl>(files, clock, std::move(options));
  MILLRACE_RETURN_IF_ERROR(impl->OpenDirectory());
  MILLRACE_ASSIGN_OR_RETURN(
      impl->marks,
      DurableMarks::Open(files, impl->gate, impl->OwnPath("marks"), impl->options.read_only));
  MILLRACE_RETURN_IF_ERROR(impl->TakeManifest());
  // So may folders of partitions be there that a killed process has not synced.
  if (!impl->clean && !impl->options.read_only)
    MILLRACE_RETURN_IF_ERROR(impl->gate.SyncDir(impl->options.path));
  MILLRACE_RETURN_IF_ERROR(impl->ReadEvidence());
  return std::unique_ptr<LogDirectory>(new LogDirectory(std::move(impl)));
}

LogDirectory::LogDirectory(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LogDirectory::~LogDirectory() = default;

bool LogDirectory::was_clean() const { return impl_->clean; }
bool LogDirectory::read_only() const { return impl_->options.read_only; }
Uuid LogDirectory::id() const { return impl_->id; }
Status LogDirectory::WriteMarks() {
  MILLRACE_RETURN_IF_ERROR(impl_->marks->Write());
  // Files that are open go on in a directory that is gone, and nobody will ever read them.
  const auto info = impl_->files.Stat(impl_->OwnPath("format"));
  if (absl::IsNotFound(info.status())) impl_->gate.Fail(info.status());
  return impl_->gate.failed();
}
Status LogDirectory::failed() const { return impl_->gate.failed(); }
void LogDirectory::Fail(const Status& why) { impl_->gate.Fail(why); }
uint64_t LogDirectory::total_bytes() const { return impl_->total_bytes.load(); }

Status LogDirectory::Impl::RefreshMarks() {
  constexpr absl::Duration kFresh = absl::Milliseconds(20);
  MutexLock held(mu);
  const absl::Duration now = clock.Elapsed();
  if (now - marks_read_at < kFresh) return absl::OkStatus();
  MILLRACE_RETURN_IF_ERROR(marks->Reload());
  marks_read_at = now;
  return absl::OkStatus();
}

StatusOr<bool> LogDirectory::Impl::PrepareFolder(const std::string& name,
                                                 const DurableMarks::Key& key, bool create,
                                                 std::vector<std::string>* notes) {
  const std::string path = PartitionPath(name);
  const std::string metadata = JoinPath(path, kPartitionMetadataFile);
  const auto names = files.List(path);
  if (!names.ok() && !absl::IsNotFound(names.status())) return names.status();
  const auto mark = marks->Find(key);
  if (!names.ok()) {
    bool is_lost = mark.has_value() && mark->synced_end > 0;
    if (SeededBug(Bug::kMissingFolderIsEmpty)) is_lost = false;
    if (is_lost) {
      return MakeError(ErrorId::kCorruptLog,
                       fmt::format("{}: the folder is missing, its log was synced up to offset {}",
                                   path, mark->synced_end));
    }
    if (options.read_only)
      return MakeError(ErrorId::kNotFound, fmt::format("{}: there is no such partition", path));
    Status created = files.CreateDir(path);
    if (!created.ok() && !absl::IsAlreadyExists(created)) return created;
  } else if (const auto bytes = ReadWholeFile(files, metadata, kMaxTextBytes); bytes.ok()) {
    const auto found = ParseMetadata(AsText(*bytes));
    if (found == key.first) return false;
    if (found.has_value()) {
      return MakeError(ErrorId::kOrphanData,
                       fmt::format("{}: belongs to topic id {}, not to {}; it is left alone", path,
                                   found->ToString(), key.first.ToString()));
    }
    if (const int version = VersionOf(AsText(*bytes)); version > 0) {
      return MakeError(
          ErrorId::kUnsupportedVersion,
          fmt::format("{}: version {} is from the future, 0 is known; it is left alone", metadata,
                      version));
    }
    notes->push_back(fmt::format("{}: written anew, since it was damaged", metadata));
  } else if (!absl::IsNotFound(bytes.status())) {
    return bytes.status();
  } else if (HasSegments(*names) && create && !mark.has_value()) {
    return MakeError(ErrorId::kOrphanData,
                     fmt::format("{}: holds the log of an unknown topic; it is left alone", path));
  }
  if (options.read_only) return false;
  const bool is_new = !names.ok() || !HasSegments(*names);
  MILLRACE_RETURN_IF_ERROR(gate.ReplaceFile(metadata, AsBytes(MetadataText(key.first))));
  MILLRACE_RETURN_IF_ERROR(gate.SyncDir(options.path));
  return is_new;
}

StatusOr<std::unique_ptr<PartitionLog>> LogDirectory::OpenPartition(const std::string& name,
                                                                    Uuid topic_id,
                                                                    int32_t partition,
                                                                    const LogConfig& config,
                                                                    bool create) {
  const DurableMarks::Key key{topic_id, partition};
  if (impl_->options.read_only) MILLRACE_RETURN_IF_ERROR(impl_->RefreshMarks());
  auto log = std::make_unique<PartitionLog::Impl>(*impl_, name, key, config);
  MILLRACE_ASSIGN_OR_RETURN(const bool is_new,
                            impl_->PrepareFolder(name, key, create, &log->report.notes));
  std::optional<PartitionRecord> record;
  {
    MutexLock lock(impl_->mu);
    auto& vouched = impl_->manifest.partitions;
    if (const auto it = vouched.find(key); it != vouched.end() && it->second.name == name) {
      record = std::move(it->second);
      vouched.erase(it);
    }
  }
  MILLRACE_RETURN_IF_ERROR(log->Open(record.has_value() ? &*record : nullptr));
  if (is_new) log->report.clean = true;  // there was nothing to recover
  return std::unique_ptr<PartitionLog>(new PartitionLog(std::move(log)));
}

Status LogDirectory::DeletePartition(const std::string& name, Uuid topic_id, int32_t partition) {
  if (impl_->options.read_only) {
    return MakeError(ErrorId::kReadOnly,
                     fmt::format("{}: opened for reading", impl_->options.path));
  }
  const DurableMarks::Key key{topic_id, partition};
  const std::string path = impl_->PartitionPath(name);
  const std::string doomed =
      impl_->PartitionPath(fmt::format("{}.{}{}", name, topic_id.ToString(), kDeleteSuffix));
  const auto bytes =
      ReadWholeFile(impl_->files, JoinPath(path, kPartitionMetadataFile), kMaxTextBytes);
  if (!bytes.ok() && !absl::IsNotFound(bytes.status())) return bytes.status();
  bool ours = bytes.ok() && ParseMetadata(AsText(*bytes)) == topic_id;
  if (SeededBug(Bug::kOrphanCleanUp)) ours = true;
  if (ours) {
    MILLRACE_RETURN_IF_ERROR(RemoveTree(impl_->files, doomed));
    MILLRACE_RETURN_IF_ERROR(impl_->files.Rename(path, doomed));
    MILLRACE_KILL_POINT(kFolderRenamed);
    MILLRACE_RETURN_IF_ERROR(impl_->gate.SyncDir(impl_->options.path));
  }
  impl_->marks->Remove(key);
  MILLRACE_RETURN_IF_ERROR(impl_->marks->Write());
  {
    MutexLock lock(impl_->mu);
    impl_->manifest.partitions.erase(key);
  }
  MILLRACE_KILL_POINT(kMarkRemoved);
  SegmentSums sums(impl_->files, impl_->SumsPath(key));
  MILLRACE_RETURN_IF_ERROR(sums.Remove());
  MILLRACE_RETURN_IF_ERROR(RemoveTree(impl_->files, doomed));
  return impl_->gate.SyncDir(impl_->options.path);
}

StatusOr<std::vector<LogDirectory::Folder>> LogDirectory::ListFolders() {
  MILLRACE_ASSIGN_OR_RETURN(const auto names, impl_->files.List(impl_->options.path));
  std::vector<Folder> folders;
  for (const std::string& name : names) {
    if (name == kOwnFolder || name.ends_with(kDeleteSuffix)) continue;
    const std::string path = impl_->PartitionPath(name);
    const auto info = impl_->files.Stat(path);
    if (!info.ok() || !info->is_directory) continue;
    Folder folder{.name = name};
    const auto bytes =
        ReadWholeFile(impl_->files, JoinPath(path, kPartitionMetadataFile), kMaxTextBytes);
    if (bytes.ok()) folder.topic_id = ParseMetadata(AsText(*bytes)).value_or(Uuid{});
    folders.push_back(std::move(folder));
  }
  return folders;
}

namespace {

// Calls work(0) to work(count - 1), on this thread and on others, `threads` in all where they can
// be had.
void InParallel(int threads, size_t count, const std::function<void(size_t)>& work) {
  std::atomic<size_t> next{0};
  const auto take = [&] {
    for (size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) work(i);
  };
  std::vector<std::thread> others;
  try {
    for (int i = 1; i < threads && static_cast<size_t>(i) < count; ++i) others.emplace_back(take);
  } catch (...) {
    // Fewer, then.
  }
  take();
  for (std::thread& other : others) other.join();
}

}  // namespace

Status LogDirectory::CloseCleanly(const std::vector<PartitionLog*>& partitions, absl::Time deadline,
                                  int threads) {
  if (impl_->options.read_only || impl_->closed.exchange(true)) return absl::OkStatus();
  Status first_error = impl_->gate.failed();
  CloseManifest manifest;
  {
    MutexLock lock(impl_->mu);
    manifest = std::move(impl_->manifest);  // of those that nobody has opened
  }
  manifest.directory_id = impl_->id;
  manifest.all_clean = first_error.ok();
  std::vector<StatusOr<PartitionRecord>> records(partitions.size());
  // Most of it is waiting for syncs, which the file system makes of several threads at once.
  InParallel(threads, partitions.size(), [&](size_t i) {
    PartitionLog* const partition = partitions[i];
    records[i] = NoThrow([&]() -> StatusOr<PartitionRecord> {
      if (impl_->clock.Now() <= deadline && impl_->gate.failed().ok())
        return partition->impl_->CloseCleanly();
      return MakeError(ErrorId::kTimedOut, fmt::format("{}: the deadline of the close has passed",
                                                       partition->directory()));
    });
    partition->impl_->closed = true;
  });
  for (size_t i = 0; i < partitions.size(); ++i) {
    PartitionLog* const partition = partitions[i];
    StatusOr<PartitionRecord>& record = records[i];
    if (!record.ok()) {
      manifest.all_clean = false;
      if (first_error.ok()) first_error = record.status();
      continue;
    }
    manifest.partitions[partition->impl_->key] = *std::move(record);
  }
  if (impl_->gate.failed().ok()) {
    Status status = impl_->marks->Write();
    // One that an unclean session has not opened waits for its recovery still.
    manifest.all_clean &= std::ranges::all_of(
        impl_->marks->Keys(), [&](const auto& key) { return manifest.partitions.contains(key); });
    // What an earlier failure has left is settled: every partition was read from the device since.
    if (status.ok() && manifest.all_clean)
      impl_->files.RemoveFile(impl_->OwnPath("failed")).IgnoreError();
    if (status.ok())
      status = impl_->gate.ReplaceFile(impl_->OwnPath("manifest"), manifest.Format());
    if (status.ok()) {
      for (PartitionLog* partition : partitions) partition->impl_->RemoveStaleSnapshot();
    }
    if (first_error.ok()) first_error = status;
  }
  impl_->lock.reset();
  return first_error;
}

}  // namespace millrace::log
