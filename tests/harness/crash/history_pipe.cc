#include "harness/crash/history_pipe.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>

#include "harness/crash/record_content.h"

namespace millrace::harness {

using check::Op;
using check::OpKind;
using check::OpType;

int32_t HistoryPipe::KeyOf(std::string_view topic, int32_t partition) {
  const std::string name = fmt::format("{}-{}", topic, partition);
  MutexLock lock(mu_);
  return names_.IdOf(name);
}

void HistoryPipe::Write(const Op& op) {
  std::string line;
  MutexLock lock(mu_);
  check::AppendJson(op, names_, &line);
  for (std::string_view rest = line; !rest.empty();) {
    const ssize_t count = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (count < 0 && errno != EINTR) std::_Exit(4);  // nobody reads any more
    if (count > 0) rest.remove_prefix(static_cast<size_t>(count));
  }
}

void HistoryPipe::Remark(std::string_view text) {
  Op op;
  op.kind = OpKind::kNote;
  op.type = OpType::kInfo;
  op.note = text;
  Write(op);
}

void HistoryPipe::Wrong(std::string_view text) { Remark(fmt::format("WRONG: {}", text)); }

Op HistoryPipe::ToOp(const RecordBatch& batch) {
  Op op;
  op.type = OpType::kOk;
  op.kind = OpKind::kPoll;
  op.AddPoll();
  for (const RecordBatch::Slice& slice : batch.slices()) {
    const int32_t key = KeyOf(slice.partition);
    op.high_watermarks.push_back({key, slice.high_watermark});
    for (const RecordView& record : slice) {
      op.AddRead({key, record.offset(), IdOf(record), HashOf(record)});
    }
  }
  return op;
}

std::vector<check::OffsetOf> HistoryPipe::ToOffsets(const OffsetMap& offsets) {
  std::vector<check::OffsetOf> list;
  for (const auto& [tp, offset] : offsets) list.push_back({KeyOf(tp), offset});
  return list;
}

}  // namespace millrace::harness
