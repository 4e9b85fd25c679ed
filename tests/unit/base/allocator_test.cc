#include "base/allocator.h"

#include <doctest/doctest.h>

#include <memory>

namespace quoll::base {

TEST_CASE("the allocator's figures contain each other and see an allocation") {
  AllocatorStats before, after;
  if (!allocator_stats(before)) {
    CHECK(allocator_name() == "libc");
    return;
  }
  CHECK(allocator_name().starts_with("jemalloc-5."));
  constexpr size_t kBytes = size_t{8} << 20;
  auto block = std::make_unique<char[]>(kBytes);
  CHECK(allocator_stats(after));
  CHECK(after.allocated >= before.allocated + kBytes);
  CHECK(after.active >= after.allocated);
  CHECK(after.resident >= after.active);
}

TEST_CASE("tuning values are read by name") {
  AllocatorStats stats;
  if (!allocator_stats(stats)) return;
  CHECK(allocator_number("arenas.page", nullptr).value() == 4096);
  CHECK(allocator_text("version").value().starts_with("5."));
  CHECK(allocator_number("no.such.name", nullptr).error() == "No such file or directory");
  CHECK(allocator_report().find("jemalloc") != std::string::npos);
  allocator_purge();
}

}  // namespace quoll::base
