#include "millrace/testing/simulated_disk.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "env/disk_file.h"
#include "env/disk_names.h"
#include "env/errno_status.h"
#include "env/file_util.h"

namespace millrace::testing {
namespace {

using Inode = FileTree::Inode;

// A file and who still needs it.
struct Node {
  DiskFile file;
  bool named = true;
  int handles = 0;
  uint64_t charged_bytes = 0;  // its part of the disk's used bytes
};

}  // namespace

struct SimulatedDisk::Impl {
  class OpenFile;
  class HeldLock;
  using FaultRule = std::function<std::optional<Fault>(const DiskCall&)>;

  explicit Impl(uint64_t disk_seed) : seed(disk_seed) {}

  const uint64_t seed;  // also what names the boot

  mutable Mutex mu;
  std::shared_ptr<const FaultRule> faults ABSL_GUARDED_BY(mu);
  uint64_t calls ABSL_GUARDED_BY(mu) = 0;
  uint64_t freeze_at ABSL_GUARDED_BY(mu) = UINT64_MAX;
  uint64_t capacity_bytes ABSL_GUARDED_BY(mu) = UINT64_MAX;
  uint64_t used_bytes ABSL_GUARDED_BY(mu) = 0;
  DiskNames names ABSL_GUARDED_BY(mu);
  // Also files that were removed, for as long as a power cut may bring their names back.
  std::map<Inode, std::shared_ptr<Node>> nodes ABSL_GUARDED_BY(mu);
  size_t unnamed_nodes ABSL_GUARDED_BY(mu) = 0;
  std::set<Inode> locked ABSL_GUARDED_BY(mu);

  // Counts the call and decides what happens to it.
  std::optional<Fault> Begin(DiskOp op, const std::string& path) ABSL_LOCKS_EXCLUDED(mu);

