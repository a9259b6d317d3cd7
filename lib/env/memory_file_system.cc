#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <set>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "env/errno_status.h"
#include "env/file_tree.h"
#include "millrace/env.h"

namespace millrace {
namespace {

constexpr size_t kChunkBytes = size_t{64} << 10;
constexpr size_t kSmallestChunkBytes = 256;

// The bytes that all files together hold, and their bound. Thread-safe.
class Budget {
 public:
  explicit Budget(uint64_t max_bytes) : max_bytes_(max_bytes) {}
  bool Take(uint64_t bytes) {
    MutexLock lock(mu_);
    if (bytes > max_bytes_ - used_bytes_) return false;
    used_bytes_ += bytes;
    return true;
  }
  void Give(uint64_t bytes) {
    MutexLock lock(mu_);
    used_bytes_ -= bytes;
  }
  uint64_t max_bytes() const { return max_bytes_; }

 private:
  const uint64_t max_bytes_;
  Mutex mu_;
  uint64_t used_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

// A piece of a file, at most kChunkBytes long. What lies past its bytes reads as zeros, so that a
// small file costs little. A lock of its own lets readers of one chunk overlap a writer of another.
// Thread-safe.
class Chunk {
 public:
  explicit Chunk(Budget& budget) : budget_(budget) {}
  ~Chunk() {
    MutexLock lock(mu_);
    budget_.Give(bytes_.size());
  }

  void Read(size_t at, std::span<std::byte> out) {
    MutexLock lock(mu_);
    const size_t have = at < bytes_.size() ? std::min(out.size(), bytes_.size() - at) : 0;
    if (have > 0) std::memcpy(out.data(), bytes_.data() + at, have);
    std::ranges::fill(out.subspan(have), std::byte{0});
  }
  void Write(size_t at, std::span<const std::byte> bytes) {
    MutexLock lock(mu_);
    std::memcpy(bytes_.data() + at, bytes.data(), bytes.size());
  }
  // Makes room for `size` bytes; false when the budget does not.
  bool Reserve(size_t size, bool whole) {
    MutexLock lock(mu_);
    if (size <= bytes_.size()) return true;
    size_t wanted = whole ? kChunkBytes : std::bit_ceil(std::max(size, kSmallestChunkBytes));
    if (!budget_.Take(wanted - bytes_.size())) {
      wanted = size;
      if (!budget_.Take(wanted - bytes_.size())) return false;
    }
    bytes_.resize(wanted);
    return true;
  }
  void ZeroFrom(size_t at) {
    MutexLock lock(mu_);
    if (at < bytes_.size())
      std::fill(bytes_.begin() + static_cast<ptrdiff_t>(at), bytes_.end(), std::byte{0});
  }

 private:
  Budget& budget_;
  Mutex mu_;
  std::vector<std::byte> bytes_ ABSL_GUARDED_BY(mu_);
};

// What a file holds. Readers take mu_ for a moment, to learn the size and to share the chunks that
// they want; a writer makes its new size known after the bytes are there. Thread-safe.
// Lock order: write_mu_, mu_, then the lock of a chunk.
class Contents {
 public:
  explicit Contents(std::shared_ptr<Budget> budget) : budget_(std::move(budget)) {}

  uint64_t Size() {
    MutexLock lock(mu_);
    return size_;
  }

  size_t Read(uint64_t position, std::span<std::byte> out) {
    std::vector<std::shared_ptr<Chunk>> chunks;
    {
      MutexLock lock(mu_);
      if (position >= size_) return 0;
      out = out.first(std::min<uint64_t>(out.size(), size_ - position));
      if (out.empty()) return 0;
      const uint64_t last = (position + out.size() - 1) / kChunkBytes;
      for (uint64_t i = position / kChunkBytes; i <= last; ++i) {
        chunks.push_back(ChunkAt(i));
      }
    }
    ForEachChunk(position, out, [&](size_t i, size_t at, std::span<std::byte> part) {
      if (chunks[i] != nullptr) return chunks[i]->Read(at, part);
      std::ranges::fill(part, std::byte{0});
    });
    return out.size();
  }

  // 0, or an errno: nothing is written then.
  int Write(uint64_t position, std::span<const std::byte> bytes) {
    if (bytes.empty()) return 0;
    if (position > INT64_MAX - bytes.size()) return EFBIG;
    MutexLock write_lock(write_mu_);
    std::vector<std::shared_ptr<Chunk>> chunks;
    if (!Reserve(position, bytes, chunks)) return ENOSPC;
    ForEachChunk(position, bytes, [&](size_t i, size_t at, std::span<const std::byte> part) {
      chunks[i]->Write(at, part);
    });
    MutexLock lock(mu_);
    size_ = std::max(size_, position + bytes.size());
    return 0;
  }

