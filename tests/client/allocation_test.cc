// The hot loops must not allocate a record.
#include "client/counting_new.h"
#include "client/fixture.h"

namespace millrace {
namespace {

constexpr int kRecords = 20'000;

TEST_CASE("sending, delivering and reading allocate nothing a record", "[client][allocation]") {
  Embedded m({.flush = Flush::kOs, .background_threads = 0});
  m.Topic("t");
  Producer producer = OrFail(
      m.client().NewProducer({.linger = absl::Hours(1), .delivery_timeout = absl::Hours(2)}));
  const std::string value(100, 'x');
  int delivered = 0;
  const auto send_all = [&] {
    for (int i = 0; i < kRecords; ++i) {
      const Status sent =
          producer.Send({.topic = "t", .key = "key", .value = std::string_view(value)},
                        [&delivered](const StatusOr<Delivery>& d) { delivered += d.ok(); });
      if (!sent.ok()) FAIL(sent.ToString());
    }
    OrFail(producer.Flush());
  };
  send_all();  // warms pools and vectors
  const size_t sending = HeapUseOf(send_all).allocations;
  CHECK(delivered == 2 * kRecords);
  CHECK(sending < kRecords / 20);

  Consumer consumer = m.Reader("t", 0, {.max_poll_records = 1000});
  size_t read = 0;
  const auto poll = [&](size_t count) {
    while (read < count)
      for (const RecordView& record : OrFail(consumer.Poll(absl::ZeroDuration())))
        read += record.value().size() == value.size();
  };
  poll(kRecords);
  const size_t reading = HeapUseOf([&] { poll(2 * kRecords); }).allocations;
  CHECK(read == 2 * kRecords);
  CHECK(reading < kRecords / 20);

  std::vector<ProducerRecord> records(1000, {.topic = "t", .value = std::string_view(value)});
  const auto send_in_calls = [&] {
    for (int i = 0; i < 20; ++i)
      for (const auto& answer : producer.SendAll(records))
        if (!answer.ok()) FAIL(answer.status().ToString());
  };
  send_in_calls();
  CHECK(HeapUseOf(send_in_calls).allocations < kRecords / 20);
}

TEST_CASE("a batch of one record costs few allocations", "[client][allocation]") {
  Embedded m({.flush = Flush::kOs, .background_threads = 0});
  m.Topic("t");
  Producer producer = OrFail(m.client().NewProducer());
  const std::string value(100, 'x');
  const auto send = [&] {
    for (int i = 0; i < 1000; ++i)
      OrFail(producer.Send({.topic = "t", .key = "key", .value = std::string_view(value)},
                           [](const StatusOr<Delivery>&) {}));
    OrFail(producer.Flush());
  };
  send();
  const size_t count = HeapUseOf(send).allocations;
  CAPTURE(count);
  CHECK(count <= 4 * 1000);
}

}  // namespace
}  // namespace millrace
