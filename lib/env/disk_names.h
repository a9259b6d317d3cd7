#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <vector>

#include "env/file_tree.h"
#include "env/split_mix.h"

namespace millrace {

// The names of the simulated disk: the tree that callers see, and what of it is durable under each
// of two models, since which of them a power cut follows is known only when it comes.
//  - journalled: operations become durable in their order. A sync of a file or directory commits
//  all
//    up to the last one that concerns it: a change of the directory, the file's creation or its
//    size.
//  - adversarial: only the sync of a directory makes its entries durable, and any others may be
//  lost,
//    or survive in any combination. A rename across directories is two changes.
// Thread-compatible.
class DiskNames {
 public:
  using Inode = FileTree::Inode;

  DiskNames();
  explicit DiskNames(FileTree tree);  // all of it durable

  const FileTree& tree() const { return tree_; }
  FileTree::Result Create(std::string_view path, bool directory);
  FileTree::Result RemoveFile(std::string_view path) { return Record(tree_.RemoveFile(path)); }
  FileTree::Result RemoveDir(std::string_view path) { return Record(tree_.RemoveDir(path)); }
  FileTree::Result Rename(std::string_view from, std::string_view to) {
    return Record(tree_.Rename(from, to));
  }
  FileTree::Result Link(std::string_view from, std::string_view to) {
    return Record(tree_.Link(from, to));
  }

  void ChangeSize(Inode file) { last_operation_[file] = next_operation_++; }
  void SyncFile(Inode file) { Commit(file); }
  void SyncDir(Inode directory);

  // Of the entry at `path`, there or not: as if it had been so from the start. For direct access.
  void MakeDurable(std::string_view path);

  FileTree AfterCutJournalled(SplitMix64& random) const;
  FileTree AfterCutAdversarial(SplitMix64& random) const;

  // Forgets what no power cut can bring back, and returns the inodes that may still be named.
  std::set<Inode> Sweep();

 private:
  struct Operation {
    uint64_t number;
    std::vector<FileTree::Change> changes;
  };
  FileTree::Result Record(FileTree::Result result);
  void Commit(Inode inode);
  void DropEmptyOperations();
  static void Apply(const FileTree::Change& change, FileTree::Directories& directories);

  FileTree tree_;
  uint64_t next_operation_ = 1;
  std::map<Inode, uint64_t> last_operation_;  // that the sync of the inode commits

  FileTree::Directories committed_;  // journalled
  std::deque<Operation> journal_;    // not yet committed

  FileTree::Directories synced_;     // adversarial
  std::vector<Operation> unsynced_;  // without the changes of directories that were synced since
};

}  // namespace millrace
