// What we compress others read, what others compress we read, and nobody makes us take memory.
#include "record/codec.h"

#include <lz4frame.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <fstream>

#include <catch2/catch.hpp>

#include "base/byte_reader.h"
#include "base/errors.h"
#include "batch_helpers.h"
#include "record/decoder.h"

namespace millrace::record {
namespace {

using Catch::Contains;
constexpr size_t kLimit = size_t{16} << 20;

std::string Expand(Codec codec, std::string_view in, BufferPool& pool, size_t limit = kLimit) {
  return std::string(AsText(OrFail(Decompress(codec, AsBytes(in), limit, pool)).bytes()));
}
Status ExpandStatus(Codec codec, std::string_view in, size_t limit = kLimit) {
  BufferPool pool;
  return Decompress(codec, AsBytes(in), limit, pool).status();
}
void CheckCorrupt(Codec codec, std::string_view in, const std::string& says) {
  CAPTURE(Name(codec), in.size());
  const Status status = ExpandStatus(codec, in);
  CHECK(ErrorIdOf(status) == ErrorId::kCorruptMessage);
  CHECK_THAT(Says(status), Contains(std::string(Name(codec))) && Contains(says));
}
std::string CompressText(Codec codec, std::string_view in, int level = 0) {
  BufferPool pool;
  return std::string(AsText(OrFail(Compress(codec, level, AsBytes(in), pool)).bytes()));
}

// Text that compresses about as well as records do.
std::string SomeText(size_t bytes, uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::string text;
  while (text.size() < bytes)
    text += fmt::format("{{\"user\":{},\"page\":\"/p{}\"}}", random() % 100000, random() % 10);
  text.resize(bytes);
  return text;
}

std::string Gzip(std::string_view in, int window_bits = 15 + 16) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, in.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string RawSnappy(std::string_view in) {
  std::string out;
  snappy::Compress(in.data(), in.size(), &out);
  return out;
}
std::string BigEndian(int32_t value) {
  ByteWriter out;
  out.Integer(value);
  return std::string(AsText(out.bytes()));
}
std::string XerialBlock(std::string_view in) {
  const std::string raw = RawSnappy(in);
  return BigEndian(static_cast<int32_t>(raw.size())) + raw;
}
const std::string kXerialMagic("\x82SNAPPY\0", 8);
const std::string kXerialHeader = kXerialMagic + BigEndian(1) + BigEndian(1);

std::string Lz4(std::string_view in, LZ4F_frameInfo_t info) {
  LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
  preferences.frameInfo = info;
  std::string out(LZ4F_compressFrameBound(in.size(), &preferences), '\0');
  out.resize(LZ4F_compressFrame(out.data(), out.size(), in.data(), in.size(), &preferences));
  return out;
}
LZ4F_frameInfo_t Independent() {
  LZ4F_frameInfo_t info = LZ4F_INIT_FRAMEINFO;
  info.blockMode = LZ4F_blockIndependent;
  info.blockSizeID = LZ4F_max64KB;
  return info;
}

// As Java's client writes it: streamed, without a content size.
std::string StreamedZstd(std::string_view in, int level, int window_log = 0,
                         bool checksum = false) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, checksum ? 1 : 0);
  std::string out(ZSTD_compressBound(in.size()) + 1000, '\0');
  ZSTD_outBuffer to = {out.data(), out.size(), 0};
  ZSTD_inBuffer from = {in.data(), in.size(), 0};
  REQUIRE(ZSTD_compressStream2(context, &to, &from, ZSTD_e_continue) == 0);
  REQUIRE(ZSTD_compressStream2(context, &to, &from, ZSTD_e_end) == 0);
  ZSTD_freeCCtx(context);
  out.resize(to.pos);
  return out;
}

const auto kCodecs = {Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd};

}  // namespace

