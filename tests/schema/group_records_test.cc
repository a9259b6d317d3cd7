#include "schema/group_records.h"

#include <catch2/catch.hpp>

#include "base/errors.h"
#include "schema/hex.h"
#include "schema/random_message.h"
#include "support/or_fail.h"

namespace millrace::schema {

TEST_CASE("a committed offset has Kafka's bytes", "[schema][group]") {
  const OffsetCommitKey key{.group = "g", .topic = "tt", .partition = 3};
  const auto key_bytes = OrFail(EncodeGroupKey(key));
  CHECK(ToHex(key_bytes) == ToHex(FromHex("0001 0001 67 0002 7474 00000003")));
  CHECK(std::get<OffsetCommitKey>(OrFail(DecodeGroupKey(key_bytes))) == key);

  const OffsetCommitValue value{.offset = 258,
                                .leader_epoch = 4,
                                .metadata = "m",
                                .commit_timestamp = 1000,
                                .expire_timestamp = 2000,
                                .topic_id = Uuid::FromRandom(0, 0)};
  const auto hex = [&](int16_t version) { return ToHex(OrFail(EncodeGroupValue(value, version))); };
  const std::string offset = "0000000000000102";
  const std::string time = "00000000000003e8";
  const std::string id = "00000000000040008000000000000000";
  CHECK(hex(0) == "0000" + offset + "00016d" + time);
  CHECK(hex(1) == "0001" + offset + "00016d" + time + "00000000000007d0");
  CHECK(hex(2) == "0002" + offset + "00016d" + time);
  CHECK(hex(3) == "0003" + offset + "00000004" + "00016d" + time);
  CHECK(hex(4) == "0004" + offset + "00000004" + "026d" + time + "01" + "00" + "10" + id);
}

TEST_CASE("a committed offset of type 0 reads like one of type 1", "[schema][group]") {
  const auto key = OrFail(DecodeGroupKey(FromHex("0000 0001 67 0001 74 00000000")));
  CHECK(std::get<OffsetCommitKey>(key) == OffsetCommitKey{"g", "t", 0});
}

TEST_CASE("a consumer group's records have Kafka's bytes", "[schema][group]") {
  CHECK(ToHex(OrFail(EncodeGroupKey(ConsumerGroupMetadataKey{"g"}))) == "0003000167");
  CHECK(ToHex(OrFail(EncodeGroupValue(ConsumerGroupMetadataValue{.epoch = 5}))) ==
        "0000"
        "00000005"
        "00");
  CHECK(
      ToHex(OrFail(EncodeGroupValue(ConsumerGroupMetadataValue{.epoch = 5, .metadata_hash = 9}))) ==
      "0000"
      "00000005"
      "01"
      "00"
      "08"
      "0000000000000009");

  CHECK(ToHex(OrFail(EncodeGroupKey(ConsumerGroupMemberMetadataKey{"g", "m"}))) ==
        "0005"
        "000167"
        "00016d");
  ConsumerGroupMemberMetadataValue member;
  member.instance_id = "i";
  member.client_id = "c";
  member.client_host = "/h";
  member.subscribed_topic_names = {"t"};
  member.rebalance_timeout_ms = 300000;
  CHECK(ToHex(OrFail(EncodeGroupValue(member))) ==
        ToHex(FromHex("0000 02 69 00 02 63 03 2f68 02 02 74 00 000493e0 00 00")));

  ConsumerGroupCurrentMemberAssignmentValue current{
      .member_epoch = 2, .previous_member_epoch = 1, .state = 0};
  current.assigned_partitions.push_back(
      {.topic_id = Uuid{}, .partitions = {0, 7}, .assignment_epochs = {}});
  const std::string zero_id(32, '0');
  CHECK(ToHex(OrFail(EncodeGroupValue(current))) ==
        ToHex(FromHex("0000 00000002 00000001 00 02" + zero_id + "03 00000000 00000007 00 01 00")));
  current.assigned_partitions[0].assignment_epochs = {1, 2};
  CHECK(ToHex(OrFail(EncodeGroupValue(current))) ==
        ToHex(FromHex("0000 00000002 00000001 00 02" + zero_id +
                      "03 00000000 00000007 01 00 09 03 00000001 00000002 01 00")));
}

TEST_CASE("a record of an unknown type is named, not refused", "[schema][group]") {
  const auto key = FromHex("000a 0001 67");
  CHECK(std::get<OtherGroupKey>(OrFail(DecodeGroupKey(key))).type == 10);
  CHECK(OrFail(DumpGroupKey(key)) == R"({"type":"10"})");
  CHECK(OrFail(DumpGroupValue(key, FromHex("0000 01"))) == R"({"version":"0"})");
}

TEST_CASE("group records are dumped as Kafka's tool prints them", "[schema][group]") {
  const auto key = OrFail(EncodeGroupKey(OffsetCommitKey{"g", "t", 1}));
  CHECK(OrFail(DumpGroupKey(key)) ==
        R"({"type":"1","data":{"group":"g","topic":"t","partition":1}})");
  const auto value = OrFail(EncodeGroupValue(OffsetCommitValue{.offset = 9}, 3));
  CHECK(
      OrFail(DumpGroupValue(key, value)) ==
      R"({"version":"3","data":{"offset":9,"leaderEpoch":-1,"metadata":"","commitTimestamp":0}})");
  CHECK(OrFail(DumpGroupValue(key, std::nullopt)) == "null");
}

TEST_CASE("keys and values too short for their prefix are refused", "[schema][group]") {
  CHECK_THAT(DecodeGroupKey(FromHex("00")).status().ToString(),
             Catch::Contains("1 bytes cannot hold a type"));
  CHECK_THAT(DecodeGroupValue<OffsetCommitValue>({}).status().ToString(),
             Catch::Contains("OffsetCommitValue: 0 bytes cannot hold a version"));
}

// Random messages in each version: decoded as encoded, and refused when cut anywhere.
TEMPLATE_TEST_CASE("a group record survives its encoding, and no prefix of it decodes",
                   "[schema][group]", OffsetCommitKey, OffsetCommitValue, GroupMetadataKey,
                   GroupMetadataValue, ConsumerGroupMetadataKey, ConsumerGroupMetadataValue,
                   ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue,
                   ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue,
                   ConsumerGroupTargetAssignmentMetadataKey,
                   ConsumerGroupTargetAssignmentMetadataValue,
                   ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue,
                   ConsumerGroupCurrentMemberAssignmentKey,
                   ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupRegularExpressionKey,
                   ConsumerGroupRegularExpressionValue) {
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
        // A copy of its own, so that ASan sees a read past the end.
        const std::vector<std::byte> prefix(bytes.begin(), bytes.begin() + cut);
        REQUIRE(ErrorIdOf(Decode<TestType>(prefix, version).status()) == ErrorId::kCorruptMessage);
      }
    }
  }
}

}  // namespace millrace::schema
