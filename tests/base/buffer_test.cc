// Buffers: shared, counted, and used again.
#include "base/buffer.h"

#include <cstring>
#include <optional>
#include <thread>

#include <catch2/catch.hpp>

namespace millrace {

TEST_CASE("a buffer has at least the capacity asked for", "[base][buffer]") {
  BufferPool pool;
  for (const size_t capacity : {0, 1, 4096, 4097, 100000, 1 << 20}) {
    const Buffer buffer = pool.Get(capacity);
    REQUIRE(buffer);
    CHECK(buffer.capacity() >= capacity);
    CHECK(buffer.capacity() >= 4096);
    CHECK(buffer.span().size() == buffer.capacity());
    std::memset(buffer.data(), 7, buffer.capacity());
  }
  CHECK(!Buffer());
  CHECK(Buffer().capacity() == 0);
}

TEST_CASE("a buffer that came back is handed out again", "[base][buffer]") {
  BufferPool pool;
  Buffer buffer = pool.Get(10000);
  const std::byte* const bytes = buffer.data();
  CHECK(pool.outstanding_bytes() == buffer.capacity());
  Buffer copy = buffer;
  buffer = Buffer();
  CHECK(pool.outstanding_bytes() == copy.capacity());  // the copy holds it
  copy = Buffer();
  CHECK(pool.outstanding_bytes() == 0);
  CHECK(pool.Get(9000).data() == bytes);
}

TEST_CASE("a part that was handed on keeps the whole", "[base][buffer]") {
  BufferPool pool;
  Buffer buffer = pool.Get(100);
  std::shared_ptr<const std::byte> part(buffer.owner(), buffer.data() + 50);
  buffer = Buffer();
  CHECK(pool.outstanding_bytes() == 4096);
  part.reset();
  CHECK(pool.outstanding_bytes() == 0);
}

TEST_CASE("a pool keeps no more than it may", "[base][buffer]") {
  SECTION("nothing at all, where that is the bound") {
    BufferPool pool(0);
    CHECK(pool.Get(5000).capacity() >= 5000);
    CHECK(pool.outstanding_bytes() == 0);
  }
  SECTION("one of two, where one fits") {
    BufferPool pool(8192);
    Buffer one = pool.Get(8192);
    Buffer two = pool.Get(8192);
    const std::byte* const first = one.data();
    one = Buffer();
    two = Buffer();  // freed: memory checkers would see a use after it
    CHECK(pool.Get(8192).data() == first);
  }
}

TEST_CASE("a buffer may outlive its pool", "[base][buffer]") {
  std::optional<BufferPool> pool(std::in_place);
  Buffer buffer = pool->Get(100);
  pool.reset();
  std::memset(buffer.data(), 1, buffer.capacity());
  buffer = Buffer();
}

TEST_CASE("many threads may share a pool", "[base][buffer]") {
  BufferPool pool;
  const auto work = [&pool](std::byte mark) {
    for (size_t i = 0; i < 2000; ++i) {
      const Buffer buffer = pool.Get((i % 5) * 3000);
      std::memset(buffer.data(), static_cast<int>(mark), 100);
      for (size_t at = 0; at < 100; ++at)
        if (buffer.data()[at] != mark) std::abort();  // somebody else has it too
    }
  };
  {
    std::jthread one(work, std::byte{1});
    std::jthread two(work, std::byte{2});
    std::jthread three(work, std::byte{3});
  }
  CHECK(pool.outstanding_bytes() == 0);
}

}  // namespace millrace