TEST_CASE("a zstd frame that holds less than it says is refused, however it is read",
          "[record][codec]") {
  // Claims 256 bytes or more; its one block, the last, is empty.
  constexpr std::string_view kFrame("\x28\xb5\x2f\xfd\x40\x0a\0\0\1\0\0", 11);
  BufferPool pool;
  CHECK_FALSE(Decompress(Codec::kZstd, AsBytes(kFrame), 1000, pool).ok());
  for (const size_t piece : {size_t{1}, size_t{100}, size_t{1000}}) {
    const auto decoder = OrFail(NewDecoder(Codec::kZstd, AsBytes(kFrame), 1000, pool));
    std::vector<std::byte> out(piece);
    const Status refused = decoder->Read(out).status();
    INFO(piece << ": " << refused.ToString());
    CHECK(ErrorIdOf(refused) == ErrorId::kCorruptMessage);
  }
}

TEST_CASE("what was compressed expands to the same, at every level", "[record][codec]") {
  BufferPool pool;
  const auto [codec, level] = GENERATE(table<Codec, int>({{Codec::kNone, 0},
                                                          {Codec::kGzip, 0},
                                                          {Codec::kGzip, 1},
                                                          {Codec::kGzip, 9},
                                                          {Codec::kSnappy, 0},
                                                          {Codec::kLz4, 0},
                                                          {Codec::kLz4, 1},
                                                          {Codec::kLz4, 9},
                                                          {Codec::kLz4, 17},
                                                          {Codec::kZstd, 0},
                                                          {Codec::kZstd, -131072},
                                                          {Codec::kZstd, -1},
                                                          {Codec::kZstd, 1},
                                                          {Codec::kZstd, 19},
                                                          {Codec::kZstd, 22}}));
  CAPTURE(Name(codec), level);
  for (const size_t size : {0, 1, 100, 4096, 32768, 65536, 65537, 300000}) {
    const std::string text = SomeText(size);
    const SizedBuffer compressed = OrFail(Compress(codec, level, AsBytes(text), pool));
    CHECK((Expand(codec, AsText(compressed.bytes()), pool) == text));
    if (codec != Codec::kNone && level != -131072 && size > 1000)
      CHECK(compressed.size_bytes < size / 2);
  }
}

TEST_CASE("what is no codec has no name and no decoder", "[record][codec]") {
  BufferPool pool;
  CHECK_FALSE(Name(static_cast<Codec>(7)).empty());
  for (const Codec codec : {Codec::kNone, static_cast<Codec>(7)})
    CHECK(ErrorIdOf(NewDecoder(codec, {}, 10, pool).status()) == ErrorId::kUnsupportedCompression);
}

TEST_CASE("a payload is expanded from a whole batch, and may be nothing", "[record][codec]") {
  BufferPool pool;
  const std::vector<std::byte> empty(kHeaderBytes);
  BatchHeader header{.batch_length = kHeaderBytes - kLogOverheadBytes, .attributes = 4};
  CHECK(OrFail(ExpandedPayload(header, empty, 100, pool)).records.empty());
  header.record_count = 1;  // which nothing does not hold
  CHECK(ErrorIdOf(ExpandedPayload(header, empty, 100, pool).status()) == ErrorId::kCorruptMessage);
  header.record_count = 0;
  std::vector<std::byte> noise(kHeaderBytes + 9);
  header.batch_length += 9;
  CHECK(ErrorIdOf(ExpandedPayload(header, noise, 100, pool).status()) == ErrorId::kCorruptMessage);
  CHECK(ErrorIdOf(ExpandedPayload(header, empty, 100, pool).status()) == ErrorId::kCorruptMessage);
}

TEST_CASE("room is left in front of compressed bytes", "[record][codec]") {
  BufferPool pool;
  const std::string text = SomeText(5000);
  for (const Codec codec :
       {Codec::kNone, Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd}) {
    CAPTURE(Name(codec));
    const SizedBuffer plain = OrFail(Compress(codec, 0, AsBytes(text), pool));
    const SizedBuffer moved = OrFail(Compress(codec, 0, AsBytes(text), pool, 61));
    CHECK(moved.size_bytes == plain.size_bytes + 61);
    CHECK(std::ranges::equal(moved.bytes().subspan(61), plain.bytes()));
  }
}

