// Histogram of durations, log-linear: 16 buckets per power of two, so a value is known to 1/16.
// Every command has one, so it is 8 bytes until something is recorded and 4 KiB afterwards.
//
//   value  0 ... 15        exact, buckets 0-15
//          2^e ... 2^e+1   buckets (e-3)*16 ... +15, each 2^(e-4) wide;  e = 4 ... 34
//
// Cost: record() is a shift, an add and one increment; sums are made when somebody asks.
#pragma once

#include <cstdint>
#include <utility>

#include "base/bytes.h"

namespace quoll::base {

class Histogram {
 public:
  static constexpr unsigned kStepBits = 4;  // 16 buckets per power of two
  static constexpr unsigned kBuckets = 512;
  static constexpr uint64_t kValueMaxNs = (uint64_t{1} << 35) - 1;  // 34 s; longer counts as that

  Histogram() = default;
  Histogram(Histogram&& other) noexcept : counts_(std::exchange(other.counts_, nullptr)) {}
  Histogram& operator=(Histogram&& other) noexcept {
    std::swap(counts_, other.counts_);
    return *this;
  }
  Histogram(const Histogram&) = delete;
  Histogram& operator=(const Histogram&) = delete;
  ~Histogram() { reset(); }

  void record(Nanos value_ns) {
    if (__builtin_expect(!counts_, 0)) make_counts();
    ++counts_[bucket_of(value_ns)];
  }

  bool empty() const { return counts_ == nullptr; }
  uint64_t count() const;
  // The largest value that counts as equal to the one at this rank; 0 when empty. 0 < percent <=
  // 100.
  Nanos percentile(double percent) const;
  Nanos max() const { return percentile(100); }
  void merge(const Histogram& other);
  void reset();  // gives the memory back
  size_t footprint() const;

  // The rows of LATENCY HISTOGRAM: calls visit(limit_us, calls up to there) for the limits 1, 2, 4,
  // 8, 16, 33, 66 ... at which the number of calls grows. Limits are those of Redis: 1024 ns times
  // a power of two, plus the width of one bucket of an HdrHistogram with two digits, in whole us.
  template <class Visit>
  void each_power_of_two(Visit&& visit) const {
    uint64_t calls = 0;
    uint64_t reported = 0;
    for (unsigned log = 0; log < 35 && counts_; ++log) {
      calls += octave_count(log);
      if (log < 9 || calls == reported) continue;
      uint64_t level_ns = uint64_t{2} << log;
      visit((level_ns + level_ns / 128 - 1) / 1000, calls);
      reported = calls;
    }
  }

  static constexpr unsigned bucket_of(Nanos value_ns) {
    uint64_t value = value_ns < 0 ? 0 : static_cast<uint64_t>(value_ns);
    if (value > kValueMaxNs) value = kValueMaxNs;
    if (value < (1u << kStepBits)) return static_cast<unsigned>(value);
    unsigned shift = 63 - static_cast<unsigned>(__builtin_clzll(value)) - kStepBits;
    return (shift << kStepBits) + static_cast<unsigned>(value >> shift);
  }
  // The largest value of a bucket.
  static constexpr Nanos bucket_max(unsigned bucket) {
    if (bucket < (1u << kStepBits)) return bucket;
    unsigned shift = (bucket >> kStepBits) - 1;
    uint64_t step = (bucket & ((1u << kStepBits) - 1)) | (1u << kStepBits);
    return static_cast<Nanos>(((step + 1) << shift) - 1);
  }

 private:
  void make_counts();
  // Calls with 2^log <= value < 2^(log+1); log 0 includes the value 0.
  uint64_t octave_count(unsigned log) const;

  uint64_t* counts_ = nullptr;  // kBuckets of them
};

}  // namespace quoll::base
