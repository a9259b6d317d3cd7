// Small helpers over a consumer that several parts of the demo need.
#pragma once
#include <functional>

#include "millrace/client.h"

namespace demo {

// Calls `visit` with each record of one partition, from its beginning to its present end.
millrace::Status ReadPartition(
    const millrace::Client& client, const millrace::TopicPartition& partition,
    const std::function<millrace::Status(const millrace::RecordView&)>& visit);

// Polls until the consumer is at the end of all its partitions, and calls `visit` with each record.
millrace::Status ReadToEnd(
    millrace::Consumer& consumer,
    const std::function<millrace::Status(const millrace::RecordView&)>& visit);

}  // namespace demo
