#include "client/fixture.h"

namespace millrace {
namespace {

struct Order {
  std::string sku;
  int64_t cents = 0;
  struct millrace_serde {
    Status Serialize(const Order& o, std::string& out) const {
      if (o.sku.empty()) return absl::InvalidArgumentError("an order needs an sku");
      out = o.sku + "," + std::to_string(o.cents);
      return absl::OkStatus();
    }
    StatusOr<Order> Deserialize(Bytes in) const {
      const auto comma = in.str().find(',');
      if (comma == std::string_view::npos) return absl::InvalidArgumentError("order: no comma");
      return Order{std::string(in.str().substr(0, comma)),
                   std::stoll(std::string(in.str().substr(comma + 1)))};
    }
  };
};

TEST_CASE("typed topics write and read their types", "[client][typed]") {
  Embedded m;
  m.Topic("orders");
  Producer producer = OrFail(m.client().NewProducer());
  const Topic<std::string, Order> orders("orders");
  OrFail(producer.Send(OrFail(orders.Make("alice", {"tea", 250}))).Get());
  OrFail(producer.Send(OrFail(orders.Tombstone("alice"))).Get());
  OrFail(producer.Send({.topic = "orders", .value = "nonsense"}).Get());
  CHECK(absl::IsInvalidArgument(orders.Make("bob", {}).status()));

  Consumer consumer = m.Reader("orders");
  const RecordBatch batch = OrFail(consumer.Poll(absl::ZeroDuration()));
  REQUIRE(batch.size() == 3);
  auto it = batch.begin();
  const auto first = orders.Read(*it++);
  CHECK(OrFail(first.key()) == "alice");
  CHECK(OrFail(first.value()).sku == "tea");
  CHECK(OrFail(first.value()).cents == 250);
  const auto tombstone = orders.Read(*it++);
  CHECK(tombstone.is_tombstone());
  CHECK(absl::IsNotFound(tombstone.value().status()));
  CHECK(OrFail(tombstone.key()) == "alice");
  const auto bad = orders.Read(*it++);  // fails alone
  CHECK(absl::IsInvalidArgument(bad.value().status()));
  CHECK(absl::IsNotFound(bad.key().status()));
}

TEST_CASE("integers are Kafka's, big-endian", "[client][typed]") {
  std::string bytes;
  OrFail(BigEndianSerde<int64_t>().Serialize(-2, bytes));
  CHECK(bytes == std::string("\xff\xff\xff\xff\xff\xff\xff\xfe"));
  CHECK(OrFail(BigEndianSerde<int64_t>().Deserialize(Bytes(bytes))) == -2);
  OrFail(BigEndianSerde<uint16_t>().Serialize(0x0102, bytes));
  CHECK(bytes == "\x01\x02");
  OrFail(BigEndianSerde<int8_t>().Serialize(-1, bytes));
  CHECK(OrFail(BigEndianSerde<int8_t>().Deserialize(Bytes(bytes))) == -1);
  CHECK_FALSE(BigEndianSerde<int32_t>().Deserialize("123").ok());
}

}  // namespace
}  // namespace millrace
