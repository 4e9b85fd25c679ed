#include "base/blob.h"

#include <doctest/doctest.h>

#include <string>

using namespace quoll::base;

TEST_CASE("blob: grows, keeps its bytes, gives the memory back") {
  size_t before = memory_used();
  {
    Blob blob;
    CHECK_FALSE(blob);
    CHECK(blob.view() == "");
    std::string expected;
    for (int i = 0; i < 2'000; ++i) {
      std::string piece(static_cast<size_t>(i % 50 + 1), static_cast<char>('a' + i % 26));
      blob.append(piece);
      expected += piece;
    }
    CHECK(blob.view() == expected);
    CHECK(blob.capacity() >= blob.size());
    CHECK(blob.capacity() <= 2 * blob.size() + 100);
    blob.resize(10);
    CHECK(blob.view() == expected.substr(0, 10));
    size_t capacity = blob.capacity();
    blob.reserve(5);
    CHECK(blob.capacity() == capacity);
    blob.reserve(capacity + 1);
    CHECK(blob.capacity() == capacity + 1);
    CHECK(blob.view() == expected.substr(0, 10));
  }
  CHECK(memory_used() == before);
}

TEST_CASE("blob: detach and adopt hand the block over without a copy") {
  size_t before = memory_used();
  {
    Blob blob = Blob::copy_of("hello");
    const char* place = blob.data();
    Blob::Header* header = blob.detach();
    CHECK_FALSE(blob);
    CHECK(Blob::view_of(header) == "hello");
    CHECK(memory_used() - before == Blob::footprint(header));
    Blob again = Blob::adopt(header);
    CHECK(again.data() == place);
    Blob moved = std::move(again);
    CHECK(moved.view() == "hello");
    again = Blob::copy_of("other");
    moved = std::move(again);
    CHECK(moved.view() == "other");
  }
  CHECK(memory_used() == before);
}

TEST_CASE("blob: large blobs grow by steps, not by doubling") {
  Blob blob(kBlobDoublingMax * 4);
  blob.resize(kBlobDoublingMax * 4);
  blob.append("x");
  CHECK(blob.capacity() == kBlobDoublingMax * 5 + 1);
}
