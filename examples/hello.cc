// How do I keep a record, and read it back? Usage: hello DIR
#include <iostream>

#include "millrace/millrace.h"

millrace::Status Run(const std::string& directory) {
  auto log = millrace::Open("file:" + directory);  // or "memory:"
  if (!log.ok()) return log.status();
  const auto created =
      log->admin().CreateTopic("orders", {.partitions = 4}, millrace::OnExists::kKeep);
  if (!created.ok()) return created;

  auto producer = log->NewProducer();
  if (!producer.ok()) return producer.status();
  // Get waits until the record is on stable storage.
  const auto sent = producer->Send({.topic = "orders", .key = "alice", .value = "2 x tea"}).Get();
  if (!sent.ok()) return sent.status();

  auto billing = log->NewConsumer({.group = "billing", .topics = {"orders"}});
  if (!billing.ok()) return billing.status();
  const auto batch = billing->Poll(absl::Seconds(5));
  if (!batch.ok()) return batch.status();
  // A record is a view into its batch, and lives as long as that. millrace::Copy makes one to keep.
  for (const millrace::RecordView& order : *batch)
    std::cout << order.key().str() << " ordered " << order.value().str() << "\n";
  return billing->Close(
      absl::Seconds(5));  // commits what was read: a second run reads on from here
}

int main(int argc, char** argv) {
  const millrace::Status status =
      argc == 2 ? Run(argv[1]) : absl::InvalidArgumentError("usage: hello DIR");
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
