#include "cli/record_format.h"

#include <cstddef>
#include <iterator>

#include <fmt/format.h>

#include "absl/time/time.h"
#include "base/endian.h"
#include "base/status_macros.h"
#include "cli/context.h"
#include "cli/json.h"
#include "cli/parse.h"

namespace millrace::cli {
namespace {

void AppendBytes(Bytes bytes, std::string_view null_text, std::string* out) {
  *out += bytes.is_null() ? null_text : bytes.str();
}

void AppendNumber(int64_t number, std::string* out) {
  fmt::format_to(std::back_inserter(*out), "{}", number);
}

int64_t SizeOf(Bytes bytes) { return bytes.is_null() ? -1 : static_cast<int64_t>(bytes.size()); }

void AppendSizeBigEndian(Bytes bytes, std::string* out) {
  std::byte size[4];
  StoreBigEndian(size, static_cast<int32_t>(SizeOf(bytes)));
  out->append(reinterpret_cast<const char*>(size), sizeof(size));
}

void AppendHeaders(const RecordView& record, std::string_view null_text, std::string* out) {
  for (size_t i = 0; i < record.header_count(); ++i) {
    const auto [name, value] = record.header(i);
    if (i > 0) *out += ',';
    *out += name;
    *out += '=';
    AppendBytes(value, null_text, out);
  }
}

}  // namespace

StatusOr<RecordFormat> RecordFormat::Parse(std::string_view format) {
  RecordFormat parsed;
  std::string literal;
  const auto end_literal = [&]() -> Status {
    MILLRACE_ASSIGN_OR_RETURN(std::string text, Unescape(literal));
    if (!text.empty()) parsed.pieces_.push_back({.token = 0, .literal = std::move(text)});
    literal.clear();
    return absl::OkStatus();
  };
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      literal += format[i];
      continue;
    }
    const char token = ++i < format.size() ? format[i] : '\0';
    if (token == '%') {
      literal += '%';
      continue;
    }
    if (token == '\0' || std::string_view("sSRkKTtpoh").find(token) == std::string_view::npos) {
      return UsageError(
          fmt::format("--format '{}': after % wants one of s S R k K T t p o h and %", format));
    }
    MILLRACE_RETURN_IF_ERROR(end_literal());
    parsed.pieces_.push_back({.token = token, .literal = {}});
  }
  MILLRACE_RETURN_IF_ERROR(end_literal());
  return parsed;
}

void RecordFormat::Append(const RecordView& record, std::string_view null_text,
                          std::string* out) const {
  for (const Piece& piece : pieces_) {
    switch (piece.token) {
      case 's':
        AppendBytes(record.value(), null_text, out);
        break;
      case 'S':
        AppendNumber(SizeOf(record.value()), out);
        break;
      case 'R':
        AppendSizeBigEndian(record.value(), out);
        break;
      case 'k':
        AppendBytes(record.key(), null_text, out);
        break;
      case 'K':
        AppendNumber(SizeOf(record.key()), out);
        break;
      case 'T':
        AppendNumber(absl::ToUnixMillis(record.timestamp()), out);
        break;
      case 't':
        *out += record.topic();
        break;
      case 'p':
        AppendNumber(record.partition(), out);
        break;
      case 'o':
        AppendNumber(record.offset(), out);
        break;
      case 'h':
        AppendHeaders(record, null_text, out);
        break;
      default:
        *out += piece.literal;
    }
  }
}

std::string RecordAsJson(const RecordView& record) {
  JsonWriter json;
  json.BeginObject().Key("topic").Text(record.topic());
  json.Key("partition").Number(record.partition()).Key("offset").Number(record.offset());
  json.Key("timestamp").Number(absl::ToUnixMillis(record.timestamp()));
  json.Key("timestamp_type").Text(record.is_log_append_time() ? "log_append" : "create");
  json.Payload("key", record.key()).Payload("value", record.value());
  json.Key("headers").BeginArray();
  for (size_t i = 0; i < record.header_count(); ++i) {
    const auto [name, value] = record.header(i);
    json.BeginObject().Key("name").Text(name).Payload("value", value).End();
  }
  json.End().End();
  return json.str();
}

}  // namespace millrace::cli
