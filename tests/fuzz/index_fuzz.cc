// The input is an index file that nobody vouches for: searching it answers or errs, within its
// bounds, and entries added to it are found again.
#include "fuzz/fuzz.h"
#include "log/sparse_index.h"
#include "millrace/env.h"

namespace {

using namespace millrace;
using namespace millrace::log;

template <typename Entry>
void Search(FileSystem& files, std::string_view bytes, uint32_t entries) {
  SparseIndex<Entry> index(files, "index", /*read_only=*/false);
  index.Adopt({entries, 0});
  index.Matches({entries, 0});
  for (const int64_t key : {int64_t{-1}, int64_t{0}, int64_t{77}, int64_t{1} << 40, INT64_MAX}) {
    index.Floor(key).status().IgnoreError();
    index.Above(key).status().IgnoreError();
  }
  Entry last;
  if (bytes.size() >= Entry::kBytes)
    last = Entry::Load(reinterpret_cast<const std::byte*>(bytes.data()));
  index.Clear();
  index.Add(last);
  index.Flush().IgnoreError();
  const auto found = index.Floor(last.key());
  fuzz::Require(found.ok() && found->has_value() && (*found)->key() == last.key());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = fuzz::Text(fuzz::View(data, size));
  const auto files = NewMemoryFileSystem();
  {
    const auto file = files->Open("index", OpenMode::kCreate);
    (*file)->WriteAt(0, std::as_bytes(std::span(bytes))).IgnoreError();
  }
  Search<OffsetIndexEntry>(*files, bytes,
                           static_cast<uint32_t>(size / OffsetIndexEntry::kBytes + 1));
  Search<TimeIndexEntry>(*files, bytes, static_cast<uint32_t>(size / TimeIndexEntry::kBytes));
  return 0;
}
