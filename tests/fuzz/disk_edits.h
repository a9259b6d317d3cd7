#pragma once

#include <algorithm>
#include <string>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/crc32c.h"
#include "base/endian.h"
#include "millrace/testing/simulated_disk.h"
#include "record/batch.h"

// What the targets that open a whole directory do to its files.
namespace millrace::fuzz {

// The CRCs of all batches, as far as their lengths lead: so that what they hold is looked at.
inline void MendBatches(std::string& bytes) {
  auto* const all = reinterpret_cast<std::byte*>(bytes.data());
  for (size_t at = 0; at + record::kHeaderBytes <= bytes.size();) {
    const auto length = LoadBigEndian<int32_t>(all + at + 8);
    const size_t left = bytes.size() - at - record::kLogOverheadBytes;
    if (length < static_cast<int32_t>(record::kHeaderBytes) || static_cast<size_t>(length) > left)
      return;
    const size_t size = static_cast<size_t>(length) + record::kLogOverheadBytes;
    StoreBigEndian(all + at + record::kCrcStart - 4,
                   Crc32c({all + at + record::kCrcStart, size - record::kCrcStart}));
    at += size;
  }
}

// One edit: file, kind, position (2), length; for an overwrite the bytes follow. With `mend`, there
// is an overwrite after which the batches of a log of the broker's own pass their CRC.
inline void EditOneFile(testing::SimulatedDisk& disk, ByteReader& in, bool mend) {
  const auto files = disk.AllFiles();
  const std::string path = files[in.Integer<uint8_t>() % files.size()];
  const auto kind = in.Integer<uint8_t>() % (mend ? 6 : 5);
  const auto position = in.Integer<uint16_t>();
  const auto length = in.Integer<uint8_t>();
  std::string bytes = *disk.Peek(path);
  const size_t at = bytes.empty() ? 0 : position % bytes.size();
  switch (kind) {
    case 0:
      bytes.resize(at);
      break;
    case 1:
      bytes.erase(at, length);
      break;
    case 2:
      bytes.insert(at, bytes.substr(at, length));
      break;
    case 3:
      bytes.append(length * size_t{16}, '\0');
      break;
    case 4:
      for (const std::byte b : in.Bytes(std::min<size_t>(length, in.remaining()))) {
        if (at < bytes.size()) bytes.replace(at, 1, 1, static_cast<char>(b));
      }
      break;
    default:
      const auto now = in.Bytes(std::min<size_t>(length, in.remaining()));
      const size_t count = std::min(now.size(), bytes.size() - at);
      bytes.replace(at, count, std::string(AsText(now.first(count))));
      if (path.find("/__") != std::string::npos && path.ends_with(".log")) MendBatches(bytes);
  }
  disk.Poke(path, bytes).IgnoreError();
}

}  // namespace millrace::fuzz
