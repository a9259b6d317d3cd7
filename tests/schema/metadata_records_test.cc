#include "schema/metadata_records.h"

#include <catch2/catch.hpp>

#include "base/errors.h"
#include "schema/hex.h"
#include "schema/random_message.h"
#include "support/or_fail.h"

namespace millrace::schema {

TEST_CASE("metadata records have Kafka's frame and bytes", "[schema][metadata]") {
  const auto hex = [](const MetadataRecord& r) { return ToHex(OrFail(EncodeMetadataRecord(r))); };
  Uuid id;
  id.bytes[15] = 1;
  const std::string id_hex = std::string(30, '0') + "01";
  CHECK(hex(NoOpRecord{}) ==
        "01"
        "14"
        "00"
        "00");
  CHECK(hex(TopicRecord{"ab", id}) ==
        "01"
        "02"
        "00"
        "036162" +
            id_hex + "00");
  CHECK(hex(BeginTransactionRecord{}) ==
        "01"
        "17"
        "00"
        "00");
  CHECK(hex(BeginTransactionRecord{"n"}) ==
        "01"
        "17"
        "00"
        "01"
        "00"
        "02"
        "026e");
  CHECK(hex(FeatureLevelRecord{"f", 30}) ==
        "01"
        "0c"
        "00"
        "0266"
        "001e"
        "00");
  CHECK(hex(ConfigRecord{2, "t", "k", std::nullopt}) ==
        "01"
        "04"
        "00"
        "02"
        "0274"
        "026b"
        "00"
        "00");
  CHECK(hex(PartitionRecord{.partition_id = 1,
                            .topic_id = id,
                            .replicas = {7},
                            .isr = {7},
                            .leader = 7,
                            .leader_epoch = 2,
                            .partition_epoch = 3,
                            .directories = {id},
                            .eligible_leader_replicas = std::vector<int32_t>{}}) ==
        ToHex(FromHex("01 03 02 00000001" + id_hex +
                      "02 00000007 02 00000007 01 01 00000007 00000002 00000003 02" + id_hex +
                      "01 01 01 01")));
  CHECK(hex(PartitionChangeRecord{
            .partition_id = 1,
            .topic_id = id,
            .isr = {{7}},
            .leader = 7,
            .last_known_elr = {{}},
        }) == ToHex(FromHex("01 05 02 00000001" + id_hex +
                            "03  00 05 02 00000007  01 04 00000007  07 01 01")));
}

TEST_CASE("an older version of a metadata record still reads", "[schema][metadata]") {
  const std::string id(32, '0');
  const auto record = OrFail(DecodeMetadataRecord(
      FromHex("01 03 00 00000001" + id + "01 01 01 01 ffffffff 00000002 00000003 00")));
  CHECK(std::get<PartitionRecord>(record).leader_epoch == 2);
  CHECK(std::get<PartitionRecord>(record).directories.empty());
}

TEST_CASE("a metadata record that is not known is refused by name", "[schema][metadata]") {
  const auto error = [](std::string_view hex) {
    return DecodeMetadataRecord(FromHex(hex)).status();
  };
  CHECK_THAT(error("01 1b 00 00").ToString(), Catch::Contains("type 27 (version 0) is not known"));
  CHECK_THAT(error("01 02 01 00").ToString(),
             Catch::Contains("TopicRecord: version 1 is not known"));
  CHECK_THAT(error("00 02 00 00").ToString(), Catch::Contains("frame version 0 is not known"));
  CHECK(ErrorIdOf(error("01 02")) == ErrorId::kCorruptMessage);
  CHECK(ErrorIdOf(error("")) == ErrorId::kCorruptMessage);
  CHECK(ErrorIdOf(error("01 02 ffffffff0f")) == ErrorId::kCorruptMessage);
}

TEST_CASE("a metadata record is dumped as Kafka's tool prints it", "[schema][metadata]") {
  const auto bytes = OrFail(EncodeMetadataRecord(TopicRecord{"ab", Uuid{}}));
  CHECK(
      OrFail(DumpMetadataRecord(bytes)) ==
      R"({"type":"TOPIC_RECORD","version":0,"data":{"name":"ab","topicId":"AAAAAAAAAAAAAAAAAAAAAA"}})");
  CHECK(OrFail(DumpMetadataRecord(OrFail(EncodeMetadataRecord(NoOpRecord{})))) ==
        R"({"type":"NO_OP_RECORD","version":0,"data":{}})");
}

TEMPLATE_TEST_CASE("a metadata record survives its encoding, and no prefix of it decodes",
                   "[schema][metadata]", NoOpRecord, RegisterBrokerRecord, TopicRecord,
                   PartitionRecord, ConfigRecord, PartitionChangeRecord, RemoveTopicRecord,
                   FeatureLevelRecord, ProducerIdsRecord, BrokerRegistrationChangeRecord,
                   BeginTransactionRecord, EndTransactionRecord, AbortTransactionRecord) {
  for (int16_t version = 0; version <= NewestVersion<TestType>(); ++version) {
    for (uint64_t seed = 1; seed <= 30; ++seed) {
      CAPTURE(version, seed);
      std::mt19937_64 rng(seed);
      TestType message;
      RandomMessage(rng, version).Fill(message);
      std::vector<std::byte> bytes;
      OrFail(Encode(message, version, bytes));
      REQUIRE(OrFail(Decode<TestType>(bytes, version)) == message);
      for (size_t cut = 0; cut < bytes.size(); ++cut) {
        const std::vector<std::byte> prefix(bytes.begin(), bytes.begin() + cut);
        REQUIRE(ErrorIdOf(Decode<TestType>(prefix, version).status()) == ErrorId::kCorruptMessage);
      }
      if (version != NewestVersion<TestType>()) continue;
      const MetadataRecord any = message;
      REQUIRE(OrFail(DecodeMetadataRecord(OrFail(EncodeMetadataRecord(any)))) == any);
    }
  }
}

}  // namespace millrace::schema
