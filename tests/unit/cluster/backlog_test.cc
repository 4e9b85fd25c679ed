#include "cluster/backlog.h"

#include <doctest/doctest.h>

#include <string>

namespace quoll::cluster {
namespace {

std::string read_all(const Backlog& backlog, uint64_t from) {
  std::string all;
  base::Bytes parts[3];
  while (size_t count = backlog.gather(from, parts))
    for (size_t i = 0; i < count; ++i) {
      all += parts[i];
      from += parts[i].size();
    }
  return all;
}

std::string pattern(uint64_t from, uint64_t to) {
  std::string text;
  for (uint64_t i = from; i < to; ++i) text += static_cast<char>('a' + i % 23);
  return text;
}

}  // namespace

TEST_CASE("backlog: bytes are read back from any offset") {
  Backlog backlog;
  backlog.restart(1000);
  CHECK(backlog.first() == 1000);
  CHECK(backlog.end() == 1000);
  CHECK(read_all(backlog, 1000).empty());
  uint64_t end = 0;
  for (size_t size : {size_t{1}, size_t{100}, kBacklogBlockBytes - 101, size_t{1}, size_t{3},
                      3 * kBacklogBlockBytes, size_t{77}}) {
    backlog.append(pattern(end, end + size));
    end += size;
  }
  CHECK(backlog.end() == 1000 + end);
  for (uint64_t from : {uint64_t{0}, uint64_t{1}, uint64_t{kBacklogBlockBytes - 1},
                        uint64_t{kBacklogBlockBytes}, end - 1, end}) {
    REQUIRE(backlog.holds(1000 + from));
    CHECK(read_all(backlog, 1000 + from) == pattern(from, end));
  }
  CHECK_FALSE(backlog.holds(999));
  CHECK_FALSE(backlog.holds(1001 + end));
}

TEST_CASE("backlog: what nobody needs is dropped in whole blocks") {
  Backlog backlog;
  backlog.restart(0);
  const uint64_t end = 10 * kBacklogBlockBytes + 5;
  backlog.append(pattern(0, end));
  backlog.trim(end, UINT64_MAX);
  CHECK(backlog.first() == 0);
  backlog.trim(3 * kBacklogBlockBytes, 2 * kBacklogBlockBytes + 1);  // a slow reader needs it
  CHECK(backlog.first() == 2 * kBacklogBlockBytes);
  CHECK(read_all(backlog, backlog.first()) == pattern(backlog.first(), end));
  backlog.trim(3 * kBacklogBlockBytes, UINT64_MAX);
  CHECK(backlog.first() == 7 * kBacklogBlockBytes);
  CHECK(backlog.end() - backlog.first() >= 3 * kBacklogBlockBytes);
  backlog.trim(0, UINT64_MAX);
  CHECK(backlog.footprint() == kBacklogBlockBytes);  // the last block may still be written to
  backlog.append("x");
  CHECK(read_all(backlog, end) == "x");
}

}  // namespace quoll::cluster
