// millrace/bytes.h - nullable byte views and payloads.
#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "absl/strings/cord.h"

#if defined(__clang__)
#define MILLRACE_LIFETIMEBOUND [[clang::lifetimebound]]
#else
#define MILLRACE_LIFETIMEBOUND
#endif

namespace millrace {

// A non-owning, nullable view. Null differs from empty: a null value is a tombstone, a null key
// means "no key". Two words, trivially copyable, pass by value.
class Bytes {
 public:
  constexpr Bytes() = default;  // null
  constexpr Bytes(std::nullopt_t) {}
  constexpr Bytes(std::string_view s) : data_(s.data() ? s.data() : ""), size_(s.size()) {}
  constexpr Bytes(const char* s)  // nullptr is null
      : data_(s), size_(s == nullptr ? 0 : std::string_view(s).size()) {}
  Bytes(const std::string& s) : Bytes(std::string_view(s)) {}
  Bytes(std::span<const std::byte> s)
      : Bytes(std::string_view(reinterpret_cast<const char*>(s.data()), s.size())) {}

  constexpr bool is_null() const { return data_ == nullptr; }
  constexpr size_t size() const { return size_; }
  constexpr std::string_view str() const { return {data_, size_}; }  // empty when null
  std::span<const std::byte> span() const {
    return {reinterpret_cast<const std::byte*>(data_), size_};
  }
  friend constexpr bool operator==(Bytes a, Bytes b) {
    return a.is_null() == b.is_null() && a.str() == b.str();
  }

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

// The key or value of a record being produced. A view is copied before Send returns; a string is
// moved in; a Cord is shared. Send never keeps a pointer into memory the caller owns.
class Payload {
 public:
  Payload() = default;  // null
  Payload(std::nullopt_t) {}
  Payload(Bytes b) : v_(b) {}
  Payload(std::string_view s) : v_(Bytes(s)) {}
  Payload(const char* s) : v_(Bytes(s)) {}
  Payload(const std::string& s) : v_(Bytes(s)) {}
  Payload(std::string&& s) : v_(std::move(s)) {}
  Payload(absl::Cord c) : v_(std::move(c)) {}

 private:
  friend struct PayloadAccess;
  std::variant<Bytes, std::string, absl::Cord> v_;
};

}  // namespace millrace