TEST_CASE("a level out of range is refused with the range", "[record][codec]") {
  BufferPool pool;
  const auto check = [&](Codec codec, int level, const std::string& range) {
    const Status status = Compress(codec, level, AsBytes("x"), pool).status();
    CHECK(ErrorIdOf(status) == ErrorId::kInvalidArgument);
    CHECK(CheckLevel(codec, level) == status);
    CHECK_THAT(Says(status), Contains(fmt::format("level {}", level)) && Contains(range));
  };
  check(Codec::kGzip, 10, "1 to 9");
  check(Codec::kGzip, -1, "1 to 9");
  check(Codec::kLz4, 18, "1 to 17");
  check(Codec::kZstd, 23, "-131072 to 22");
  check(Codec::kZstd, -131073, "-131072 to 22");
  check(Codec::kSnappy, 1, "snappy has no levels");
  check(Codec::kNone, 1, "none has no levels");
  CHECK(ErrorIdOf(Compress(static_cast<Codec>(5), 0, AsBytes("x"), pool).status()) ==
        ErrorId::kUnsupportedCompression);
  CHECK(ErrorIdOf(ExpandStatus(static_cast<Codec>(7), "x")) == ErrorId::kUnsupportedCompression);
}

TEST_CASE("the output limit is absolute and exact", "[record][codec]") {
  BufferPool pool;
  const size_t size = GENERATE(1, 4096, 8192, 65536, 100000);
  const std::string text = SomeText(size);
  for (const Codec codec :
       {Codec::kNone, Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd}) {
    CAPTURE(Name(codec), size);
    const std::string compressed = CompressText(codec, text);
    CHECK((Expand(codec, compressed, pool, size) == text));
    const Status status = ExpandStatus(codec, compressed, size - 1);
    CHECK(ErrorIdOf(status) == ErrorId::kRecordTooLarge);
    CHECK_THAT(Says(status), Contains(fmt::format("{}", size - 1)));
  }
  CHECK(pool.outstanding_bytes() == 0);
}

TEST_CASE("compressed data that is cut off or noisy is corrupt", "[record][codec]") {
  const std::string text = SomeText(1000);
  for (const Codec codec : kCodecs) {
    const std::string compressed = CompressText(codec, text);
    for (size_t size = 0; size < compressed.size(); ++size) {
      // Behind whole blocks, xerial's framing cannot tell that one is missing; only that of the
      // header.
      if (codec == Codec::kSnappy && size == 16) continue;
      CHECK(ErrorIdOf(ExpandStatus(codec, compressed.substr(0, size))) == ErrorId::kCorruptMessage);
    }
    CHECK(ErrorIdOf(ExpandStatus(codec, compressed + "x")) == ErrorId::kCorruptMessage);
    CHECK(ErrorIdOf(ExpandStatus(codec, std::string(100, '\0'))) == ErrorId::kCorruptMessage);
    CHECK(ErrorIdOf(ExpandStatus(codec, std::string(100, '\xff'))) == ErrorId::kCorruptMessage);
    CHECK(ErrorIdOf(ExpandStatus(codec, "")) == ErrorId::kCorruptMessage);
  }
}

TEST_CASE("gzip takes more than one piece", "[record][codec]") {
  BufferPool pool;
  std::string plain(size_t{20} << 20, 'x');
  for (size_t i = 0; i < plain.size(); i += 1000) plain[i] = static_cast<char>(i / 1000);
  const auto packed = OrFail(Compress(Codec::kGzip, 1, AsBytes(std::string_view(plain)), pool));
  const auto again = OrFail(Decompress(Codec::kGzip, packed.bytes(), plain.size(), pool));
  CHECK((AsText(again.bytes()) == plain));
}

TEST_CASE("gzip is read in one member or several", "[record][codec]") {
  BufferPool pool;
  CHECK(Expand(Codec::kGzip, Gzip("one, ") + Gzip("") + Gzip("two"), pool) == "one, two");
  CheckCorrupt(Codec::kGzip, Gzip("a zlib stream", 15), "header");
  CheckCorrupt(Codec::kGzip, Gzip("one") + Gzip("two").substr(0, 12), "middle");
  std::string wrong_sum = Gzip("one");
  wrong_sum[wrong_sum.size() - 5] ^= 1;
  CheckCorrupt(Codec::kGzip, wrong_sum, "check");
}