  StatusOr<Inode> OpenLocked(const std::string& path, OpenMode mode)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  StatusOr<Inode> FindDirectory(const std::string& path, std::string_view operation)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  Status Done(const FileTree::Result& result, std::string_view what)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  int Write(Node& node, Inode inode, uint64_t position, std::span<const std::byte> bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  int Truncate(Node& node, Inode inode, uint64_t size) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // Keeps used_bytes right after the node was changed in any way.
  void Charge(Node& node) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void SweepIfDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  std::shared_ptr<Node> AddNode(Inode inode, DiskFile file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
};

std::string_view Name(DiskOp op) {
  switch (op) {
    case DiskOp::kOpen:
      return "open";
    case DiskOp::kRead:
      return "read";
    case DiskOp::kWrite:
      return "write";
    case DiskOp::kSync:
      return "sync";
    case DiskOp::kTruncate:
      return "truncate";
    case DiskOp::kSize:
      return "size";
    case DiskOp::kDropCache:
      return "drop_cache";
    case DiskOp::kStat:
      return "stat";
    case DiskOp::kList:
      return "list";
    case DiskOp::kCreateDir:
      return "create_dir";
    case DiskOp::kRemoveFile:
      return "remove_file";
    case DiskOp::kRemoveDir:
      return "remove_dir";
    case DiskOp::kRename:
      return "rename";
    case DiskOp::kLink:
      return "link";
    case DiskOp::kSyncDir:
      return "sync_dir";
    case DiskOp::kLock:
      return "lock";
    case DiskOp::kClose:
      return "close";
  }
  return "unknown";
}

std::optional<Fault> SimulatedDisk::Impl::Begin(DiskOp op, const std::string& path) {
  std::shared_ptr<const FaultRule> rule;
  DiskCall call = {.op = op, .path = path};
  {
    MutexLock lock(mu);
    call.number = ++calls;
    if (calls >= freeze_at) return Fault{};
    rule = faults;
  }
  return rule == nullptr ? std::nullopt : (*rule)(call);
}

void SimulatedDisk::Impl::Charge(Node& node) {
  used_bytes -= node.charged_bytes;
  node.charged_bytes = node.named || node.handles > 0 ? node.file.size() : 0;
  used_bytes += node.charged_bytes;
}

std::shared_ptr<Node> SimulatedDisk::Impl::AddNode(Inode inode, DiskFile file) {
  auto node = std::make_shared<Node>();
  node->file = std::move(file);
  Charge(*node);
  nodes.emplace(inode, node);
  return node;
}

void SimulatedDisk::Impl::SweepIfDue() {
  if (unnamed_nodes < 64 || unnamed_nodes < nodes.size() / 2) return;
  const std::set<Inode> named = names.Sweep();
  unnamed_nodes -= std::erase_if(nodes, [&](const auto& entry) {
    return !entry.second->named && !named.contains(entry.first);
  });
}

StatusOr<Inode> SimulatedDisk::Impl::OpenLocked(const std::string& path, OpenMode mode) {
  const auto failed = [&](int error) {
    return ErrnoStatus(error, fmt::format("open of {}", path));
  };
  const bool create = mode == OpenMode::kCreate || mode == OpenMode::kCreateNew;
  const FileTree::Found found = names.tree().Find(path);
  if (found.error == 0 && mode == OpenMode::kCreateNew) return failed(EEXIST);
  if (found.is_directory) return failed(EISDIR);
  if (found.error == 0) return found.inode;
  if (found.error != ENOENT || !create) return failed(found.error);
  const FileTree::Result created = names.Create(path, false);
  if (created.error != 0) return failed(created.error);
  AddNode(created.inode, DiskFile());
  return created.inode;
}

StatusOr<Inode> SimulatedDisk::Impl::FindDirectory(const std::string& path,
                                                   std::string_view operation) {
  const FileTree::Found found = names.tree().Find(path);
  if (found.error == 0 && found.is_directory) return found.inode;
  return ErrnoStatus(found.error != 0 ? found.error : ENOTDIR,
                     fmt::format("{} of {}", operation, path));
}

Status SimulatedDisk::Impl::Done(const FileTree::Result& result, std::string_view what) {
  if (result.error != 0) return ErrnoStatus(result.error, what);
  if (result.orphan != 0) {
    Node& node = *nodes.at(result.orphan);
    node.named = false;
    ++unnamed_nodes;
    Charge(node);
    SweepIfDue();
  }
  return absl::OkStatus();
}

int SimulatedDisk::Impl::Write(Node& node, Inode inode, uint64_t position,
                               std::span<const std::byte> bytes) {
  if (bytes.empty()) return 0;
  if (position > PagedBytes::kMaxBytes || bytes.size() > PagedBytes::kMaxBytes - position)
    return EFBIG;
  // A full disk takes what fits, as the kernel does.
  const uint64_t old_size = node.file.size();
  const uint64_t free_bytes = capacity_bytes - std::min(capacity_bytes, used_bytes);
  const uint64_t end = std::max(old_size, old_size + std::min(free_bytes, PagedBytes::kMaxBytes));
  const size_t fitting = position >= end ? 0 : std::min<uint64_t>(bytes.size(), end - position);
  node.file.Write(position, bytes.first(fitting));
  if (node.file.size() != old_size) names.ChangeSize(inode);
  Charge(node);
  return fitting == bytes.size() ? 0 : ENOSPC;
}

int SimulatedDisk::Impl::Truncate(Node& node, Inode inode, uint64_t size) {
  if (size > PagedBytes::kMaxBytes) return EFBIG;
  node.file.Truncate(size);
  names.ChangeSize(inode);
  Charge(node);
  return 0;
}

// An open file of one disk; it keeps working on that disk alone, whatever images are made of it.
class SimulatedDisk::Impl::OpenFile : public File {
 public:
  // The caller has counted this handle in `node`.
  OpenFile(std::shared_ptr<Impl> disk, std::string path, bool writable, Inode inode,
           std::shared_ptr<Node> node)
      : disk_(std::move(disk)),
        path_(std::move(path)),
        writable_(writable),
        inode_(inode),
        node_(std::move(node)) {}

  ~OpenFile() override {
    disk_->Begin(DiskOp::kClose, path_);  // counted; a close cannot fail
    MutexLock lock(disk_->mu);
    --node_->handles;
    disk_->Charge(*node_);
  }

  StatusOr<size_t> ReadAt(uint64_t position, std::span<std::byte> out) override {
    if (const auto fault = disk_->Begin(DiskOp::kRead, path_)) {
      return Failed(fault->error, "read", position, out.size());
    }
    MutexLock lock(disk_->mu);
    return node_->file.Read(position, out);
  }

  Status WriteAt(uint64_t position, std::span<const std::byte> bytes) override {
    const auto fault = disk_->Begin(DiskOp::kWrite, path_);
    if (fault && fault->kind != Fault::Kind::kShortThenFail) {
      return Failed(fault->error, "write", position, bytes.size());
    }
    MutexLock lock(disk_->mu);
    const auto written = fault ? bytes.first(bytes.size() / 2) : bytes;
    int error = writable_ ? disk_->Write(*node_, inode_, position, written) : EBADF;
    if (fault) error = fault->error;
    return error == 0 ? absl::OkStatus() : Failed(error, "write", position, bytes.size());
  }

  Status Sync() override {
    const auto fault = disk_->Begin(DiskOp::kSync, path_);
    MutexLock lock(disk_->mu);
    if (fault) {
      if (fault->kind == Fault::Kind::kSyncDropsPages) node_->file.LosePages();
      return ErrnoStatus(fault->error, fmt::format("sync of {}", path_));
    }
    node_->file.Sync();
    disk_->names.SyncFile(inode_);
    return absl::OkStatus();
  }

  Status Truncate(uint64_t size_bytes) override {
    const auto failed = [&](int error) {
      return ErrnoStatus(error, fmt::format("truncation of {} to {} bytes", path_, size_bytes));
    };
    if (const auto fault = disk_->Begin(DiskOp::kTruncate, path_)) return failed(fault->error);
    MutexLock lock(disk_->mu);
    const int error = writable_ ? disk_->Truncate(*node_, inode_, size_bytes) : EINVAL;
    return error == 0 ? absl::OkStatus() : failed(error);
  }

  StatusOr<uint64_t> Size() override {
    if (const auto fault = disk_->Begin(DiskOp::kSize, path_)) {
      return ErrnoStatus(fault->error, fmt::format("size of {}", path_));
    }
    MutexLock lock(disk_->mu);
    return node_->file.size();
  }

  Status DropCache() override {
    if (const auto fault = disk_->Begin(DiskOp::kDropCache, path_)) {
      return ErrnoStatus(fault->error, fmt::format("drop of the cached pages of {}", path_));
    }
    MutexLock lock(disk_->mu);
    node_->file.DropCache();
    return absl::OkStatus();
  }

 private:
  Status Failed(int error, std::string_view operation, uint64_t position, size_t count) const {
    return ErrnoStatus(error, fmt::format("{} of {} bytes at position {} of {}", operation, count,
                                          position, path_));
  }

  const std::shared_ptr<Impl> disk_;
  const std::string path_;
  const bool writable_;
  const Inode inode_;
  const std::shared_ptr<Node> node_;  // guarded by disk_->mu
};

class SimulatedDisk::Impl::HeldLock : public FileLock {
 public:
  HeldLock(std::shared_ptr<Impl> disk, Inode inode) : disk_(std::move(disk)), inode_(inode) {}
  ~HeldLock() override {
    MutexLock lock(disk_->mu);
    disk_->locked.erase(inode_);
  }

 private:
  const std::shared_ptr<Impl> disk_;
  const Inode inode_;
};

SimulatedDisk::SimulatedDisk(uint64_t seed) : impl_(std::make_shared<Impl>(seed)) {}
SimulatedDisk::~SimulatedDisk() = default;

void SimulatedDisk::SetFaults(std::function<std::optional<Fault>(const DiskCall&)> rule) {
  auto shared = rule ? std::make_shared<const Impl::FaultRule>(std::move(rule)) : nullptr;
  MutexLock lock(impl_->mu);
  impl_->faults = std::move(shared);
}

void SimulatedDisk::FreezeAt(uint64_t n) {
  MutexLock lock(impl_->mu);
  impl_->freeze_at = n;
}

bool SimulatedDisk::frozen() const {
  MutexLock lock(impl_->mu);
  return impl_->calls >= impl_->freeze_at;
}

uint64_t SimulatedDisk::calls() const {
  MutexLock lock(impl_->mu);
  return impl_->calls;
}

void SimulatedDisk::SetCapacity(uint64_t bytes) {
  MutexLock lock(impl_->mu);
  impl_->capacity_bytes = bytes;
}

std::shared_ptr<SimulatedDisk> SimulatedDisk::PowerCut(uint64_t seed, CutMode mode) const {
  const bool adversarial = mode == CutMode::kAdversarial;
  SplitMix64 random(SplitMix64(impl_->seed).Next() ^ (seed * 2 + (adversarial ? 1 : 0)));
  auto image = std::make_shared<SimulatedDisk>(random.Next());
  MutexLock lock(impl_->mu);
  MutexLock image_lock(image->impl_->mu);
  FileTree tree = adversarial ? impl_->names.AfterCutAdversarial(random)
                              : impl_->names.AfterCutJournalled(random);
  for (const auto& [inode, node] : impl_->nodes) {
    if (!tree.IsFile(inode)) continue;
    image->impl_->AddNode(inode, DiskFile(node->file.AfterCut(random, adversarial)));
  }
  image->impl_->names = DiskNames(std::move(tree));
  image->impl_->capacity_bytes = impl_->capacity_bytes;
  return image;
}

std::shared_ptr<SimulatedDisk> SimulatedDisk::ProcessKill() const {
  auto image = std::make_shared<SimulatedDisk>(impl_->seed);
  MutexLock lock(impl_->mu);
  MutexLock image_lock(image->impl_->mu);
  image->impl_->names = impl_->names;
  image->impl_->capacity_bytes = impl_->capacity_bytes;
  for (const auto& [inode, node] : impl_->nodes) {
    const auto copy = image->impl_->AddNode(inode, node->file);
    if (node->named) continue;
    copy->named = false;
    ++image->impl_->unnamed_nodes;
    image->impl_->Charge(*copy);
  }
  return image;
}

std::shared_ptr<SimulatedDisk> SimulatedDisk::Clone() const {
  auto image = std::make_shared<SimulatedDisk>(impl_->seed);
  MutexLock lock(impl_->mu);
  MutexLock image_lock(image->impl_->mu);
  image->impl_->names = DiskNames(impl_->names.tree());
  image->impl_->capacity_bytes = impl_->capacity_bytes;
  for (const auto& [inode, node] : impl_->nodes) {
    if (node->named) image->impl_->AddNode(inode, DiskFile(node->file.cached()));
  }
  return image;
}

StatusOr<std::string> SimulatedDisk::Peek(const std::string& path) const {
  MutexLock lock(impl_->mu);
  MILLRACE_ASSIGN_OR_RETURN(const Inode inode, impl_->OpenLocked(path, OpenMode::kRead));
  return impl_->nodes.at(inode)->file.cached().ToString();
}

Status SimulatedDisk::Poke(const std::string& path, std::string_view contents) {
  MutexLock lock(impl_->mu);
  PagedBytes bytes;
  bytes.Write(0, AsBytes(contents));
  MILLRACE_ASSIGN_OR_RETURN(const Inode inode, impl_->OpenLocked(path, OpenMode::kCreate));
  impl_->names.MakeDurable(path);
  Node& node = *impl_->nodes.at(inode);
  node.file = DiskFile(std::move(bytes));
  impl_->Charge(node);
  return absl::OkStatus();
}

Status SimulatedDisk::Erase(const std::string& path) {
  MutexLock lock(impl_->mu);
  const FileTree::Result removed = impl_->names.RemoveFile(path);
  if (removed.error == 0) impl_->names.MakeDurable(path);
  return impl_->Done(removed, fmt::format("removal of {}", path));
}

std::vector<std::string> SimulatedDisk::AllFiles() const {
  MutexLock lock(impl_->mu);
  std::vector<std::string> paths;
  for (auto& [path, inode] : impl_->names.tree().Files()) paths.push_back(std::move(path));
  return paths;
}

StatusOr<std::unique_ptr<File>> SimulatedDisk::Open(const std::string& path, OpenMode mode) {
  if (const auto fault = impl_->Begin(DiskOp::kOpen, path)) {
    return ErrnoStatus(fault->error, fmt::format("open of {}", path));
  }
  MutexLock lock(impl_->mu);
  MILLRACE_ASSIGN_OR_RETURN(const Inode inode, impl_->OpenLocked(path, mode));
  const auto& node = impl_->nodes.at(inode);
  ++node->handles;
  return std::make_unique<Impl::OpenFile>(impl_, path, mode != OpenMode::kRead, inode, node);
}

StatusOr<FileInfo> SimulatedDisk::Stat(const std::string& path) {
  const auto failed = [&](int error) {
    return ErrnoStatus(error, fmt::format("stat of {}", path));
  };
  if (const auto fault = impl_->Begin(DiskOp::kStat, path)) return failed(fault->error);
  MutexLock lock(impl_->mu);
  const FileTree::Found found = impl_->names.tree().Find(path);
  if (found.error != 0) return failed(found.error);
  if (found.is_directory) return FileInfo{.is_directory = true};
  return FileInfo{.size_bytes = impl_->nodes.at(found.inode)->file.size()};
}

StatusOr<std::vector<std::string>> SimulatedDisk::List(const std::string& directory) {
  if (const auto fault = impl_->Begin(DiskOp::kList, directory)) {
    return ErrnoStatus(fault->error, fmt::format("list of {}", directory));
  }
  MutexLock lock(impl_->mu);
  MILLRACE_ASSIGN_OR_RETURN(const Inode inode, impl_->FindDirectory(directory, "list"));
  std::vector<std::string> names;
  for (const auto& [name, child] : impl_->names.tree().EntriesOf(inode)) names.push_back(name);
  return names;
}

Status SimulatedDisk::CreateDir(const std::string& path) {
  const std::string what = fmt::format("creation of {}", path);
  if (const auto fault = impl_->Begin(DiskOp::kCreateDir, path))
    return ErrnoStatus(fault->error, what);
  MutexLock lock(impl_->mu);
  return impl_->Done(impl_->names.Create(path, true), what);
}

Status SimulatedDisk::RemoveFile(const std::string& path) {
  const std::string what = fmt::format("removal of {}", path);
  if (const auto fault = impl_->Begin(DiskOp::kRemoveFile, path))
    return ErrnoStatus(fault->error, what);
  MutexLock lock(impl_->mu);
  return impl_->Done(impl_->names.RemoveFile(path), what);
}

Status SimulatedDisk::RemoveDir(const std::string& path) {
  const std::string what = fmt::format("removal of {}", path);
  if (const auto fault = impl_->Begin(DiskOp::kRemoveDir, path))
    return ErrnoStatus(fault->error, what);
  MutexLock lock(impl_->mu);
  return impl_->Done(impl_->names.RemoveDir(path), what);
}

Status SimulatedDisk::Rename(const std::string& from, const std::string& to) {
  const std::string what = fmt::format("rename of {} to {}", from, to);
  if (const auto fault = impl_->Begin(DiskOp::kRename, from))
    return ErrnoStatus(fault->error, what);
  MutexLock lock(impl_->mu);
  return impl_->Done(impl_->names.Rename(from, to), what);
}

Status SimulatedDisk::Link(const std::string& from, const std::string& to) {
  const std::string what = fmt::format("link of {} to {}", from, to);
  if (const auto fault = impl_->Begin(DiskOp::kLink, from)) return ErrnoStatus(fault->error, what);
  MutexLock lock(impl_->mu);
  return impl_->Done(impl_->names.Link(from, to), what);
}

Status SimulatedDisk::SyncDir(const std::string& directory) {
  if (const auto fault = impl_->Begin(DiskOp::kSyncDir, directory)) {
    return ErrnoStatus(fault->error, fmt::format("sync of {}", directory));
  }
  MutexLock lock(impl_->mu);
  MILLRACE_ASSIGN_OR_RETURN(const Inode inode, impl_->FindDirectory(directory, "sync"));
  impl_->names.SyncDir(inode);
  return absl::OkStatus();
}

StatusOr<std::unique_ptr<FileLock>> SimulatedDisk::Lock(const std::string& path) {
  if (const auto fault = impl_->Begin(DiskOp::kLock, path)) {
    return ErrnoStatus(fault->error, fmt::format("lock of {}", path));
  }
  MutexLock lock(impl_->mu);
  MILLRACE_ASSIGN_OR_RETURN(const Inode inode, impl_->OpenLocked(path, OpenMode::kCreate));
  if (!impl_->locked.insert(inode).second) {
    return MakeError(ErrorId::kAlreadyOpen, fmt::format("{}: is locked by this process", path));
  }
  return std::make_unique<Impl::HeldLock>(impl_, inode);
}

std::string SimulatedDisk::BootId() { return fmt::format("simulated-{:016x}", impl_->seed); }
std::string SimulatedDisk::MountId(const std::string&) { return "simulated"; }

}  // namespace millrace::testing
