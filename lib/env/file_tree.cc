#include "env/file_tree.h"

#include <cerrno>
#include <set>
#include <utility>

namespace millrace {
namespace {

// Takes the next part off the front of `path`; empty when there is none.
std::string_view TakePart(std::string_view& path) {
  while (!path.empty()) {
    const size_t end = path.find('/');
    const std::string_view part = path.substr(0, end);
    path.remove_prefix(end == std::string_view::npos ? path.size() : end + 1);
    if (!part.empty() && part != ".") return part;
  }
  return {};
}

FileTree::Result Failed(int error) { return {.error = error}; }

}  // namespace

FileTree::FileTree() { directories_[kRoot]; }

FileTree::FileTree(const Directories& directories, Inode next_inode) : next_inode_(next_inode) {
  std::vector<Inode> queue = {kRoot};
  std::set<Inode> seen = {kRoot};
  for (size_t i = 0; i < queue.size(); ++i) {
    Entries& entries = directories_[queue[i]];
    for (const auto& [name, inode] : directories.at(queue[i])) {
      const bool is_directory = directories.contains(inode);
      if (is_directory && !seen.insert(inode).second) continue;
      if (is_directory) queue.push_back(inode);
      if (!is_directory) ++links_[inode];
      entries.emplace(name, inode);
    }
  }
}

FileTree::Place FileTree::Locate(std::string_view path) const {
  Place place = {.inode = kRoot};
  for (std::string_view part = TakePart(path); !part.empty(); part = TakePart(path)) {
    if (place.inode == 0) return {.error = ENOENT};
    const auto directory = directories_.find(place.inode);
    if (directory == directories_.end()) return {.error = ENOTDIR};
    const auto entry = directory->second.find(part);
    place.directory = place.inode;
    place.name = part;
    place.inode = entry == directory->second.end() ? 0 : entry->second;
  }
  return place;
}

FileTree::Found FileTree::Find(std::string_view path) const {
  const Place place = Locate(path);
  if (place.error != 0) return {.error = place.error};
  if (place.inode == 0) return {.error = ENOENT};
  return {.inode = place.inode, .is_directory = IsDirectory(place.inode)};
}

FileTree::Change FileTree::EntryAt(std::string_view path) const {
  const Place place = Locate(path);
  return {place.directory, std::string(place.name), place.inode, place.inode != 0};
}

std::vector<std::pair<std::string, FileTree::Inode>> FileTree::Files() const {
  std::map<std::string, Inode> files;
  std::vector<std::pair<std::string, Inode>> queue = {{"", kRoot}};
  for (size_t i = 0; i < queue.size(); ++i) {
    const auto [path, directory] = queue[i];
    for (const auto& [name, inode] : directories_.at(directory)) {
      std::string child = path;
      if (!child.empty()) child += '/';
      child += name;
      if (IsDirectory(inode)) {
        queue.emplace_back(std::move(child), inode);
      } else {
        files.emplace(std::move(child), inode);
      }
    }
  }
  return {files.begin(), files.end()};
}

void FileTree::Set(Result& result, const Place& place, Inode inode) {
  result.inode = inode;
  directories_[place.directory].insert_or_assign(std::string(place.name), inode);
  result.changes.push_back({place.directory, std::string(place.name), inode, true});
}

void FileTree::Remove(Result& result, const Place& place) {
  result.inode = place.inode;
  directories_[place.directory].erase(directories_[place.directory].find(place.name));
  result.changes.push_back({place.directory, std::string(place.name), place.inode, false});
}

void FileTree::DropLink(Result& result, Inode file) {
  const auto links = links_.find(file);
  if (--links->second > 0) return;
  links_.erase(links);
  result.orphan = file;
}

FileTree::Result FileTree::Create(std::string_view path, bool directory) {
  const Place place = Locate(path);
  if (place.error != 0) return Failed(place.error);
  if (place.inode != 0) return Failed(EEXIST);
  Result result;
  const Inode inode = next_inode_++;
  Set(result, place, inode);
  if (directory) {
    directories_[inode];
  } else {
    links_[inode] = 1;
  }
  return result;
}

FileTree::Result FileTree::RemoveFile(std::string_view path) {
  const Place place = Locate(path);
  if (place.error != 0) return Failed(place.error);
  if (place.inode == 0) return Failed(ENOENT);
  if (IsDirectory(place.inode)) return Failed(EISDIR);
  Result result;
  Remove(result, place);
  DropLink(result, place.inode);
  return result;
}

FileTree::Result FileTree::RemoveDir(std::string_view path) {
  const Place place = Locate(path);
  if (place.error != 0) return Failed(place.error);
  if (place.inode == 0) return Failed(ENOENT);
  if (!IsDirectory(place.inode)) return Failed(ENOTDIR);
  if (place.inode == kRoot) return Failed(EBUSY);
  if (!directories_.at(place.inode).empty()) return Failed(ENOTEMPTY);
  Result result;
  Remove(result, place);
  directories_.erase(place.inode);
  return result;
}

bool FileTree::IsWithin(Inode inode, Inode ancestor) const {
  if (inode == ancestor) return true;
  const auto directory = directories_.find(ancestor);
  if (directory == directories_.end()) return false;
  for (const auto& [name, child] : directory->second) {
    if (IsDirectory(child) && IsWithin(inode, child)) return true;
  }
  return false;
}

FileTree::Result FileTree::Rename(std::string_view from, std::string_view to) {
  const Place source = Locate(from);
  const Place target = Locate(to);
  if (source.error != 0) return Failed(source.error);
  if (target.error != 0) return Failed(target.error);
  if (source.inode == 0) return Failed(ENOENT);
  if (source.inode == kRoot || target.inode == kRoot) return Failed(EBUSY);
  Result result = {.inode = source.inode};
  if (source.inode == target.inode) return result;
  const bool moves_directory = IsDirectory(source.inode);
  if (moves_directory && IsWithin(target.directory, source.inode)) return Failed(EINVAL);
  if (target.inode != 0) {
    const bool onto_directory = IsDirectory(target.inode);
    if (moves_directory && !onto_directory) return Failed(ENOTDIR);
    if (!moves_directory && onto_directory) return Failed(EISDIR);
    if (onto_directory && !directories_.at(target.inode).empty()) return Failed(ENOTEMPTY);
    if (onto_directory) directories_.erase(target.inode);
    if (!onto_directory) DropLink(result, target.inode);
  }
  Remove(result, source);
  Set(result, target, source.inode);
  return result;
}

FileTree::Result FileTree::Link(std::string_view from, std::string_view to) {
  const Place source = Locate(from);
  const Place target = Locate(to);
  if (source.error != 0) return Failed(source.error);
  if (source.inode == 0) return Failed(ENOENT);
  if (target.error != 0) return Failed(target.error);
  if (target.inode != 0) return Failed(EEXIST);
  if (IsDirectory(source.inode)) return Failed(EPERM);
  Result result;
  Set(result, target, source.inode);
  ++links_[source.inode];
  return result;
}

}  // namespace millrace