TEST_CASE("snappy is written in xerial's framing with blocks of 32 KiB", "[record][codec]") {
  const std::string text = SomeText(80000);
  const std::string compressed = CompressText(Codec::kSnappy, text);
  CHECK(compressed.starts_with(kXerialHeader));
  ByteReader in(AsBytes(std::string_view(compressed).substr(16)));
  std::vector<size_t> sizes;
  while (in.remaining() > 0) {
    const auto block = AsText(in.Bytes(static_cast<size_t>(in.Integer<int32_t>())));
    size_t size = 0;
    REQUIRE(snappy::GetUncompressedLength(block.data(), block.size(), &size));
    sizes.push_back(size);
  }
  CHECK(sizes == std::vector<size_t>{32768, 32768, 80000 - 65536});
}

TEST_CASE("snappy is read raw and framed", "[record][codec]") {
  BufferPool pool;
  const std::string text = SomeText(100000);
  CHECK((Expand(Codec::kSnappy, RawSnappy(text), pool) == text));
  CHECK((Expand(Codec::kSnappy, kXerialHeader + XerialBlock(text), pool) == text));
  const std::string framed = kXerialHeader + XerialBlock("one, ") + XerialBlock("two");
  CHECK(Expand(Codec::kSnappy, framed, pool) == "one, two");
  CHECK(Expand(Codec::kSnappy, framed + framed, pool) == "one, twoone, two");
  CHECK(Expand(Codec::kSnappy, RawSnappy(""), pool).empty());
  CHECK(Expand(Codec::kSnappy, kXerialHeader, pool).empty());

  CheckCorrupt(Codec::kSnappy, std::string("\xff\x06\0\0sNaPpY", 10), "");
  CheckCorrupt(Codec::kSnappy, kXerialMagic + BigEndian(0) + BigEndian(1), "version 0");
  CheckCorrupt(Codec::kSnappy, kXerialMagic + BigEndian(9) + BigEndian(2), "compatible with 2");
  CheckCorrupt(Codec::kSnappy, kXerialMagic + BigEndian(1), "cut off");
  CheckCorrupt(Codec::kSnappy, kXerialHeader + BigEndian(0), "block of 0 bytes");
  CheckCorrupt(Codec::kSnappy, kXerialHeader + BigEndian(-5) + "12345", "block of -5 bytes");
  CheckCorrupt(Codec::kSnappy, kXerialHeader + BigEndian(INT32_MAX) + "12345", "2147483647");
  // Claims 4 GiB in five bytes.
  CheckCorrupt(Codec::kSnappy, "\xff\xff\xff\xff\x0f!", "claims to hold 4294967295");
}

TEST_CASE("lz4 is written as one frame of independent blocks", "[record][codec]") {
  const std::string frame = CompressText(Codec::kLz4, SomeText(200000));
  CHECK(frame.starts_with("\x04\x22\x4d\x18"));
  CHECK(frame[4] == '\x60');
  CHECK(frame[5] == '\x40');
  CHECK(frame[6] == '\x82');
  CHECK(frame.ends_with(std::string(4, '\0')));
}

TEST_CASE("lz4 frames of others are read, but for linked blocks", "[record][codec]") {
  BufferPool pool;
  const std::string text = SomeText(200000);
  LZ4F_frameInfo_t info = Independent();
  SECTION("with sizes and checksums, which must be right") {
    info.contentSize = text.size();
    info.contentChecksumFlag = LZ4F_contentChecksumEnabled;
    info.blockChecksumFlag = LZ4F_blockChecksumEnabled;
    info.blockSizeID = GENERATE(LZ4F_max64KB, LZ4F_max256KB, LZ4F_max1MB, LZ4F_max4MB);
    std::string frame = Lz4(text, info);
    CHECK((Expand(Codec::kLz4, frame, pool) == text));
    frame.back() ^= 1;
    CheckCorrupt(Codec::kLz4, frame, "hecksum");
  }
  SECTION("linked blocks are refused") {
    info.blockMode = LZ4F_blockLinked;
    CheckCorrupt(Codec::kLz4, Lz4(text, info), "linked");
  }
  SECTION("a dictionary is refused") {
    info.dictID = 7;
    CheckCorrupt(Codec::kLz4, Lz4(text, info), "dictionar");
  }
  SECTION("a wrong header sum is refused") {
    std::string frame = Lz4(text, info);
    frame[6] ^= 1;
    CheckCorrupt(Codec::kLz4, frame, "");
  }
  SECTION("one frame only, and nothing after it") {
    CheckCorrupt(Codec::kLz4, Lz4("one", info) + Lz4("two", info), "follow");
  }
  SECTION("a size that is claimed is not taken at its word") {
    info.contentSize = 3;
    std::string frame = Lz4("abc", info);
    frame[13] = '\x40';  // the highest byte of the size
    CHECK(ErrorIdOf(ExpandStatus(Codec::kLz4, frame)) == ErrorId::kCorruptMessage);
  }
}

