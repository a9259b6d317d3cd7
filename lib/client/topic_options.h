#pragma once

#include <map>
#include <string>

#include "millrace/admin.h"

namespace millrace::client {

// The options in Kafka's config names. invalid_config where a field and `config` say the same
// thing.
StatusOr<std::map<std::string, std::string>> ConfigOf(const TopicOptions& options);

}  // namespace millrace::client
