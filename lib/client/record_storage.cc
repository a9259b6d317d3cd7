#include "client/record_storage.h"

namespace millrace::client {
namespace {

constexpr size_t kMaxSpareStorages = 4;
constexpr size_t kMaxSpareBytes = 2 << 20;

template <typename T>
size_t BytesOf(const std::vector<T>& vector) {
  return vector.capacity() * sizeof(T);
}

}  // namespace

PinCharge::PinCharge(std::shared_ptr<PinAccount> account, size_t bytes)
    : account_(std::move(account)), bytes_(bytes) {
  account_->bytes.fetch_add(bytes, std::memory_order_relaxed);
  account_->metrics->pinned_bytes.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
}

PinCharge::~PinCharge() {
  if (account_ == nullptr) return;
  account_->bytes.fetch_sub(bytes_, std::memory_order_relaxed);
  account_->metrics->pinned_bytes.fetch_sub(static_cast<int64_t>(bytes_),
                                            std::memory_order_relaxed);
}

size_t BatchStorage::HeldBytes() const {
  return BytesOf(entries) + BytesOf(infos) + BytesOf(buffers) + BytesOf(slices) + BytesOf(ranges);
}

void BatchStorage::Clear() {
  entries.clear();
  infos.clear();
  buffers.clear();
  slices.clear();
  ranges.clear();
  charge = {};
}

std::shared_ptr<BatchStorage> StoragePool::Take(absl::Duration now) {
  std::unique_ptr<BatchStorage> storage = TakeSpare();
  storage->lent_at = now;
  {
    MutexLock lock(mu_);
    Lend(*storage);
  }
  // Should making the control block fail, the deleter runs and the storage comes back.
  return {storage.release(), [pool = shared_from_this()](BatchStorage* done) {
            pool->GiveBack(std::unique_ptr<BatchStorage>(done));
          }};
}

void StoragePool::Lend(BatchStorage& storage) {
  storage.earlier = newest_;
  storage.later = nullptr;
  (newest_ != nullptr ? newest_->later : oldest_) = &storage;
  newest_ = &storage;
}

std::optional<absl::Duration> StoragePool::oldest_lent() const {
  MutexLock lock(mu_);
  if (oldest_ == nullptr) return std::nullopt;
  return oldest_->lent_at;
}

std::unique_ptr<BatchStorage> StoragePool::TakeSpare() {
  {
    MutexLock lock(mu_);
    if (!spare_.empty()) {
      std::unique_ptr<BatchStorage> storage = std::move(spare_.back());
      spare_.pop_back();
      spare_bytes_ -= storage->HeldBytes();
      return storage;
    }
    spare_.reserve(kMaxSpareStorages);  // so that giving back does not allocate
  }
  return std::make_unique<BatchStorage>();
}

void StoragePool::GiveBack(std::unique_ptr<BatchStorage> storage) noexcept {
  storage->Clear();
  const size_t held = storage->HeldBytes();
  MutexLock lock(mu_);
  (storage->earlier != nullptr ? storage->earlier->later : oldest_) = storage->later;
  (storage->later != nullptr ? storage->later->earlier : newest_) = storage->earlier;
  if (spare_.size() == spare_.capacity() || spare_bytes_ + held > kMaxSpareBytes) return;
  spare_.push_back(std::move(storage));
  spare_bytes_ += held;
}

RecordBatch MakeBatch(std::shared_ptr<BatchStorage> storage,
                      std::shared_ptr<PinAccount> account) noexcept {
  storage->charge = PinCharge(std::move(account), storage->HeldBytes());
  for (Entry& entry : storage->entries) entry.self = &entry;
  const Entry* const entries = storage->entries.data();
  for (size_t i = 0; i < storage->slices.size(); ++i) {
    storage->slices[i].first = RecordBatchAccess::MakeIterator(entries + storage->ranges[i].begin);
    storage->slices[i].last = RecordBatchAccess::MakeIterator(entries + storage->ranges[i].end);
  }
  return RecordBatchAccess::Make(std::move(storage));
}

}  // namespace millrace::client
