#include "harness/support/loop_mount.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <thread>
#include <utility>

#include "harness/support/fatal.h"

namespace millrace::harness {
namespace {

// The kernel's FS_IOC_SHUTDOWN, which ext4 and XFS share, and its flag "do not flush the journal".
constexpr unsigned long kShutdown = _IOR('X', 125, uint32_t);
constexpr uint32_t kNoLogFlush = 2;

const char* TypeOf(LoopMount::Kind kind) { return kind == LoopMount::Kind::kExt4 ? "ext4" : "xfs"; }

bool HasProgram(std::string_view name) {
  for (const std::string_view directory : {"/sbin/", "/usr/sbin/", "/bin/", "/usr/bin/"}) {
    if (::access(fmt::format("{}{}", directory, name).c_str(), X_OK) == 0) return true;
  }
  return false;
}

int OpenOrDie(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (fd < 0) Fatal("{}: {}", path, std::strerror(errno));
  return fd;
}

}  // namespace

std::optional<std::string> LoopMount::WhatIsMissing() {
  if (::geteuid() != 0 || ::access("/dev/loop-control", W_OK) != 0) {
    return "root and loop devices";
  }
  if (!HasProgram("mkfs.ext4")) return "mkfs.ext4 (apt-get install e2fsprogs)";
  if (!HasProgram("mkfs.xfs")) return "mkfs.xfs (apt-get install xfsprogs)";
  // Containers often have root, and still may not mount.
  const int probe = ::fork();
  if (probe == 0) ::_exit(::unshare(CLONE_NEWNS) == 0 ? 0 : 1);
  int status = 1;
  ::waitpid(probe, &status, 0);
  if (status != 0) return "root and loop devices (the right to mount)";
  return std::nullopt;
}

void HideMounts() {
  if (::unshare(CLONE_NEWNS) != 0) Fatal("unshare: {}", std::strerror(errno));
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    Fatal("making mounts private: {}", std::strerror(errno));
  }
}

int Skip(const std::string& what_is_missing) {
  fmt::print("SKIPPED: needs {}\n", what_is_missing);
  const char* const required = std::getenv("MILLRACE_REQUIRE_PRIVILEGED");
  if (required == nullptr || std::string_view(required) != "1") return kSkipped;
  fmt::print("MILLRACE_REQUIRE_PRIVILEGED=1 does not allow that\n");
  return 1;
}

LoopMount::LoopMount(Options options) : options_(std::move(options)) {
  std::filesystem::create_directories(options_.mount_point);
  MakeFileSystem();
  AttachLoopDevice();
  Mount();
}

LoopMount::~LoopMount() {
  if (mounted_) Unmount();
  ::close(loop_);
  std::filesystem::remove(options_.image);
}

void LoopMount::MakeFileSystem() {
  const int image = OpenOrDie(options_.image, O_RDWR | O_CREAT | O_TRUNC);
  if (::ftruncate(image, static_cast<off_t>(options_.size_bytes)) != 0) {
    Fatal("{}: {}", options_.image, std::strerror(errno));
  }
  ::close(image);
  // ext4 without lazy initialisation: the kernel would go on writing tables in the background.
  const std::string command =
      options_.kind == Kind::kExt4
          ? fmt::format("mkfs.ext4 -q -F -b 4096 -E lazy_itable_init=0,lazy_journal_init=0 {}",
                        options_.image)
          : fmt::format("mkfs.xfs -q -f {}", options_.image);
  if (std::system(command.c_str()) != 0) Fatal("{} failed", command);
}

void LoopMount::AttachLoopDevice() {
  const int control = OpenOrDie("/dev/loop-control", O_RDWR);
  const int image = OpenOrDie(options_.image, O_RDWR);
  loop_config config{};
  config.fd = static_cast<uint32_t>(image);
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
  // Another process may take the free device before we do.
  for (int attempt = 0; attempt < 100 && loop_ < 0; ++attempt) {
    const int number = ::ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) Fatal("LOOP_CTL_GET_FREE: {}", std::strerror(errno));
    loop_path_ = fmt::format("/dev/loop{}", number);
    const int device = OpenOrDie(loop_path_, O_RDWR);
    if (::ioctl(device, LOOP_CONFIGURE, &config) == 0) {
      loop_ = device;
    } else {
      const int error = errno;
      ::close(device);
      if (error != EBUSY) Fatal("{}: LOOP_CONFIGURE: {}", loop_path_, std::strerror(error));
    }
  }
  if (loop_ < 0) Fatal("no loop device is free");
  ::close(image);
  ::close(control);
}

void LoopMount::Mount() {
  const char* const type = TypeOf(options_.kind);
  if (::mount(loop_path_.c_str(), options_.mount_point.c_str(), type, 0, nullptr) != 0) {
    Fatal("mounting {} on {}: {}", loop_path_, options_.mount_point, std::strerror(errno));
  }
  mounted_ = true;
}

void LoopMount::Unmount() {
  for (int attempt = 0; attempt < 500; ++attempt) {
    if (::umount(options_.mount_point.c_str()) == 0) {
      mounted_ = false;
      return;
    }
    if (errno != EBUSY) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  Fatal("unmounting {}: {}", options_.mount_point, std::strerror(errno));
}

void LoopMount::CutPower() {
  const int root = OpenOrDie(options_.mount_point, O_RDONLY | O_DIRECTORY);
  uint32_t flags = kNoLogFlush;
  if (::ioctl(root, kShutdown, &flags) != 0) {
    Fatal("{}: FS_IOC_SHUTDOWN: {}", options_.mount_point, std::strerror(errno));
  }
  ::close(root);
}

}  // namespace millrace::harness
