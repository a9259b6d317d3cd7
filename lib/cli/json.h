#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "millrace/bytes.h"

namespace millrace::cli {

// Writes JSON to a string, with the commas in their places:
//   JsonWriter json;
//   json.BeginObject().Key("offset").Number(3).End();      {"offset":3}
// Belongs to one thread.
class JsonWriter {
 public:
  JsonWriter& BeginObject() { return Begin('{', '}'); }
  JsonWriter& BeginArray() { return Begin('[', ']'); }
  JsonWriter& End();
  JsonWriter& Key(std::string_view key);
  // Text that is not UTF-8 gets replacement characters; see Payload for bytes that matter.
  JsonWriter& Text(std::string_view text);
  JsonWriter& Number(int64_t n);
  JsonWriter& Real(double d);
  JsonWriter& Bool(bool b);
  JsonWriter& Null();
  // "name": null, "name": "text", or "name_base64": "..." where the bytes are not UTF-8.
  JsonWriter& Payload(std::string_view name, Bytes bytes);
  const std::string& str() const { return out_; }

 private:
  JsonWriter& Begin(char open, char close);
  void Separate();
  std::string out_;
  std::string open_;  // the closing brackets that are due
  bool comma_ = false;
};

std::string Base64(std::string_view bytes);

}  // namespace millrace::cli