TEST_CASE("zstd frames of others are read", "[record][codec]") {
  BufferPool pool;
  const std::string text = SomeText(3000000);
  SECTION("streamed without a size, with every window that Java's levels ask for") {
    const int window_log = GENERATE(0, 10, 23);
    CHECK((Expand(Codec::kZstd, StreamedZstd(text, 3, window_log, true), pool) == text));
  }
  SECTION("several, and skippable ones between them") {
    const std::string skippable("\x50\x2a\x4d\x18\x03\0\0\0abc", 11);
    const std::string frames =
        CompressText(Codec::kZstd, "one, ") + skippable + StreamedZstd("two", 3);
    CHECK(Expand(Codec::kZstd, frames, pool) == "one, two");
  }
  SECTION("a wrong checksum is refused") {
    std::string frame = StreamedZstd("some text", 3, 0, true);
    frame.back() ^= 1;
    CheckCorrupt(Codec::kZstd, frame, "checksum");
  }
  SECTION("a window larger than the output may be is refused, up to 8 MiB are not") {
    const std::string frame = StreamedZstd("some text", 3, 27);
    CHECK(Expand(Codec::kZstd, frame, pool, size_t{1} << 30) == "some text");
    const Status status = ExpandStatus(Codec::kZstd, frame, size_t{1} << 20);
    CHECK(ErrorIdOf(status) == ErrorId::kCorruptMessage);
    CHECK_THAT(Says(status), Contains("window above the 8388608 bytes"));
  }
  SECTION("a frame of a format before RFC 8878 is refused, before it takes memory") {
    const std::string frame("\x27\xb5\x2f\xfd\x00\x81\x00", 7);
    const Status status = ExpandStatus(Codec::kZstd, frame);
    CHECK(ErrorIdOf(status) == ErrorId::kCorruptMessage);
    CHECK_THAT(Says(status), Contains("before 0.8"));
  }
  SECTION("a size that is claimed is not taken at its word") {
    // One frame, single segment, that claims 2^60 bytes and holds none.
    const std::string frame("\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\0\0\x10\x01\0\0", 16);
    CHECK(ErrorIdOf(ExpandStatus(Codec::kZstd, frame)) == ErrorId::kCorruptMessage);
  }
}

