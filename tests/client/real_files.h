#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/fixture.h"
#include "env/file_systems.h"

// A broker over real files, whose process or machine dies at will and whose files are damaged in
// between.
namespace millrace {

// The real files as one life of a process sees them, in the boot of that name. Once frozen nothing
// reaches them any more. Syncs do nothing: here nobody cuts the power.
std::shared_ptr<FileSystem> FilesOfOneLife(std::string boot,
                                           std::shared_ptr<std::atomic<bool>> frozen);

struct OnDisk {
  explicit OnDisk(uint64_t seed = 7);  // of its ids

  Status TryOpen();
  void Open() { OrFail(TryOpen()); }
  void Close();
  void KillProcess() { Drop(boot_); }
  void CutPower() { Drop(boot_ + 1); }

  Client client() const { return broker->client(); }
  // Records of one batch and one millisecond each: their values are their offsets, of three digits.
  void Produce(Offset from, Offset to, const std::string& topic = "t");
  void WriteMarks();  // what is acknowledged so far lies below the durable mark

  std::string PathOf(const std::string& name) const { return data + "/" + name; }
  std::string Read(const std::string& name) const;
  void Write(const std::string& name, std::string_view bytes) const;
  void Remove(const std::string& name) const;
  bool Exists(const std::string& name) const;
  using Image = std::map<std::string, std::string>;  // the contents of every file that has any
  Image Save() const;
  void Restore(const Image& image);  // of a broker that is not open any more

  // What can be read from the beginning on, past every error.
  struct Contents {
    std::map<Offset, std::string> values;
    std::vector<std::string> errors;
    bool Has(Offset from, Offset to) const;  // each of [from, to), as it was written
    bool Lacks(Offset from, Offset to) const;
  };
  Contents ReadAll(const std::string& topic = "t") const;
  Offset End(const std::string& topic = "t") const;
  // What recovery() says of the topic's partition 0, in one text.
  std::string Report(const std::string& topic = "t") const;
  RecoveryInfo Recovery(const std::string& topic = "t") const;

  TemporaryDirectory directory;
  std::string data = directory.path() + "/data";
  BrokerOptions options;
  std::shared_ptr<testing::ManualClock> clock =
      std::make_shared<testing::ManualClock>(absl::FromUnixMillis(1'700'000'000'000));
  std::shared_ptr<LogLines> log = std::make_shared<LogLines>();
  std::unique_ptr<Broker> broker;

 private:
  void Drop(int next_boot);
  int boot_ = 1;
  std::shared_ptr<std::atomic<bool>> frozen_;
};

enum class Ended { kClosed, kPowerCut, kKilled };
inline constexpr std::array kEnds = {Ended::kClosed, Ended::kPowerCut, Ended::kKilled};

// Seventeen records in segments of five, [0, 5) [5, 10) [10, 15) [15, 17), all of them below the
// durable mark, as a process leaves them that ended so.
struct FourSegments : OnDisk {
  explicit FourSegments(Ended ended, uint64_t seed = 7);
  // Puts the files back and applies `change` to them.
  void Damage(const std::function<void()>& change) {
    Restore(image);
    change();
  }
  Image older;  // after a close of its first twelve records
  Image image;
};

}  // namespace millrace
