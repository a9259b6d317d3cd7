#pragma once

#include "absl/strings/cord.h"
#include "millrace/bytes.h"

namespace millrace {

// Sees into a Payload.
struct PayloadAccess {
  // The bytes, valid as long as `payload`. A cord in pieces is made one here.
  static Bytes View(Payload& payload) {
    if (const auto* bytes = std::get_if<Bytes>(&payload.v_)) return *bytes;
    if (const auto* text = std::get_if<std::string>(&payload.v_)) return Bytes(*text);
    const absl::string_view flat = std::get<absl::Cord>(payload.v_).Flatten();
    return Bytes(std::string_view(flat.data(), flat.size()));
  }
};

}  // namespace millrace
