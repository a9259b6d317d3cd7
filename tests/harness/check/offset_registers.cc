#include "harness/check/offset_registers.h"

#include <algorithm>

namespace millrace::check {

void OffsetRegisters::BeginWrite(const Key& key, int64_t offset, uint64_t line, int32_t txn) {
  registers_[key].writes.push_back({.offset = offset, .begun = line, .txn = txn});
}

void OffsetRegisters::TakeEffect(Register& reg, size_t index, uint64_t now) {
  const Write effective = reg.writes[index];
  for (Write& write : reg.writes) {
    if (write.ended < effective.begun) write.replaced = std::min(write.replaced, now);
  }
  if (effective.begun >= reg.newest.begun) reg.newest = effective;
  Forget(reg);
}

void OffsetRegisters::Forget(Register& reg) {
  const uint64_t oldest_read = reads_.empty() ? kNever : *reads_.begin();
  std::erase_if(reg.writes, [oldest_read](const Write& write) {
    return write.replaced != kNever && write.replaced < oldest_read;
  });
}

void OffsetRegisters::WriteSucceeded(const Key& key, uint64_t begun, uint64_t now) {
  Register& reg = registers_[key];
  for (size_t i = 0; i < reg.writes.size(); ++i) {
    if (reg.writes[i].begun != begun || reg.writes[i].ended != kNever) continue;
    reg.writes[i].ended = now;
    return TakeEffect(reg, i, now);
  }
}

void OffsetRegisters::TookEffect(const Key& key, int32_t txn, uint64_t now) {
  Register& reg = registers_[key];
  for (size_t i = 0; i < reg.writes.size(); ++i) {
    if (reg.writes[i].txn == txn) return TakeEffect(reg, i, now);
  }
}

void OffsetRegisters::WriteFailed(const Key& key, uint64_t begun) {
  std::erase_if(registers_[key].writes, [begun](const Write& write) {
    return write.begun == begun && write.ended == kNever;
  });
}

void OffsetRegisters::WriterIsGone(const Key& key, uint64_t begun, uint64_t now) {
  for (Write& write : registers_[key].writes) {
    if (write.begun == begun && write.ended == kNever) write.ended = now;
  }
}

OffsetRegisters::Verdict OffsetRegisters::CheckRead(const Key& key, int64_t offset, uint64_t begun,
                                                    uint64_t now) {
  Register& reg = registers_[key];
  // Of several writes that may be meant, the first to begin replaces the least.
  std::optional<size_t> first;
  size_t matches = 0;
  for (size_t i = 0; i < reg.writes.size(); ++i) {
    const Write& write = reg.writes[i];
    if (write.offset != offset || write.replaced < begun) continue;
    ++matches;
    if (!first || write.begun < reg.writes[*first].begun) first = i;
  }
  if (!first) {
    return {.legal = false,
            .replaced_by = reg.newest.offset,
            .replaced_line = reg.newest.begun,
            .replaced_txn = reg.newest.txn};
  }
  const int32_t txn = matches == 1 ? reg.writes[*first].txn : -1;
  TakeEffect(reg, *first, now);
  return {.seen_txn = txn};
}

}  // namespace millrace::check
