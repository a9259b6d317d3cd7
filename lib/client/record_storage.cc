#include "client/record_storage.h"

namespace millrace::client {
namespace {

constexpr size_t kMaxSpareStorages = 4;
// An array that one large Poll made longer is not kept for the others.
constexpr size_t kMaxSpareEntries = 16 << 10;

}  // namespace

PinnedBuffer::PinnedBuffer(Buffer buffer, std::shared_ptr<PinAccount> account)
    : buffer_(std::move(buffer)), account_(std::move(account)) {
  account_->bytes.fetch_add(buffer_.capacity(), std::memory_order_relaxed);
  account_->metrics->pinned_bytes.fetch_add(static_cast<int64_t>(buffer_.capacity()),
                                            std::memory_order_relaxed);
}

PinnedBuffer::~PinnedBuffer() {
  account_->bytes.fetch_sub(buffer_.capacity(), std::memory_order_relaxed);
  account_->metrics->pinned_bytes.fetch_sub(static_cast<int64_t>(buffer_.capacity()),
                                            std::memory_order_relaxed);
}

void BatchStorage::Clear() {
  if (entries.capacity() > kMaxSpareEntries)
    entries = {};
  else
    entries.clear();
  infos.clear();
  buffers.clear();
  slices.clear();
  ranges.clear();
}

std::unique_ptr<BatchStorage> StoragePool::Take() {
  {
    MutexLock lock(mu_);
    if (!spare_.empty()) {
      std::unique_ptr<BatchStorage> storage = std::move(spare_.back());
      spare_.pop_back();
      return storage;
    }
    spare_.reserve(kMaxSpareStorages);  // so that giving back does not allocate
  }
  return std::make_unique<BatchStorage>();
}

void StoragePool::GiveBack(std::unique_ptr<BatchStorage> storage) noexcept {
  storage->Clear();
  MutexLock lock(mu_);
  if (spare_.size() < spare_.capacity()) spare_.push_back(std::move(storage));
}

RecordBatch StoragePool::MakeBatch(std::unique_ptr<BatchStorage> storage) {
  for (Entry& entry : storage->entries) entry.self = &entry;
  const Entry* const entries = storage->entries.data();
  for (size_t i = 0; i < storage->slices.size(); ++i) {
    storage->slices[i].first = RecordBatchAccess::MakeIterator(entries + storage->ranges[i].begin);
    storage->slices[i].last = RecordBatchAccess::MakeIterator(entries + storage->ranges[i].end);
  }
  // Should making the control block fail, the deleter runs and the storage comes back.
  return RecordBatchAccess::Make(std::shared_ptr<const BatchStorage>(
      storage.release(), [pool = shared_from_this()](const BatchStorage* done) {
        pool->GiveBack(std::unique_ptr<BatchStorage>(const_cast<BatchStorage*>(done)));
      }));
}

}  // namespace millrace::client
