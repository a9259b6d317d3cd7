#include "harness/crash/record_content.h"

#include <charconv>

#include <absl/time/time.h>
#include <fmt/format.h>

namespace millrace::harness {
namespace {

constexpr std::string_view kIdHeader = "id";

class Hasher {
 public:
  void Add(Bytes bytes) {
    AddNumber(bytes.is_null() ? -1 : static_cast<int64_t>(bytes.size()));
    for (const char c : bytes.str()) AddByte(static_cast<unsigned char>(c));
  }
  void AddNumber(int64_t number) {
    for (int shift = 0; shift < 64; shift += 8) {
      AddByte(static_cast<unsigned char>(number >> shift));
    }
  }
  // 53 bits, so that a JSON reader that knows only doubles reads it unchanged.
  uint64_t hash() const { return (state_ >> 11) | 1; }

 private:
  void AddByte(unsigned char byte) { state_ = (state_ ^ byte) * 0x100000001B3; }  // FNV-1a
  uint64_t state_ = 0xCBF29CE484222325;
};

Bytes View(const std::optional<std::string>& text) {
  return text ? Bytes(std::string_view(*text)) : Bytes();
}

// Some small, a few that fill a block, and now and then one larger than most batches; a segment
// holds each.
size_t DrawSize(Rng& rng) {
  const uint64_t dice = rng.Below(100);
  if (dice < 80) return rng.Below(200);
  if (dice < 98) return rng.Below(2'000);
  return rng.Below(3'500);
}

std::string DrawBytes(Rng& rng, size_t size) {
  std::string bytes(size, 'x');
  if (rng.OneIn(2)) return bytes;  // compresses well
  for (char& c : bytes) c = static_cast<char>(rng.Next());
  return bytes;
}

}  // namespace

Content ContentOf(int64_t id) {
  Rng rng(static_cast<uint64_t>(id) * 0x5851F42D4C957F2D);
  Content content;
  if (!rng.OneIn(4)) content.key = rng.OneIn(8) ? "" : fmt::format("key-{}", rng.Below(50));
  if (!rng.OneIn(10)) content.value = DrawBytes(rng, DrawSize(rng));
  content.headers.emplace_back(kIdHeader, fmt::format("{}", id));
  if (rng.OneIn(4)) content.headers.emplace_back("empty", "");
  if (rng.OneIn(4)) content.headers.emplace_back("null", std::nullopt);
  content.timestamp_ms = 1'767'225'600'000 + static_cast<int64_t>(rng.Below(86'400'000));
  return content;
}

ProducerRecord ToRecord(std::string_view topic, int32_t partition, Content content) {
  ProducerRecord record;
  record.topic = topic;
  record.partition = partition;
  if (content.key) record.key = *std::move(content.key);
  if (content.value) record.value = *std::move(content.value);
  for (auto& [name, value] : content.headers) {
    record.headers.emplace_back(std::move(name), value ? Payload(*std::move(value)) : Payload());
  }
  record.timestamp = absl::FromUnixMillis(content.timestamp_ms);
  return record;
}

int64_t IdOf(const RecordView& record) {
  const std::optional<Bytes> header = record.header(kIdHeader);
  if (!header) return -1;
  const std::string_view text = header->str();
  int64_t id = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), id);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() ? id : -1;
}

uint64_t HashOf(const Content& content) {
  Hasher hasher;
  hasher.Add(View(content.key));
  hasher.Add(View(content.value));
  for (const auto& [name, value] : content.headers) {
    hasher.Add(Bytes(std::string_view(name)));
    hasher.Add(View(value));
  }
  hasher.AddNumber(content.timestamp_ms);
  return hasher.hash();
}

uint64_t HashOf(const RecordView& record) {
  Hasher hasher;
  hasher.Add(record.key());
  hasher.Add(record.value());
  for (size_t i = 0; i < record.header_count(); ++i) {
    const auto [name, value] = record.header(i);
    hasher.Add(Bytes(name));
    hasher.Add(value);
  }
  hasher.AddNumber(absl::ToUnixMillis(record.timestamp()));
  return hasher.hash();
}

}  // namespace millrace::harness
