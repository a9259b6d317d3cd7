#include "millrace/record.h"

#include <algorithm>
#include <cstring>

#include "client/record_storage.h"

namespace millrace {

using client::BatchStorage;
using client::Entry;

namespace {

const Entry& EntryOf(const RecordView& view) { return RecordViewAccess::EntryOf(view); }

const BatchStorage* StorageOf(const std::shared_ptr<const void>& impl) {
  return static_cast<const BatchStorage*>(impl.get());
}

// One record on its own: its bytes, or a share of the buffer where they lie.
struct Pinned {
  client::SliceInfo slice;
  std::shared_ptr<const client::PinnedBuffer> buffer;
  std::unique_ptr<char[]> copy;
  Entry entry;
  client::PinCharge charge;  // for all but the buffer
};

}  // namespace

// ---- RecordView

std::string_view RecordView::topic() const { return EntryOf(*this).slice->partition.topic; }
int32_t RecordView::partition() const { return EntryOf(*this).slice->partition.partition; }
Offset RecordView::offset() const { return EntryOf(*this).fields.offset; }
int32_t RecordView::leader_epoch() const { return EntryOf(*this).leader_epoch; }
absl::Time RecordView::timestamp() const {
  return absl::FromUnixMillis(EntryOf(*this).fields.timestamp_ms);
}
bool RecordView::is_log_append_time() const { return EntryOf(*this).is_log_append_time; }
Bytes RecordView::key() const { return EntryOf(*this).fields.key; }
Bytes RecordView::value() const { return EntryOf(*this).fields.value; }
size_t RecordView::header_count() const {
  return static_cast<size_t>(EntryOf(*this).fields.header_count);
}

std::pair<std::string_view, Bytes> RecordView::header(size_t i) const {
  record::HeaderReader reader(EntryOf(*this).fields);
  std::pair<std::string_view, Bytes> found;
  for (size_t at = 0; at <= i; ++at)
    if (!reader.Next(&found.first, &found.second)) return {};
  return found;
}

std::optional<Bytes> RecordView::header(std::string_view name) const {
  record::HeaderReader reader(EntryOf(*this).fields);
  std::optional<Bytes> last;
  std::string_view key;
  Bytes value;
  while (reader.Next(&key, &value))
    if (key == name) last = value;
  return last;
}

OwnedRecord Copy(const RecordView& r) {
  const auto owned = [](Bytes bytes) {
    return bytes.is_null() ? std::nullopt : std::optional<std::string>(bytes.str());
  };
  OwnedRecord copy;
  copy.partition = EntryOf(r).slice->partition;
  copy.offset = r.offset();
  copy.timestamp = r.timestamp();
  copy.key = owned(r.key());
  copy.value = owned(r.value());
  copy.headers.reserve(r.header_count());
  record::HeaderReader reader(EntryOf(r).fields);
  std::string_view key;
  Bytes value;
  while (reader.Next(&key, &value)) copy.headers.emplace_back(key, owned(value));
  return copy;
}

// ---- RecordBatch

RecordBatch::Iterator& RecordBatch::Iterator::operator++() {
  pos_ = static_cast<const Entry*>(pos_) + 1;
  return *this;
}

RecordBatch::Iterator RecordBatch::begin() const {
  return impl_ == nullptr ? Iterator()
                          : RecordBatchAccess::MakeIterator(StorageOf(impl_)->entries.data());
}

RecordBatch::Iterator RecordBatch::end() const {
  if (impl_ == nullptr) return Iterator();
  const auto& entries = StorageOf(impl_)->entries;
  return RecordBatchAccess::MakeIterator(entries.data() + entries.size());
}

size_t RecordBatch::size() const { return impl_ == nullptr ? 0 : StorageOf(impl_)->entries.size(); }

const std::vector<RecordBatch::Slice>& RecordBatch::slices() const {
  static const auto* const none = new std::vector<Slice>();
  return impl_ == nullptr ? *none : StorageOf(impl_)->slices;
}

OffsetMap RecordBatch::next_offsets() const {
  OffsetMap next;
  for (const Slice& slice : slices()) next[slice.partition] = slice.next_offset;
  return next;
}

PinnedRecord RecordBatch::Pin(const RecordView& r) const {
  PinnedRecord pinned;
  if (impl_ == nullptr || r.rec_ == nullptr) return pinned;
  const Entry& entry = EntryOf(r);
  auto pin = std::make_shared<Pinned>();
  pin->slice = *entry.slice;
  pin->entry = entry;
  pin->entry.self = &pin->entry;
  pin->entry.slice = &pin->slice;
  record::RecordFields& fields = pin->entry.fields;
  const auto& buffer = StorageOf(impl_)->buffers[entry.buffer_index];
  const size_t bytes = fields.key.size() + fields.value.size() + fields.headers.size();
  const bool shares = 4 * bytes >= buffer->capacity();
  pin->charge = client::PinCharge(
      buffer->account(), sizeof(Pinned) + pin->slice.partition.topic.size() + (shares ? 0 : bytes));
  if (shares) {
    pin->buffer = buffer;
  } else {
    pin->copy = std::make_unique<char[]>(bytes);
    char* at = pin->copy.get();
    const auto take = [&at](std::string_view from) {
      std::copy(from.begin(), from.end(), at);
      return std::string_view(std::exchange(at, at + from.size()), from.size());
    };
    if (!fields.key.is_null()) fields.key = Bytes(take(fields.key.str()));
    if (!fields.value.is_null()) fields.value = Bytes(take(fields.value.str()));
    const std::string_view headers =
        take({reinterpret_cast<const char*>(fields.headers.data()), fields.headers.size()});
    fields.headers = std::as_bytes(std::span(headers));
  }
  pinned.view_ = RecordViewAccess::Make(&pin->entry);
  pinned.pin_ = std::move(pin);
  return pinned;
}

}  // namespace millrace
