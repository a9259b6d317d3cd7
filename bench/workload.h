// What the benchmarks share: JSON-like records, percentiles, pacing, and the JSON line of one case
// (one object a line: system, case, records, bytes, seconds, records_per_s, mb_per_s, p50_us,
// p99_us, p999_us; MB is 10^6 bytes of payload).
#pragma once
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace bench {

inline int64_t NowNs() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

inline double EnvNumber(const char* name, double otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::atof(text) : otherwise;
}
inline std::string EnvText(const char* name, std::string otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? text : otherwise;
}

// Text that compresses as real events do, cut to exactly `size_bytes`.
inline std::string JsonRecord(size_t size_bytes, uint64_t number) {
  static constexpr std::string_view kEvents[] = {"view", "cart", "pay", "login", "search"};
  static constexpr std::string_view kCities[] = {"Bergen", "Porto", "Accra", "Kyoto", "Quito"};
  std::minstd_rand random(static_cast<uint32_t>(number + 1));
  std::string text;
  while (text.size() < size_bytes) {
    text += fmt::format(
        R"({{"n":{},"at":{},"user":"u{:08x}","event":"{}","city":"{}","amount":{}.{:02},"ok":{}}},)",
        number, 1732000000000 + random() % 1000000000, random(), kEvents[random() % 5],
        kCities[random() % 5], random() % 900, random() % 100, random() % 2 == 0);
  }
  text.resize(size_bytes);
  return text;
}

// Payloads made before the clock starts.
class Pool {
 public:
  explicit Pool(size_t size_bytes) {
    for (size_t i = 0; i < kCount; ++i) records_.push_back(JsonRecord(size_bytes, i));
  }
  const std::string& operator[](uint64_t i) const { return records_[i % kCount]; }

 private:
  static constexpr size_t kCount = 256;
  std::vector<std::string> records_;
};

// One word of each cache line, so that a reader has really read.
inline uint64_t Touch(std::string_view data) {
  uint64_t sum = 0;
  for (size_t at = 0; at + 8 <= data.size(); at += 64) {
    uint64_t word;
    std::memcpy(&word, data.data() + at, sizeof word);
    sum += word;
  }
  return sum;
}

struct Result {
  std::string name;
  uint64_t records = 0, bytes = 0;
  double seconds = 0;
  std::vector<int64_t> latencies_ns = {};
  std::string extra = {};  // more members: ,"note":"..."
};

inline std::string Number(double value) {
  return std::isfinite(value) ? fmt::format("{:.3f}", value) : "null";
}

inline void Print(Result r) {
  std::sort(r.latencies_ns.begin(), r.latencies_ns.end());
  const auto at = [&](double quantile) {
    if (r.latencies_ns.empty()) return std::nan("");
    const auto index = static_cast<size_t>(quantile * static_cast<double>(r.latencies_ns.size()));
    return static_cast<double>(r.latencies_ns[std::min(index, r.latencies_ns.size() - 1)]) / 1e3;
  };
  const double none = std::nan("");
  fmt::print(
      R"({{"system":"millrace","case":"{}","records":{},"bytes":{},"seconds":{:.6f},"records_per_s":{},)"
      R"("mb_per_s":{},"p50_us":{},"p99_us":{},"p999_us":{}{}}})"
      "\n",
      r.name, r.records, r.bytes, r.seconds,
      Number(r.records != 0 ? static_cast<double>(r.records) / r.seconds : none),
      Number(r.bytes != 0 ? static_cast<double>(r.bytes) / r.seconds / 1e6 : none), Number(at(0.5)),
      Number(at(0.99)), Number(at(0.999)), r.extra);
  std::fflush(stdout);
}

}  // namespace bench
