#pragma once

#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "millrace/client.h"

namespace millrace::client {

// ClientOptions::config, typed: what is set here wins over the fields of the options structs.
struct ClientConfig {
  std::optional<std::string> client_id;
  std::optional<Acks> acks;
  std::optional<bool> idempotent;
  std::optional<absl::Duration> linger, max_block, delivery_timeout;
  std::optional<size_t> batch_bytes, max_buffered_bytes;
  std::optional<Compression> compression;
  std::optional<std::string> group, group_instance_id, assignor;
  std::optional<Commits> commits;
  std::optional<StartFrom> start_from;
  std::optional<Isolation> isolation;
  std::optional<size_t> max_poll_records, max_poll_bytes;
  std::optional<absl::Duration> max_poll_interval;

  void ApplyTo(ProducerOptions& options) const;
  void ApplyTo(ConsumerOptions& options) const;
};

struct ParsedConfig {
  ClientConfig config;
  std::vector<std::string> warnings;  // names that are not known, each with the nearest one
};
// Kafka's and librdkafka's property names. Properties of a network client (addresses, security,
// sockets) are known and have no effect in process. invalid_config lists every value that does not
// parse or is out of range.
StatusOr<ParsedConfig> ParseClientConfig(const std::map<std::string, std::string>& properties);

// invalid_config listing every field that is out of range.
// OK, or the problems of all of them; each is invalid_config, or what ended the search for more.
Status AllProblems(std::initializer_list<Status> found);
Status Validate(const ProducerOptions& options);
Status Validate(const ConsumerOptions& options);

}  // namespace millrace::client
