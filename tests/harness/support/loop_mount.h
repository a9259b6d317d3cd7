#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace millrace::harness {

// A small file system of its own: an image file, a loop device, a mount point. Only this process
// and its children see the mount, and all of it goes away with the process, however that ends.
// Everything ends the process with a message if the machine refuses. Belongs to one thread.
class LoopMount {
 public:
  enum class Kind { kExt4, kXfs };
  struct Options {
    Kind kind = Kind::kExt4;
    std::string image;        // its path; the file is created, sparse
    std::string mount_point;  // a directory; created
    uint64_t size_bytes = 64 << 20;
  };

  // What this machine lacks for it, in words; nothing if it may work.
  static std::optional<std::string> WhatIsMissing();

  explicit LoopMount(Options options);  // makes the file system and mounts it
  ~LoopMount();
  LoopMount(const LoopMount&) = delete;
  LoopMount& operator=(const LoopMount&) = delete;

  const std::string& path() const { return options_.mount_point; }

  // Takes the power away: from now on nothing reaches the image, and what is only in memory never
  // will. Unmount and Mount then do what a machine does that starts again.
  void CutPower();
  void Unmount();  // waits a moment for others to let go
  void Mount();

 private:
  void MakeFileSystem();
  void AttachLoopDevice();

  const Options options_;
  int loop_ = -1;  // the open device; it detaches itself when it is closed and not mounted
  std::string loop_path_;
  bool mounted_ = false;
};

// Puts this process into a mount namespace of its own, so that no mount outlives it.
void HideMounts();

// The tests that need root end with this where the machine does not allow them: the exit code that
// ctest takes for skipped; a failure when MILLRACE_REQUIRE_PRIVILEGED=1 says that they must run.
int Skip(const std::string& what_is_missing);
inline constexpr int kSkipped = 77;

}  // namespace millrace::harness
