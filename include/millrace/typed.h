// millrace/typed.h - typed topics through a Serde. Header-only, over the raw API.
#pragma once
#include <concepts>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "millrace/bytes.h"
#include "millrace/record.h"
#include "millrace/status.h"

namespace millrace {

// A stateless or copyable object that turns T into bytes and back. It never sees null: a
// tombstone's value, and a missing key, are told apart before.
template <typename S, typename T>
concept SerdeFor = std::copyable<S> && requires(const S s, const T& v, std::string& out, Bytes in) {
  { s.Serialize(v, out) } -> std::same_as<Status>;
  { s.Deserialize(in) } -> std::same_as<StatusOr<T>>;
};

struct StringSerde {
  Status Serialize(const std::string& v, std::string& out) const {
    out = v;
    return absl::OkStatus();
  }
  StatusOr<std::string> Deserialize(Bytes in) const { return std::string(in.str()); }
};
template <std::integral I>
  requires(!std::same_as<I, bool>)
struct BigEndianSerde {  // Kafka's Integer/Long serializers
  Status Serialize(const I& v, std::string& out) const {
    out.resize(sizeof(I));
    for (size_t i = 0; i < sizeof(I); ++i)
      out[i] =
          static_cast<char>(static_cast<std::make_unsigned_t<I>>(v) >> (8 * (sizeof(I) - 1 - i)));
    return absl::OkStatus();
  }
  StatusOr<I> Deserialize(Bytes in) const {
    if (in.size() != sizeof(I)) return absl::InvalidArgumentError("wrong length for an integer");
    std::make_unsigned_t<I> v = 0;
    for (const char c : in.str())
      v = static_cast<std::make_unsigned_t<I>>((v << 8) | static_cast<unsigned char>(c));
    return static_cast<I>(v);
  }
};
// Specialize, or declare `using millrace_serde = ...` inside T, to give a type its default Serde.
template <typename T>
struct DefaultSerde;
template <>
struct DefaultSerde<std::string> : StringSerde {};
template <std::integral I>
  requires(!std::same_as<I, bool>)
struct DefaultSerde<I> : BigEndianSerde<I> {};
template <typename T>
  requires requires { typename T::millrace_serde; }
struct DefaultSerde<T> : T::millrace_serde {};

template <typename K, typename V, SerdeFor<K> KS = DefaultSerde<K>,
          SerdeFor<V> VS = DefaultSerde<V>>
class Topic {
 public:
  explicit Topic(std::string name, KS ks = {}, VS vs = {})
      : name_(std::move(name)), ks_(std::move(ks)), vs_(std::move(vs)) {}
  const std::string& name() const { return name_; }

  StatusOr<ProducerRecord> Make(const K& k, const V& v) const {
    std::string kb, vb;
    if (Status s = ks_.Serialize(k, kb); !s.ok()) return s;
    if (Status s = vs_.Serialize(v, vb); !s.ok()) return s;
    return ProducerRecord{
        .topic = std::string(name_), .key = std::move(kb), .value = std::move(vb)};
  }
  // Deletes the key from a compacted topic.
  StatusOr<ProducerRecord> Tombstone(const K& k) const {
    std::string kb;
    if (Status s = ks_.Serialize(k, kb); !s.ok()) return s;
    return ProducerRecord{.topic = std::string(name_), .key = std::move(kb)};
  }

  // A typed look at a raw record; lives as long as the record and this topic. Decoding is lazy and
  // its failure belongs to this record alone: one bad record never fails a Poll.
  class View {
   public:
    View(const Topic* t, RecordView r) : t_(t), r_(r) {}
    const RecordView& raw() const { return r_; }
    // kNotFound: the record has none (for a value: a tombstone).
    StatusOr<K> key() const {
      if (r_.key().is_null()) return absl::NotFoundError("the record has no key");
      return t_->ks_.Deserialize(r_.key());
    }
    StatusOr<V> value() const {
      if (is_tombstone()) return absl::NotFoundError("the record is a tombstone");
      return t_->vs_.Deserialize(r_.value());
    }
    bool is_tombstone() const { return r_.is_tombstone(); }

   private:
    const Topic* t_;
    RecordView r_;
  };
  View Read(const RecordView& r) const { return View(this, r); }

 private:
  std::string name_;
  KS ks_;
  VS vs_;
};

}  // namespace millrace
