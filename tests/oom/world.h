#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/millrace.h"

namespace millrace::oom {

// What the program was told of its records; none of it allocates.
struct Told {
  static constexpr int kMost = 128;
  enum class Record : uint8_t {
    kUnsent,
    kUnknown,   // it may be there
    kRefused,   // it must not be there
    kDelivered  // it must be there
  };
  std::array<std::atomic<Record>, kMost> records{};
  std::atomic<int> accepted_callbacks{0}, called_callbacks{0};
  std::atomic<int64_t> committed{-1};      // by the group "readers" of events-0
  std::atomic<int64_t> deleted_before{0};  // of events-0: what lies below may be gone
  std::atomic<bool> asked_to_delete{false};
  std::atomic<int64_t> log_start{0};  // what lies below must be gone
  std::atomic<bool> closed{false};    // Broker::Close said OK
  std::atomic<int64_t> next_read{0};  // by the consumer, of events-0
  std::atomic<int> errors{0};
  std::atomic<int> odd_errors{0};  // neither out of memory nor what follows from it
};

// One directory, the broker on it and what a program holds of it. Time passes when it is waited
// for, so that no deadline takes long.
class World {
 public:
  World(std::string directory, int background_threads);

  // Makes what opening is given; with memory enough.
  void Ready();
  Status Open();
  void Close();
  // Gives everything back that it holds.
  void Drop();
  // As a crash would leave the directory: a copy of the files of the open broker takes its place.
  void Crash();

  void CreateEvents();  // the topic of all records, with small segments
  // Opens another broker beside the first, for reading, and a consumer of the events on it.
  Status Watch();
  void PollWatching();
  // Each ends when the records are answered.
  void SendByFuture(Producer& producer, int first, int end);
  void SendByCallback(Producer& producer, int first, int end);
  void SendTogether(Producer& producer, int first, int end);
  // Notes an error that lack of memory does not explain.
  bool Ok(const Status& status, std::string_view what);
  template <typename T>
  bool Ok(const StatusOr<T>& result, std::string_view what) {
    return Ok(result.status(), what);
  }

  const std::string directory;
  const std::filesystem::path checkpoint;  // where one may be made
  std::shared_ptr<Clock> clock;
  std::optional<Broker> broker;
  std::optional<Client> client;
  std::optional<Producer> producer;
  std::optional<Consumer> consumer;
  std::optional<Broker> watcher;
  std::optional<Consumer> watching;
  Told told;
  const absl::Duration patience;                             // of calls that wait
  std::map<std::string, std::optional<std::string>> config;  // some change of a topic's

  // Of record `id`.
  static std::string_view Key(int id);
  static std::string_view Value(int id);
  static constexpr std::string_view kTopic = "events";

 private:
  const int background_threads_;
  BrokerOptions options_;
  TopicOptions events_;
  std::vector<TopicPartition> to_watch_;
};

// With memory back, on the same broker, unless it was closed: new records are taken, and all that
// was told is true. Returns whether the directory has failed instead, as one may whose metadata
// lacked memory between the write and the sync.
bool GoesOn(World& world, int* wrong, int* lost);
// With memory back: who reads beside the writer sees all of it.
void WatchesOn(World& world, int* wrong, int* lost);
// After an opening: what was delivered and committed is there, in order, once, and nothing else.
void Verify(World& world, int* wrong, int* lost);

}  // namespace millrace::oom
