#include "env/disk_names.h"

#include <utility>

#include "env/survival.h"

namespace millrace {

DiskNames::DiskNames() : DiskNames(FileTree()) {}

DiskNames::DiskNames(FileTree tree)
    : tree_(std::move(tree)), committed_(tree_.directories()), synced_(tree_.directories()) {}

FileTree::Result DiskNames::Create(std::string_view path, bool directory) {
  FileTree::Result result = Record(tree_.Create(path, directory));
  if (result.error != 0) return result;
  last_operation_[result.inode] = next_operation_ - 1;
  if (directory) {
    // Empty, and out of reach until its entry is durable.
    committed_[result.inode];
    synced_[result.inode];
  }
  return result;
}

FileTree::Result DiskNames::Record(FileTree::Result result) {
  if (result.changes.empty()) return result;
  const uint64_t number = next_operation_++;
  for (const FileTree::Change& change : result.changes) last_operation_[change.directory] = number;
  journal_.push_back({number, result.changes});
  unsynced_.push_back({number, result.changes});
  return result;
}

void DiskNames::Apply(const FileTree::Change& change, FileTree::Directories& directories) {
  FileTree::Entries& entries = directories[change.directory];
  if (change.added) {
    entries.insert_or_assign(change.name, change.inode);
  } else {
    entries.erase(change.name);
  }
}

void DiskNames::Commit(Inode inode) {
  const auto last = last_operation_.find(inode);
  if (last == last_operation_.end()) return;
  while (!journal_.empty() && journal_.front().number <= last->second) {
    for (const FileTree::Change& change : journal_.front().changes) Apply(change, committed_);
    journal_.pop_front();
  }
}

void DiskNames::SyncDir(Inode directory) {
  Commit(directory);
  synced_[directory] = tree_.EntriesOf(directory);
  for (Operation& operation : unsynced_) {
    std::erase_if(operation.changes,
                  [&](const FileTree::Change& change) { return change.directory == directory; });
  }
  DropEmptyOperations();
}

void DiskNames::MakeDurable(std::string_view path) {
  const FileTree::Change change = tree_.EntryAt(path);
  Apply(change, committed_);
  Apply(change, synced_);
  const auto is_that_entry = [&](const FileTree::Change& other) {
    return other.directory == change.directory && other.name == change.name;
  };
  for (Operation& operation : journal_) std::erase_if(operation.changes, is_that_entry);
  for (Operation& operation : unsynced_) std::erase_if(operation.changes, is_that_entry);
  DropEmptyOperations();
}

void DiskNames::DropEmptyOperations() {
  std::erase_if(unsynced_, [](const Operation& operation) { return operation.changes.empty(); });
}

FileTree DiskNames::AfterCutJournalled(SplitMix64& random) const {
  FileTree::Directories image = committed_;
  // All and none are drawn more often than their share.
  const uint64_t drawn = random.Below(journal_.size() + 3);
  const size_t kept = drawn <= journal_.size() ? drawn : (drawn % 2 == 0 ? 0 : journal_.size());
  for (size_t i = 0; i < kept; ++i) {
    for (const FileTree::Change& change : journal_[i].changes) Apply(change, image);
  }
  return FileTree(image, tree_.next_inode());
}

FileTree DiskNames::AfterCutAdversarial(SplitMix64& random) const {
  FileTree::Directories image = synced_;
  Survival survival(random, unsynced_.size());
  for (size_t i = 0; i < unsynced_.size(); ++i) {
    const auto fate = survival.Of(i);
    if (fate == Survival::Fate::kDropped) continue;
    // Torn: of a rename across directories, one side.
    const auto& changes = unsynced_[i].changes;
    const Inode torn_off = fate == Survival::Fate::kKept ? 0
                           : random.OneIn(2)             ? changes.front().directory
                                                         : changes.back().directory;
    for (const FileTree::Change& change : changes) {
      if (change.directory != torn_off) Apply(change, image);
    }
  }
  return FileTree(image, tree_.next_inode());
}

std::set<FileTree::Inode> DiskNames::Sweep() {
  std::set<Inode> named = {FileTree::kRoot};
  std::vector<Inode> queue = {FileTree::kRoot};
  const auto add = [&](Inode inode) {
    if (named.insert(inode).second) queue.push_back(inode);
  };
  for (const Operation& operation : journal_) {
    for (const auto& change : operation.changes) add(change.inode);
  }
  for (const Operation& operation : unsynced_) {
    for (const auto& change : operation.changes) add(change.inode);
  }
  for (size_t i = 0; i < queue.size(); ++i) {
    for (const auto* directories :
         {&tree_.directories(), &std::as_const(committed_), &std::as_const(synced_)}) {
      const auto directory = directories->find(queue[i]);
      if (directory == directories->end()) continue;
      for (const auto& [name, inode] : directory->second) add(inode);
    }
  }
  const auto forgotten = [&](const auto& entry) { return !named.contains(entry.first); };
  std::erase_if(committed_, forgotten);
  std::erase_if(synced_, forgotten);
  std::erase_if(last_operation_, forgotten);
  for (Operation& operation : unsynced_) {
    std::erase_if(operation.changes,
                  [&](const auto& change) { return !named.contains(change.directory); });
  }
  DropEmptyOperations();
  return named;
}

}  // namespace millrace
