#include <cerrno>

#include <fmt/format.h>

#include "env/file_util.h"
#include "log/error_sweeps.h"
#include "support/temporary_directory.h"
#include "support/troubled_calls.h"

// A file system answers whole transfers, whatever becomes of the system calls beneath it: so EINTR
// and short reads and writes are swept on the real one.
namespace millrace::log {
namespace {

using Call = TroubledCalls::Call;
using Outcome = TroubledCalls::Outcome;

struct Trouble {
  std::string_view name;
  bool is_short = false;  // half of the bytes are moved; otherwise the call is interrupted
  bool sticky = false;

  bool Concerns(Call call) const {
    return !is_short || call == Call::kRead || call == Call::kWrite;
  }
};
constexpr Trouble kTroubles[] = {{"EINTR once"},
                                 {"EINTR from then on", false, true},
                                 {"short transfer once", true},
                                 {"short transfers from then on", true, true}};

TroubledCalls::Rule At(uint64_t call, const Trouble& trouble) {
  return [=, number = uint64_t{0}](Call, size_t count) mutable -> Outcome {
    ++number;
    if (number < call || (number > call && !trouble.sticky)) return {};
    if (trouble.is_short) return {.at_most = (count + 1) / 2};
    return {.error = (number - call) % 2 == 0 ? EINTR : 0};  // the next try gets through
  };
}

Finding Run(const Workload& workload, uint64_t seed, TroubledCalls::Rule rule) {
  const auto directory = TemporaryDirectory::InMemory();
  const std::string path = JoinPath(directory.path(), "data");
  LogDriver driver(*FileSystem::Real(), workload.config, seed, path);
  {
    const TroubledCalls troubled(std::move(rule));
    workload.run(driver);
    if (std::string what = driver.CheckLive(); !what.empty()) return {.what = std::move(what)};
  }
  if (!driver.last_error().ok()) return {.what = driver.last_error().ToString()};
  Journal journal = driver.journal();
  // A kill takes nothing from what was written.
  if (driver.log().log != nullptr) journal.acknowledged = driver.log()->log_end();
  driver.log().Drop();
  OneLog next(*FileSystem::Real(), workload.config, path);
  return OpenAndCheck(next, journal, {});
}

}  // namespace

void SweepSystemCalls(uint64_t runs, uint64_t seed, Totals& totals) {
  struct Place {
    const Workload* workload;
    uint64_t call;
    const Trouble* trouble;
  };
  std::vector<Place> all;
  for (const Workload& workload : AllWorkloads()) {
    uint64_t call = 0;
    const Finding untroubled = Run(workload, seed, [&](Call kind, size_t) -> Outcome {
      ++call;
      for (const Trouble& trouble : kTroubles)
        if (trouble.Concerns(kind)) all.push_back({&workload, call, &trouble});
      return {};
    });
    totals.Count(untroubled, workload.name);
  }
  const uint64_t stride = StrideOver(all.size(), runs);
  uint64_t met = 0;
  for (uint64_t i = seed % stride; i < all.size(); i += stride, ++met) {
    const auto& [workload, call, trouble] = all[i];
    totals.Count(
        Run(*workload, seed, At(call, *trouble)),
        fmt::format("{} seed {} system call {} ({})", workload->name, seed, call, trouble->name));
  }
  fmt::print(
      "  seed {}: {} of {} pairs of a system call and EINTR, or a transfer and a short one, "
      "once and from then on\n",
      seed, met, all.size());
}

}  // namespace millrace::log
