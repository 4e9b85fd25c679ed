#include "base/histogram.h"

#include <cmath>
#include <cstring>

#include "base/memory.h"

namespace quoll::base {

namespace {
constexpr size_t kCountsBytes = Histogram::kBuckets * sizeof(uint64_t);
}

static_assert(Histogram::bucket_of(Histogram::kValueMaxNs) == Histogram::kBuckets - 1);
static_assert(Histogram::bucket_max(Histogram::kBuckets - 1) ==
              static_cast<Nanos>(Histogram::kValueMaxNs));

void Histogram::make_counts() {
  counts_ = static_cast<uint64_t*>(allocate(kCountsBytes));
  std::memset(counts_, 0, kCountsBytes);
}

void Histogram::reset() {
  if (counts_) release(counts_, kCountsBytes);
  counts_ = nullptr;
}

size_t Histogram::footprint() const { return counts_ ? usable_size(kCountsBytes) : 0; }

uint64_t Histogram::count() const {
  uint64_t sum = 0;
  for (unsigned i = 0; counts_ && i < kBuckets; ++i) sum += counts_[i];
  return sum;
}

Nanos Histogram::percentile(double percent) const {
  uint64_t total = count();
  if (total == 0) return 0;
  double exact_rank = std::ceil(percent / 100 * static_cast<double>(total));
  uint64_t rank = exact_rank < 1 ? 1 : static_cast<uint64_t>(exact_rank);
  if (rank > total) rank = total;
  uint64_t seen = 0;
  unsigned bucket = 0;
  while ((seen += counts_[bucket]) < rank) ++bucket;
  return bucket_max(bucket);
}

void Histogram::merge(const Histogram& other) {
  if (!other.counts_) return;
  if (!counts_) make_counts();
  for (unsigned i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
}

uint64_t Histogram::octave_count(unsigned log) const {
  Nanos low = log == 0 ? 0 : Nanos{1} << log;
  unsigned end = bucket_of((Nanos{2} << log) - 1);
  uint64_t sum = 0;
  for (unsigned i = bucket_of(low); i <= end; ++i) sum += counts_[i];
  return sum;
}

}  // namespace quoll::base
