#include "wire/out_queue.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/memory.h"

using namespace quoll;
using wire::OutQueue;

namespace {

std::string unsent(const OutQueue& queue, uint64_t limit = ~uint64_t{0}, size_t parts_max = 64) {
  std::vector<base::Bytes> parts(parts_max);
  size_t used = queue.gather(parts, limit);
  std::string all;
  for (size_t i = 0; i < used; ++i) {
    CHECK(!parts[i].empty());
    all += parts[i];
  }
  return all;
}

std::string pattern(size_t size, uint64_t seed) {
  std::string text(size, '\0');
  for (char& c : text) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>('a' + (seed >> 33) % 26);
  }
  return text;
}

}  // namespace

TEST_CASE("bytes leave a queue in the order they came") {
  OutQueue queue;
  CHECK(queue.size() == 0);
  CHECK(queue.footprint() == 0);
  CHECK(unsent(queue).empty());
  queue.append("");
  CHECK(queue.footprint() == 0);
  queue.append("hello ");
  std::memcpy(queue.reserve(100), "world", 5);
  queue.commit(5);
  CHECK(unsent(queue) == "hello world");
  CHECK(unsent(queue, 8) == "hello wo");
  queue.consume(3);
  CHECK(unsent(queue) == "lo world");
  CHECK(unsent(queue, 8) == "lo wo");
  CHECK(queue.sent_offset() == 3);
  CHECK(queue.end_offset() == 11);
  queue.rewind(4);
  CHECK(unsent(queue) == "l");
  queue.append("ast");
  queue.consume(4);
  CHECK(queue.size() == 0);
  CHECK(queue.sent_offset() == 7);
  CHECK(queue.footprint() == 0);
}

TEST_CASE("a large value takes one chunk of its size") {
  OutQueue queue;
  std::string big = pattern(1'000'000, 1);
  queue.append("head");
  queue.append(big);
  queue.append("tail");
  CHECK(unsent(queue) == "head" + big + "tail");
  std::vector<base::Bytes> parts(8);
  CHECK(queue.gather(parts, queue.end_offset()) <= 3);
  CHECK(queue.footprint() < big.size() + 3 * wire::kChunkBytes);
  CHECK(unsent(queue, ~uint64_t{0}, 1).size() < big.size());
}

TEST_CASE("free chunks are pooled up to a bound") {
  size_t before = base::memory_used();
  {
    OutQueue queue;
    for (size_t i = 0; i < 4 * wire::kPoolChunksMax; ++i) {
      queue.reserve(wire::kChunkBytes / 2);
      queue.commit(wire::kChunkBytes / 2);
    }
    CHECK(base::memory_used() - before > wire::kPoolChunksMax * wire::kChunkBytes);
  }
  CHECK(base::memory_used() <= before + wire::kPoolChunksMax * wire::kChunkBytes);
}

TEST_CASE("a moved queue keeps its bytes and offsets") {
  OutQueue first;
  first.append("abcdef");
  first.consume(2);
  OutQueue second(std::move(first));
  CHECK(first.size() == 0);
  CHECK(unsent(second) == "cdef");
  CHECK(second.sent_offset() == 2);
  OutQueue third;
  third.append("gone");
  third = std::move(second);
  CHECK(unsent(third) == "cdef");
  CHECK(third.end_offset() == 6);
  first.append("again");
  CHECK(unsent(first) == "again");
}

TEST_CASE("random operations agree with a plain string") {
  uint64_t seed = 42;
  auto draw = [&](uint64_t bound) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % bound;
  };
  OutQueue queue;
  std::string model;
  uint64_t sent = 0;
  for (int step = 0; step < 20'000; ++step) {
    size_t size = draw(4) == 0 ? draw(40'000) : draw(300);
    switch (draw(8)) {
      case 0:
      case 1: {
        std::string bytes = pattern(size, seed);
        queue.append(bytes);
        model += bytes;
        break;
      }
      case 2: {
        size_t n = std::min<size_t>(size, wire::kChunkBytes / 2);
        std::string bytes = pattern(draw(n + 1), seed);
        char* at = queue.reserve(n);
        std::memcpy(at, bytes.data(), bytes.size());
        queue.commit(bytes.size());
        model += bytes;
        break;
      }
      case 3: {
        OutQueue other;
        std::string bytes = pattern(size, seed);
        other.append("skipped");
        other.append(bytes);
        other.consume(7);
        queue.splice(other);
        model += bytes;
        CHECK(other.size() == 0);
        CHECK(other.footprint() == 0);
        break;
      }
      case 4: {
        uint64_t offset = sent + draw(model.size() + 1);
        if (draw(3) == 0)
          offset = std::max(offset, sent + model.size() - std::min<size_t>(9, model.size()));
        queue.rewind(offset);
        model.resize(offset - sent);
        break;
      }
      case 5:
      case 6: {
        size_t n = draw(model.size() + 1);
        queue.consume(n);
        model.erase(0, n);
        sent += n;
        break;
      }
      default: {
        uint64_t limit = sent + draw(model.size() + 100);
        REQUIRE(unsent(queue, limit, 4096) == model.substr(0, limit - sent));
      }
    }
    REQUIRE(queue.size() == model.size());
    REQUIRE(queue.sent_offset() == sent);
    REQUIRE(queue.end_offset() == sent + model.size());
    REQUIRE(queue.footprint() >= model.size());
    if (model.size() > 1'000'000) {
      queue.consume(model.size());
      sent += model.size();
      model.clear();
      REQUIRE(queue.footprint() == 0);
    }
  }
  queue.clear();
  CHECK(queue.footprint() == 0);
  CHECK(queue.sent_offset() == sent + model.size());
}

TEST_CASE("the tail of a queue moves to another, from any offset") {
  for (size_t size : {size_t{0}, size_t{10}, wire::kChunkBytes, 5 * wire::kChunkBytes + 7}) {
    for (size_t consumed : {size_t{0}, size / 3}) {
      for (size_t from : {consumed, consumed + (size - consumed) / 2, size}) {
        OutQueue queue;
        OutQueue other;
        std::string text = pattern(size, size + from);
        queue.append(text);
        queue.consume(consumed);
        other.append("before ");
        queue.move_tail(from, other);
        CHECK(queue.end_offset() == from);
        CHECK(unsent(queue) == text.substr(consumed, from - consumed));
        CHECK(unsent(other) == "before " + text.substr(from));
        queue.splice(other);
        CHECK(queue.size() == size - consumed + 7);
      }
    }
  }
}
