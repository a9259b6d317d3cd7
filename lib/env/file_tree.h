#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

// The names of a file system that lives in memory: directories of names, each standing for a
// numbered inode, with the rules of POSIX. What a file holds is its owner's business. Errors are
// errnos. Empty and "." parts of a path are skipped, so that "a/b", "/a/b" and "./a//b" are one;
// ".." is unknown. Thread-compatible.
class FileTree {
 public:
  using Inode = uint64_t;
  using Entries = std::map<std::string, Inode, std::less<>>;
  using Directories = std::map<Inode, Entries>;  // of each directory's inode
  static constexpr Inode kRoot = 1;

  // One entry of one directory that was set or removed.
  struct Change {
    Inode directory = 0;
    std::string name = {};
    Inode inode = 0;
    bool added = false;
  };
  struct Found {
    int error = 0;
    Inode inode = 0;
    bool is_directory = false;
  };
  // What an operation did: nothing, when `error` is set.
  struct Result {
    int error = 0;
    Inode inode = 0;                   // of the entry in question
    std::vector<Change> changes = {};  // in order; together they are one atomic operation
    Inode orphan = 0;                  // a file that has lost its last name
  };

  FileTree();
  // A tree of what can be reached from the root. A directory that is found under a second name
  // keeps the first, as a file system check would do. `next_inode` is larger than any inode.
  FileTree(const Directories& directories, Inode next_inode);

  Found Find(std::string_view path) const;
  // The entry as a change that sets or removes it. The directory that holds it must be there.
  Change EntryAt(std::string_view path) const;
  const Directories& directories() const { return directories_; }
  const Entries& EntriesOf(Inode directory) const { return directories_.at(directory); }
  bool IsDirectory(Inode inode) const { return directories_.contains(inode); }
  bool IsFile(Inode inode) const { return links_.contains(inode); }
  // Every file, also through each of its names: path and inode, sorted by path.
  std::vector<std::pair<std::string, Inode>> Files() const;
  Inode next_inode() const { return next_inode_; }

  Result Create(std::string_view path, bool directory);
  Result RemoveFile(std::string_view path);
  Result RemoveDir(std::string_view path);
  Result Rename(std::string_view from, std::string_view to);
  Result Link(std::string_view from, std::string_view to);

 private:
  // Where a path's last part lies, or would lie.
  struct Place {
    int error = 0;
    Inode directory = 0;
    std::string_view name = {};  // empty: the path is the root
    Inode inode = 0;             // 0: no such entry
  };
  Place Locate(std::string_view path) const;
  bool IsWithin(Inode inode, Inode ancestor) const;
  void Set(Result& result, const Place& place, Inode inode);
  void Remove(Result& result, const Place& place);
  void DropLink(Result& result, Inode file);

  Directories directories_;
  std::map<Inode, size_t> links_;  // of each file: how many names it has
  Inode next_inode_ = kRoot + 1;
};

}  // namespace millrace
