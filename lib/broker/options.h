#pragma once

#include "broker/broker.h"

namespace millrace::broker {

// OK, or invalid_config with every problem of the options: name, value, accepted range.
Status CheckOptions(const Options& options);

}  // namespace millrace::broker