namespace {

constexpr size_t kBombBytes = size_t{100} << 20;

// One raw block, as only snappy makes it: a zero, and then copies of the 64 bytes before.
std::string RawSnappyBomb(size_t bytes = kBombBytes) {
  ByteWriter out;
  out.UnsignedVarint(bytes + 1);
  out.Text(std::string_view("\0\0", 2));
  for (size_t i = 0; i < bytes / 64; ++i) out.Text(std::string_view("\xfe\x01\0", 3));
  return std::string(AsText(out.bytes()));
}

// 100 MiB of zeros, made in little memory.
std::string Bomb(Codec codec) {
  const std::string zeros(size_t{1} << 20, '\0');
  std::string out;
  if (codec == Codec::kSnappy) {
    out = kXerialHeader;
    for (size_t i = 0; i < kBombBytes / zeros.size(); ++i) out += XerialBlock(zeros);
  } else if (codec == Codec::kGzip) {
    const std::string member = Gzip(zeros);
    for (size_t i = 0; i < kBombBytes / zeros.size(); ++i) out += member;
  } else if (codec == Codec::kZstd) {
    ZSTD_CCtx* context = ZSTD_createCCtx();
    std::string buffer(1 << 16, '\0');
    for (size_t i = 0; i < kBombBytes / zeros.size(); ++i) {
      ZSTD_inBuffer from = {zeros.data(), zeros.size(), 0};
      const bool last = i + 1 == kBombBytes / zeros.size();
      ZSTD_outBuffer to = {buffer.data(), buffer.size(), 0};
      ZSTD_compressStream2(context, &to, &from, last ? ZSTD_e_end : ZSTD_e_continue);
      REQUIRE(from.pos == from.size);
      out.append(buffer.data(), to.pos);
    }
    ZSTD_freeCCtx(context);
  } else {
    LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
    preferences.frameInfo = Independent();
    preferences.frameInfo.blockSizeID = LZ4F_max4MB;
    LZ4F_cctx* context = nullptr;
    REQUIRE(LZ4F_createCompressionContext(&context, LZ4F_VERSION) == 0);
    std::string buffer(LZ4F_compressBound(zeros.size(), &preferences), '\0');
    const auto add = [&](size_t size) { out.append(buffer.data(), size); };
    add(LZ4F_compressBegin(context, buffer.data(), buffer.size(), &preferences));
    for (size_t i = 0; i < kBombBytes / zeros.size(); ++i)
      add(LZ4F_compressUpdate(context, buffer.data(), buffer.size(), zeros.data(), zeros.size(),
                              nullptr));
    add(LZ4F_compressEnd(context, buffer.data(), buffer.size(), nullptr));
    LZ4F_freeCompressionContext(context);
  }
  return out;
}

// Peak memory of the process, of which the kernel forgets what lies before the call.
int64_t PeakMemoryBytes() {
  std::string word;
  int64_t peak_kib = 0;
  std::ifstream status("/proc/self/status");
  while (status >> word)
    if (word == "VmHWM:") status >> peak_kib;
  return peak_kib * 1024;
}
int64_t ForgetPeakMemory() {
  std::ofstream("/proc/self/clear_refs") << "5";
  return PeakMemoryBytes();
}

}  // namespace

TEST_CASE("a small batch takes a small buffer, however much it might take", "[record][codec]") {
  BufferPool pool;
  for (const Codec codec : kCodecs) {
    const std::string compressed = CompressText(codec, SomeText(1000));
    const SizedBuffer expanded =
        OrFail(Decompress(codec, AsBytes(compressed), size_t{1} << 30, pool));
    CHECK(pool.outstanding_bytes() <= 4096);
  }
}

TEST_CASE("one snappy block beyond the limit is refused before memory is taken",
          "[record][codec][memory]") {
  const std::string bomb = RawSnappyBomb();
  const int64_t before = ForgetPeakMemory();
  CHECK(ErrorIdOf(ExpandStatus(Codec::kSnappy, bomb, size_t{1} << 20)) == ErrorId::kRecordTooLarge);
  CHECK(PeakMemoryBytes() - before < (int64_t{4} << 20));
  BufferPool pool;
  CHECK(Expand(Codec::kSnappy, RawSnappyBomb(640), pool) == std::string(641, '\0'));
}

TEST_CASE("a decompression bomb costs little memory", "[record][codec][memory]") {
  const Codec codec = GENERATE(Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd);
  CAPTURE(Name(codec));
  const std::string bomb = Bomb(codec);
  const int64_t before = ForgetPeakMemory();
  SECTION("refused at the limit of what may come out") {
    const Status status = ExpandStatus(codec, bomb, size_t{1} << 20);
    CHECK(ErrorIdOf(status) == ErrorId::kRecordTooLarge);
    CHECK(PeakMemoryBytes() - before < (int64_t{12} << 20));
  }
  SECTION("validated without keeping what comes out") {
    // Told that a record follows; the zeros are none.
    std::vector<std::byte> batch(kHeaderBytes);
    batch.insert(batch.end(), AsBytes(bomb).begin(), AsBytes(bomb).end());
    const BatchHeader header = {.batch_length = static_cast<int32_t>(batch.size() - 12),
                                .attributes = static_cast<int16_t>(codec),
                                .record_count = 1};
    BufferPool pool;
    CHECK(ErrorIdOf(ValidateRecords(header, batch, {}, pool)) == ErrorId::kInvalidRecord);
    CHECK(PeakMemoryBytes() - before <
          (int64_t{12} << 20) + static_cast<int64_t>(2 * batch.size()));
  }
}

}  // namespace millrace::record
