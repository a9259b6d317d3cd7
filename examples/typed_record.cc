// How do I send and read my own types instead of bytes? Usage: typed_record
#include <charconv>
#include <iostream>
#include <string>

#include "millrace/millrace.h"

struct Order {
  std::string article;
  int64_t cents = 0;

  // Found by its name: how an Order becomes bytes, and the other way round.
  struct millrace_serde {
    millrace::Status Serialize(const Order& order, std::string& out) const {
      out = std::to_string(order.cents) + " " + order.article;
      return absl::OkStatus();
    }
    millrace::StatusOr<Order> Deserialize(millrace::Bytes in) const {
      Order order;
      const std::string_view text = in.str();
      const auto [end, error] =
          std::from_chars(text.data(), text.data() + text.size(), order.cents);
      if (error != std::errc() || end == text.data() + text.size())
        return absl::InvalidArgumentError("no order: '" + std::string(text) + "'");
      order.article = text.substr(static_cast<size_t>(end - text.data()) + 1);
      return order;
    }
  };
};
const millrace::Topic<std::string, Order> kOrders("orders");

millrace::Status Run() {
  auto log = millrace::Open("memory:");
  if (!log.ok()) return log.status();
  if (auto status = log->admin().CreateTopic(kOrders.name()); !status.ok()) return status;
  auto producer = log->NewProducer();
  if (!producer.ok()) return producer.status();
  auto order = kOrders.Make("alice", {.article = "tea", .cents = 250});
  if (!order.ok()) return order.status();
  order->headers = {{"shop", "north"}};  // it is a ProducerRecord like any other
  if (auto sent = producer->Send(*std::move(order)).Get(); !sent.ok()) return sent.status();

  auto consumer = log->NewConsumer({.group = "billing", .topics = {kOrders.name()}});
  if (!consumer.ok()) return consumer.status();
  const auto batch = consumer->Poll(absl::Seconds(5));
  if (!batch.ok()) return batch.status();
  for (const millrace::RecordView& record : *batch) {
    // A record that does not decode is the trouble of this record alone.
    const auto read = kOrders.Read(record).value();
    if (!read.ok()) return read.status();
    std::cout << record.key().str() << ": " << read->article << " at " << read->cents << " cents\n";
  }
  return consumer->Close(absl::Seconds(5));
}

int main() {
  const millrace::Status status = Run();
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
