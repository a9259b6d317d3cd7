#pragma once

#include <cstdint>

#include "log/log_model.h"

namespace millrace::log {

// Parts of the error sweep (error_sweep_test.cc). Each spreads about `runs` runs over all that can
// happen.

// Signals interrupt the system calls of the workloads, on real files, and transfers are cut short:
// nobody may notice.
void SweepSystemCalls(uint64_t runs, uint64_t seed, Totals& totals);
// Somebody cuts the file that is just being read: what it held is lost to its readers, and nothing
// else.
void SweepCutFiles(uint64_t runs, uint64_t seed, Totals& totals);

// Every n-th of `all` makes about `runs`, and meets every kind of them.
uint64_t StrideOver(uint64_t all, uint64_t runs);

}  // namespace millrace::log