  int Truncate(uint64_t size) {
    if (size > INT64_MAX) return EFBIG;
    MutexLock write_lock(write_mu_);
    MutexLock lock(mu_);
    if (size < size_) {
      chunks_.erase(chunks_.lower_bound((size + kChunkBytes - 1) / kChunkBytes), chunks_.end());
      // A later write past the end must find zeros in between.
      const auto last = ChunkAt(size / kChunkBytes);
      if (last != nullptr) last->ZeroFrom(size % kChunkBytes);
    }
    size_ = size;
    return 0;
  }

 private:
  // Calls fn(index from the first chunk, position in the chunk, part of `bytes`).
  template <typename Bytes, typename Fn>
  static void ForEachChunk(uint64_t position, Bytes bytes, Fn fn) {
    size_t at = position % kChunkBytes;
    for (size_t i = 0; !bytes.empty(); ++i, at = 0) {
      const size_t count = std::min(bytes.size(), kChunkBytes - at);
      fn(i, at, bytes.first(count));
      bytes = bytes.subspan(count);
    }
  }

  std::shared_ptr<Chunk> ChunkAt(uint64_t index) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const auto chunk = chunks_.find(index);
    return chunk == chunks_.end() ? nullptr : chunk->second;
  }

  bool Reserve(uint64_t position, std::span<const std::byte> bytes,
               std::vector<std::shared_ptr<Chunk>>& chunks)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_) {
    if (bytes.size() > budget_->max_bytes()) return false;
    MutexLock lock(mu_);
    const uint64_t first = position / kChunkBytes;
    const uint64_t last = (position + bytes.size() - 1) / kChunkBytes;
    for (uint64_t i = first; i <= last; ++i) chunks.push_back(ChunkAt(i));
    bool enough = true;
    ForEachChunk(position, bytes, [&](size_t i, size_t at, std::span<const std::byte> part) {
      if (chunks[i] == nullptr) chunks[i] = std::make_shared<Chunk>(*budget_);
      // Only the first chunk grows in steps: a file that fills it is not a small one.
      enough = enough && chunks[i]->Reserve(at + part.size(), first + i > 0);
    });
    if (!enough) return false;
    for (size_t i = 0; i < chunks.size(); ++i) chunks_[first + i] = chunks[i];
    return true;
  }

  const std::shared_ptr<Budget> budget_;
  Mutex write_mu_;  // held by the one writer
  Mutex mu_;
  uint64_t size_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<uint64_t, std::shared_ptr<Chunk>> chunks_ ABSL_GUARDED_BY(mu_);  // absent: all zeros
};

class MemoryFile : public File {
 public:
  MemoryFile(std::string path, bool writable, std::shared_ptr<Contents> contents)
      : path_(std::move(path)), writable_(writable), contents_(std::move(contents)) {}

  StatusOr<size_t> ReadAt(uint64_t position, std::span<std::byte> out) override {
    return contents_->Read(position, out);
  }
  Status WriteAt(uint64_t position, std::span<const std::byte> bytes) override {
    const int error = writable_ ? contents_->Write(position, bytes) : EBADF;
    if (error == 0) return absl::OkStatus();
    return ErrnoStatus(error, fmt::format("write of {} bytes at position {} of {}", bytes.size(),
                                          position, path_));
  }
  Status Sync() override { return absl::OkStatus(); }
  Status Truncate(uint64_t size_bytes) override {
    // EINVAL is what ftruncate answers for a file that is open for reading.
    const int error = writable_ ? contents_->Truncate(size_bytes) : EINVAL;
    if (error == 0) return absl::OkStatus();
    return ErrnoStatus(error, fmt::format("truncation of {} to {} bytes", path_, size_bytes));
  }
  StatusOr<uint64_t> Size() override { return contents_->Size(); }
  Status DropCache() override { return absl::OkStatus(); }

 private:
  const std::string path_;
  const bool writable_;
  const std::shared_ptr<Contents> contents_;
};

// The locks that are held, by inode. Thread-safe.
class LockTable {
 public:
  bool Hold(FileTree::Inode inode) {
    MutexLock lock(mu_);
    return held_.insert(inode).second;
  }
  void Release(FileTree::Inode inode) {
    MutexLock lock(mu_);
    held_.erase(inode);
  }

 private:
  Mutex mu_;
  std::set<FileTree::Inode> held_ ABSL_GUARDED_BY(mu_);
};

class MemoryLock : public FileLock {
 public:
  MemoryLock(std::shared_ptr<LockTable> table, FileTree::Inode inode)
      : table_(std::move(table)), inode_(inode) {}
  ~MemoryLock() override { table_->Release(inode_); }

 private:
  const std::shared_ptr<LockTable> table_;
  const FileTree::Inode inode_;
};

class MemoryFileSystem : public FileSystem {
 public:
  explicit MemoryFileSystem(uint64_t max_bytes) : budget_(std::make_shared<Budget>(max_bytes)) {}

  StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    MutexLock lock(mu_);
    MILLRACE_ASSIGN_OR_RETURN(const FileTree::Inode inode, OpenLocked(path, mode));
    return std::make_unique<MemoryFile>(path, mode != OpenMode::kRead, contents_.at(inode));
  }
  StatusOr<FileInfo> Stat(const std::string& path) override {
    MutexLock lock(mu_);
    const FileTree::Found found = tree_.Find(path);
    if (found.error != 0) return ErrnoStatus(found.error, fmt::format("stat of {}", path));
    if (found.is_directory) return FileInfo{.is_directory = true};
    return FileInfo{.size_bytes = contents_.at(found.inode)->Size()};
  }
  StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    MutexLock lock(mu_);
    MILLRACE_ASSIGN_OR_RETURN(const FileTree::Inode inode, FindDirectory(directory, "list"));
    std::vector<std::string> names;
    for (const auto& [name, child] : tree_.EntriesOf(inode)) names.push_back(name);
    return names;
  }
  Status CreateDir(const std::string& path) override {
    MutexLock lock(mu_);
    return Done(tree_.Create(path, true), [&] { return fmt::format("creation of {}", path); });
  }
  Status RemoveFile(const std::string& path) override {
    MutexLock lock(mu_);
    return Done(tree_.RemoveFile(path), [&] { return fmt::format("removal of {}", path); });
  }
  Status RemoveDir(const std::string& path) override {
    MutexLock lock(mu_);
    return Done(tree_.RemoveDir(path), [&] { return fmt::format("removal of {}", path); });
  }
  Status Rename(const std::string& from, const std::string& to) override {
    MutexLock lock(mu_);
    return Done(tree_.Rename(from, to),
                [&] { return fmt::format("rename of {} to {}", from, to); });
  }
  Status Link(const std::string& from, const std::string& to) override {
    MutexLock lock(mu_);
    return Done(tree_.Link(from, to), [&] { return fmt::format("link of {} to {}", from, to); });
  }
  Status SyncDir(const std::string& directory) override {
    MutexLock lock(mu_);
    return FindDirectory(directory, "sync").status();
  }
  StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    MutexLock lock(mu_);
    MILLRACE_ASSIGN_OR_RETURN(const FileTree::Inode inode, OpenLocked(path, OpenMode::kCreate));
    if (!locks_->Hold(inode)) {
      return MakeError(ErrorId::kAlreadyOpen, fmt::format("{}: is locked by this process", path));
    }
    return std::make_unique<MemoryLock>(locks_, inode);
  }
  // A boot lasts as long as the files do.
  std::string BootId() override { return fmt::format("memory-{}", fmt::ptr(this)); }
  std::string MountId(const std::string&) override { return "memory"; }

 private:
  StatusOr<FileTree::Inode> OpenLocked(const std::string& path, OpenMode mode)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const auto failed = [&](int error) {
      return ErrnoStatus(error, fmt::format("open of {}", path));
    };
    const bool create = mode == OpenMode::kCreate || mode == OpenMode::kCreateNew;
    const FileTree::Found found = tree_.Find(path);
    if (found.error == 0 && mode == OpenMode::kCreateNew) return failed(EEXIST);
    if (found.is_directory) return failed(EISDIR);
    if (found.error == 0) return found.inode;
    if (found.error != ENOENT || !create) return failed(found.error);
    const FileTree::Result created = tree_.Create(path, false);
    if (created.error != 0) return failed(created.error);
    contents_.emplace(created.inode, std::make_shared<Contents>(budget_));
    return created.inode;
  }
  StatusOr<FileTree::Inode> FindDirectory(const std::string& path, std::string_view operation)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const FileTree::Found found = tree_.Find(path);
    if (found.error == 0 && found.is_directory) return found.inode;
    return ErrnoStatus(found.error != 0 ? found.error : ENOTDIR,
                       fmt::format("{} of {}", operation, path));
  }
  template <typename What>
  Status Done(const FileTree::Result& result, What what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (result.error != 0) return ErrnoStatus(result.error, what());
    contents_.erase(result.orphan);  // open handles keep theirs
    return absl::OkStatus();
  }

  const std::shared_ptr<Budget> budget_;
  const std::shared_ptr<LockTable> locks_ = std::make_shared<LockTable>();
  Mutex mu_;  // the tree alone: what files hold has locks of its own
  FileTree tree_ ABSL_GUARDED_BY(mu_);
  std::unordered_map<FileTree::Inode, std::shared_ptr<Contents>> contents_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::shared_ptr<FileSystem> NewMemoryFileSystem(uint64_t max_bytes) {
  return std::make_shared<MemoryFileSystem>(max_bytes);
}

}  // namespace millrace
