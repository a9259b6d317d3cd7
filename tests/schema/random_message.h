#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "schema/schema.h"

namespace millrace::schema {

// Fills a message with random values that its version can express; the rest keeps its default.
class RandomMessage {
 public:
  RandomMessage(std::mt19937_64& rng, int16_t version) : rng_(rng), version_(version) {}

  template <Struct T>
  void Fill(T& value) {
    T::Fields([&](std::string_view, auto member, const FieldSpec& spec = {}) {
      if (spec.In(version_) && !(spec.tagged() && OneIn(2))) FillValue(value.*member, spec);
    });
    if constexpr (KeepsUnknownTags<T>) {
      if (OneIn(2)) value.unknown_tags.push_back({1000, {std::byte{7}}});
    }
  }

 private:
  bool OneIn(unsigned n) { return rng_() % n == 0; }

  template <typename T>
  void FillValue(T& value, const FieldSpec& spec) {
    if constexpr (Nullable<T>) {
      if (version_ >= spec.nullable_since && OneIn(3)) return value.reset();
      FillValue(value.emplace(), spec);
    } else if constexpr (Struct<T>) {
      Fill(value);
    } else if constexpr (std::same_as<T, bool>) {
      value = OneIn(2);
    } else if constexpr (std::same_as<T, double>) {
      value = static_cast<double>(rng_()) / 3;
    } else if constexpr (Fixed<T>) {
      value = static_cast<T>(rng_());
    } else if constexpr (std::same_as<T, Uuid>) {
      value = Uuid::FromRandom(rng_(), rng_());
    } else {
      // Long enough for lengths of two bytes, short enough to try every cut.
      value.resize(rng_() % (!Array<T> && OneIn(10) ? 300 : 5));
      for (auto& element : value) {
        if constexpr (Text<T> || Blob<T>) {
          element = static_cast<typename T::value_type>(rng_() % 256);
        } else {
          FillValue(element, spec);
        }
      }
    }
  }

  std::mt19937_64& rng_;
  const int16_t version_;
};

}  // namespace millrace::schema
