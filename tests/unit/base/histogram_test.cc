#include "base/histogram.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "base/memory.h"

using namespace quoll::base;

TEST_CASE("histogram: buckets are contiguous and within a sixteenth") {
  unsigned bucket = 0;
  for (Nanos value = 0; value < 100'000; ++value) {
    unsigned now = Histogram::bucket_of(value);
    REQUIRE(now - bucket <= 1);
    bucket = now;
    Nanos top = Histogram::bucket_max(now);
    REQUIRE(top >= value);
    REQUIRE(Histogram::bucket_of(top) == now);
    REQUIRE(Histogram::bucket_of(top + 1) == now + 1);
    REQUIRE((top - value) * 16 <= value);
  }
  CHECK(Histogram::bucket_of(-5) == 0);
  CHECK(Histogram::bucket_of(INT64_MAX) == Histogram::kBuckets - 1);
}

TEST_CASE("histogram: percentiles agree with a sorted list") {
  std::mt19937_64 random(5);
  Histogram histogram;
  std::vector<Nanos> values;
  for (int i = 0; i < 10'000; ++i) {
    values.push_back(static_cast<Nanos>(random() % (uint64_t{1} << (random() % 30 + 1))));
    histogram.record(values.back());
  }
  std::sort(values.begin(), values.end());
  CHECK(histogram.count() == values.size());
  for (double percent : {0.01, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
    Nanos exact = values[static_cast<size_t>(percent / 100 * 10'000 + 0.5) - 1];
    CAPTURE(percent);
    CHECK(histogram.percentile(percent) >= exact);
    CHECK((histogram.percentile(percent) - exact) * 16 <= exact);
  }
}

TEST_CASE("histogram: rows of LATENCY HISTOGRAM") {
  Histogram histogram;
  std::vector<std::pair<uint64_t, uint64_t>> rows;
  auto read = [&] {
    rows.clear();
    histogram.each_power_of_two(
        [&](uint64_t limit_us, uint64_t calls) { rows.emplace_back(limit_us, calls); });
    return rows;
  };
  using Rows = std::vector<std::pair<uint64_t, uint64_t>>;
  CHECK(read().empty());
  for (Nanos micros : {0, 1, 1, 2, 3, 5, 20, 200, 1'500, 20'000, 300'000, 300'000}) {
    histogram.record(micros * 1'000);
  }
  CHECK(
      read() ==
      Rows{
          {1, 3}, {2, 4}, {4, 5}, {8, 6}, {33, 7}, {264, 8}, {2113, 9}, {33816, 10}, {541065, 12}});
  histogram.record(INT64_MAX);
  CHECK(read().back().second == 13);
}

TEST_CASE("histogram: memory only once used, merge, reset") {
  size_t before = memory_used();
  Histogram histogram;
  Histogram other;
  CHECK(histogram.empty());
  CHECK(histogram.percentile(50) == 0);
  CHECK(memory_used() == before);
  histogram.record(100);
  CHECK(memory_used() - before == histogram.footprint());
  CHECK(histogram.footprint() == 4096);
  other.record(100'000);
  other.merge(histogram);
  CHECK(other.count() == 2);
  CHECK(other.percentile(50) == 103);
  CHECK(other.max() == 102'399);
  histogram = std::move(other);
  histogram.reset();
  other.reset();
  CHECK(memory_used() == before);
  CHECK(histogram.count() == 0);
}
