// A user's program, built against the installed files: one record there and back.
#include <iostream>

#include "millrace/millrace.h"

int main() {
  millrace::Client log = millrace::Open("memory:").value();
  if (auto s = log.admin().CreateTopic("orders", {.partitions = 4}); !s.ok())
    return std::cerr << s << "\n", 1;
  millrace::Producer producer = log.NewProducer().value();
  auto sent = producer.Send({.topic = "orders", .key = "alice", .value = "2 x tea"}).Get();
  if (!sent.ok()) return std::cerr << sent.status() << "\n", 1;
  millrace::Consumer billing = log.NewConsumer({.group = "billing", .topics = {"orders"}}).value();
  auto batch = billing.Poll(absl::Seconds(5));
  if (!batch.ok() || batch->size() != 1) return std::cerr << "no record\n", 1;
  std::cout << (*batch->begin()).value().str() << "\n";
  return 0;
}
