#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker_fixture.h"

namespace millrace::broker {

// What was asked of one broker and what it answered: so much may be believed of its disk
// afterwards.
struct Journal {
  struct Log {
    std::map<Offset, std::string> answered;  // survives the death of the process
    std::map<Offset, std::string> durable;   // survives a power cut too
    std::set<std::string> asked;             // may be there, answered or not
    Offset start_answered = 0;               // the log start is at least here
    Offset start_asked = 0;                  // and at most here
    std::optional<int32_t> epoch_used;       // the largest in which an append was answered
  };
  struct Topic {
    std::string name;
    bool created = false;  // answered OK
    bool delete_asked = false;
    bool deleted = false;             // answered OK
    int32_t partitions = 1;           // at least
    int32_t partitions_asked = 1;     // at most
    std::set<std::string> retention;  // what retention.ms may be
    std::map<int32_t, Log> logs;
  };
  // One after the other, the newest last; several may have one name.
  std::vector<Topic> topics;
  // What the committed offset of (group, partition) may be; the last certain one and all after it.
  std::map<std::pair<std::string, TopicPartition>, std::set<Offset>> committed;

  Topic* Newest(const std::string& name);
};

// Runs a workload against a broker and keeps the journal. Calls that fail leave both outcomes
// possible.
class BrokerDriver {
 public:
  BrokerDriver(std::shared_ptr<testing::SimulatedDisk> disk, FlushPolicy flush, uint64_t seed);
  ~BrokerDriver();

  bool Open();
  void Close();
  void Create(const std::string& topic, int32_t partitions = 1, ConfigMap config = {});
  void Delete(const std::string& topic);
  void Grow(const std::string& topic, int32_t total);
  void Alter(const std::string& topic, const std::string& retention_ms);
  void AlterEverything(const std::string& topic);  // to the built-in values: a long record
  uint64_t MetadataLogBytes();
  // Appends to each of the partitions without waiting; Maintain syncs them together.
  void AppendLater(const std::string& topic, int32_t partition, size_t bytes = 20);
  void Append(const std::string& topic, int32_t partition, size_t bytes = 20);
  void Maintain(absl::Duration after = absl::ZeroDuration());
  void SyncAll();
  void Read(const std::string& topic, int32_t partition);  // what is seen must stay
  void DeleteBefore(const std::string& topic, int32_t partition, Offset offset);
  void Retain(const std::string& topic, int32_t partition);  // retention may now take what is old
  void Commit(const std::string& group, const std::string& topic, Offset offset, bool durable,
              size_t metadata_bytes = 0);
  void Drop();  // the broker goes away; its disk keeps what it has

  Machine& machine() { return machine_; }
  Journal& journal() { return journal_; }
  uint64_t seed() const { return seed_; }

 private:
  struct Pending {
    std::string topic;
    int32_t partition = 0;
    std::string value;
    int32_t epoch = 0;
    std::shared_ptr<Answer> answer;
  };
  void Harvest();  // answers that have come

  Machine machine_;
  FlushPolicy flush_;
  uint64_t seed_;
  std::shared_ptr<Broker> broker_;
  Journal journal_;
  std::vector<Pending> pending_;
  int next_value_ = 0;
};

struct Finding {
  bool lost = false;
  std::string what;
  bool ok() const { return what.empty(); }
};

// Opens the disk as its next user would, compares all of it with the journal, and uses it.
Finding CheckDisk(std::shared_ptr<testing::SimulatedDisk> disk, const Journal& journal,
                  FlushPolicy flush, bool power_was_cut);

struct Workload {
  std::string name;
  FlushPolicy flush = FlushPolicy::kEachBatch;
  std::function<void(BrokerDriver&)> prepare;  // never cut
  std::function<void(BrokerDriver&)> run;
};
const std::vector<Workload>& AllWorkloads();

}  // namespace millrace::broker
