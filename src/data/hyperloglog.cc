#include "data/hyperloglog.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace quoll::data {
namespace {

constexpr unsigned kIndexBits = 14;
constexpr unsigned kRankBits = 64 - kIndexBits;
constexpr uint64_t kHashSeed = 0xadc83b19;
constexpr unsigned kSparseRankMax = 32;
constexpr unsigned kZeroRunMax = 64;
constexpr unsigned kRankRunMax = 4;
constexpr size_t kEncodingAt = 4;
constexpr size_t kCountAt = 8;
constexpr uint8_t kOutOfDate = 0x80;
constexpr unsigned kJoinRuns = 5;  // runs looked at for joining after a change

uint64_t load_u64(const char* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

uint64_t murmur_hash_64a(base::Bytes bytes, uint64_t seed) {
  constexpr uint64_t kMultiplier = 0xc6a4a7935bd1e995;
  constexpr int kShift = 47;
  uint64_t hash = seed ^ (bytes.size() * kMultiplier);
  size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    uint64_t word = load_u64(bytes.data() + at) * kMultiplier;
    word = (word ^ (word >> kShift)) * kMultiplier;
    hash = (hash ^ word) * kMultiplier;
  }
  if (at < bytes.size()) {
    uint64_t rest = 0;
    for (size_t i = at; i < bytes.size(); ++i)
      rest |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * (i - at));
    hash = (hash ^ rest) * kMultiplier;
  }
  hash = (hash ^ (hash >> kShift)) * kMultiplier;
  return hash ^ (hash >> kShift);
}

// How many registers hold each rank. 64: damaged bytes may hold ranks beyond the highest.
using Histogram = std::array<unsigned, 64>;

double sigma(double x) {
  if (x == 1.0) return INFINITY;
  double weight = 1;
  double sum = x;
  for (double before = -1; before != sum; weight += weight) {
    x *= x;
    before = sum;
    sum += x * weight;
  }
  return sum;
}

double tau(double x) {
  if (x == 0.0 || x == 1.0) return 0.0;
  double weight = 1;
  double sum = 1 - x;
  for (double before = -1; before != sum;) {
    x = std::sqrt(x);
    before = sum;
    weight *= 0.5;
    double rest = 1 - x;
    sum -= rest * rest * weight;
  }
  return sum / 3;
}

uint64_t estimate(const Histogram& histogram) {
  constexpr double kAlpha = 0.721347520444481703680;  // 1 / (2 ln 2)
  constexpr double kRegisters = kHyperLogLogRegisters;
  double z = kRegisters * tau((kRegisters - histogram[kRankBits + 1]) / kRegisters);
  for (unsigned rank = kRankBits; rank >= 1; --rank) {
    z += histogram[rank];
    z *= 0.5;
  }
  z += kRegisters * sigma(histogram[0] / kRegisters);
  return static_cast<uint64_t>(std::llround(kAlpha * kRegisters * kRegisters / z));
}

// Calls visit(index, rank) for every register of the dense form: three bytes hold four.
template <class Visit>
void for_each_dense(base::Bytes bytes, Visit&& visit) {
  const auto* at = reinterpret_cast<const uint8_t*>(bytes.data()) + kHyperLogLogHeaderBytes;
  for (unsigned index = 0; index < kHyperLogLogRegisters; index += 4, at += 3) {
    visit(index, static_cast<uint8_t>(at[0] & 63));
    visit(index + 1, static_cast<uint8_t>((at[0] >> 6 | at[1] << 2) & 63));
    visit(index + 2, static_cast<uint8_t>((at[1] >> 4 | at[2] << 4) & 63));
    visit(index + 3, static_cast<uint8_t>(at[2] >> 2));
  }
}

unsigned dense_rank(const uint8_t* registers, unsigned index) {
  const uint8_t* at = registers + index * 6 / 8;
  unsigned shift = index * 6 % 8;
  unsigned pair = shift > 2 ? at[0] | at[1] << 8 : at[0];  // the last register ends its byte
  return pair >> shift & 63;
}

void set_dense_rank(uint8_t* registers, unsigned index, unsigned rank) {
  uint8_t* at = registers + index * 6 / 8;
  unsigned shift = index * 6 % 8;
  at[0] = static_cast<uint8_t>((at[0] & ~(63u << shift)) | rank << shift);
  if (shift > 2)
    at[1] = static_cast<uint8_t>((at[1] & ~(63u >> (8 - shift))) | rank >> (8 - shift));
}

}  // namespace

HyperLogLogPlace HyperLogLogPlace::of(base::Bytes element) {
  uint64_t hash = murmur_hash_64a(element, kHashSeed);
  auto index = static_cast<unsigned>(hash & (kHyperLogLogRegisters - 1));
  uint64_t rest = hash >> kIndexBits | uint64_t{1} << kRankBits;
  return {index, static_cast<uint8_t>(__builtin_ctzll(rest) + 1)};
}

uint64_t HyperLogLogRegisters::estimate() const {
  Histogram histogram{};
  for (uint8_t rank : ranks_) ++histogram[rank & 63];
  return data::estimate(histogram);
}

bool HyperLogLogRegisters::merge(const HyperLogLogView& view) {
  if (!view.sparse()) {
    for_each_dense(view.bytes_, [&](unsigned index, uint8_t rank) { raise(index, rank); });
    return true;
  }
  return view.for_each_run([&](unsigned first, unsigned count, uint8_t rank, bool) {
    for (unsigned i = 0; rank > 0 && i < count; ++i) raise(first + i, rank);
  });
}

bool HyperLogLogView::recognised(base::Bytes bytes) {
  if (bytes.size() < kHyperLogLogHeaderBytes || !bytes.starts_with("HYLL")) return false;
  auto encoding = static_cast<uint8_t>(bytes[kEncodingAt]);
  return encoding == 1 || (encoding == 0 && bytes.size() == kHyperLogLogDenseBytes);
}

bool HyperLogLogView::count(uint64_t& count) const {
  if (!(static_cast<uint8_t>(bytes_[kCountAt + 7]) & kOutOfDate)) {
    count = load_u64(bytes_.data() + kCountAt);
    return true;
  }
  Histogram histogram{};
  if (sparse()) {
    if (!for_each_run(
            [&](unsigned, unsigned count, uint8_t rank, bool) { histogram[rank] += count; }))
      return false;
  } else {
    // Neighbours often have the same rank: counting them apart keeps one sum from waiting for the
    // other.
    std::array<Histogram, 4> parts{};
    for_each_dense(bytes_, [&](unsigned index, uint8_t rank) { ++parts[index & 3][rank]; });
    for (size_t rank = 0; rank < histogram.size(); ++rank)
      for (const Histogram& part : parts) histogram[rank] += part[rank];
  }
  count = estimate(histogram);
  return true;
}

bool HyperLogLogView::would_raise(const HyperLogLogPlace& place) const {
  const auto* registers = reinterpret_cast<const uint8_t*>(bytes_.data()) + kHyperLogLogHeaderBytes;
  return place.rank > dense_rank(registers, place.index);
}

HyperLogLog::HyperLogLog() : bytes_(kHyperLogLogHeaderBytes + 2) {
  bytes_.resize(kHyperLogLogHeaderBytes + 2);
  std::memset(bytes_.data(), 0, bytes_.size());
  std::memcpy(bytes_.data(), "HYLL", 4);
  *byte(kEncodingAt) = 1;
  *byte(kHyperLogLogHeaderBytes) = 0x7f;
  *byte(kHyperLogLogHeaderBytes + 1) = 0xff;
}

HyperLogLog HyperLogLog::copy_of(base::Bytes recognised) {
  return HyperLogLog(base::Blob::copy_of(recognised));
}

void HyperLogLog::drop_cached_count() { *byte(kCountAt + 7) |= kOutOfDate; }

HyperLogLog::Outcome HyperLogLog::raise(const HyperLogLogPlace& place, size_t sparse_bytes_max) {
  return view().sparse() ? raise_sparse(place, sparse_bytes_max) : raise_dense(place);
}

HyperLogLog::Outcome HyperLogLog::raise_dense(const HyperLogLogPlace& place) {
  if (!view().would_raise(place)) return Outcome::unchanged;
  set_dense_rank(byte(kHyperLogLogHeaderBytes), place.index, place.rank);
  return Outcome::changed;
}

bool HyperLogLog::make_dense() {
  if (!view().sparse()) return true;
  base::Blob dense(kHyperLogLogDenseBytes);
  dense.append(bytes_.view().substr(0, kHyperLogLogHeaderBytes));
  dense.resize(kHyperLogLogDenseBytes);
  auto* start = reinterpret_cast<uint8_t*>(dense.data());
  uint8_t* registers = start + kHyperLogLogHeaderBytes;
  std::memset(registers, 0, kHyperLogLogDenseBytes - kHyperLogLogHeaderBytes);
  start[kEncodingAt] = 0;
  if (!view().for_each_run([&](unsigned first, unsigned count, uint8_t rank, bool) {
        for (unsigned i = 0; rank > 0 && i < count; ++i) set_dense_rank(registers, first + i, rank);
      }))
    return false;
  bytes_ = std::move(dense);
  return true;
}

HyperLogLog::Outcome HyperLogLog::promote(const HyperLogLogPlace& place) {
  return make_dense() ? raise_dense(place) : Outcome::damaged;
}

// One run of the sparse form, and which registers it covers.
struct HyperLogLog::Run {
  size_t offset;
  size_t bytes;  // 0: there is none at the offset
  unsigned first;
  unsigned count;
  unsigned rank;
  unsigned end() const { return first + count; }
};

HyperLogLog::Run HyperLogLog::run_at(size_t offset, unsigned first) const {
  if (offset >= bytes_.size()) return {offset, 0, first, 0, 0};
  uint8_t head = *byte(offset);
  if (head & 0x80) return {offset, 1, first, (head & 3u) + 1, ((head >> 2) & 0x1fu) + 1};
  if (head < 0x40) return {offset, 1, first, head + 1u, 0};
  if (offset + 1 == bytes_.size()) return {offset, 0, first, 0, 0};
  return {offset, 2, first, ((head & 0x3fu) << 8 | *byte(offset + 1)) + 1, 0};
}

void HyperLogLog::Runs::zeros(unsigned count) {
  if (count == 0) return;
  --count;
  if (count < kZeroRunMax) {
    bytes[size++] = static_cast<uint8_t>(count);
  } else {
    bytes[size++] = static_cast<uint8_t>(0x40 | count >> 8);
    bytes[size++] = static_cast<uint8_t>(count);
  }
}

void HyperLogLog::Runs::ranks(unsigned count, unsigned rank) {
  if (count > 0) bytes[size++] = static_cast<uint8_t>(0x80 | (rank - 1) << 2 | (count - 1));
}

void HyperLogLog::replace(const Run& run, const Runs& runs) {
  size_t size = bytes_.size();
  size_t tail = run.offset + run.bytes;
  size_t grown = size - run.bytes + runs.size;
  if (grown > bytes_.capacity())
    bytes_.reserve(base::usable_size(sizeof(base::Blob::Header) + grown) -
                   sizeof(base::Blob::Header));
  bytes_.resize(std::max(size, grown));
  std::memmove(byte(run.offset + runs.size), byte(tail), size - tail);
  std::memcpy(byte(run.offset), runs.bytes, runs.size);
  bytes_.resize(grown);
}

// Which runs Redis joins, and how far it looks, decides about the bytes: equal neighbours of at
// most four registers together, among the five runs from the one before the change.
void HyperLogLog::join_equal_runs(size_t from) {
  size_t at = from;
  for (unsigned looked = 0; looked < kJoinRuns && at < bytes_.size(); ++looked) {
    Run run = run_at(at, 0);
    if (run.bytes == 0) return;
    Run next = run_at(at + run.bytes, 0);
    if (run.rank > 0 && next.bytes > 0 && next.rank == run.rank &&
        run.count + next.count <= kRankRunMax) {
      Runs joined;
      joined.ranks(run.count + next.count, run.rank);
      *byte(next.offset) = joined.bytes[0];
      replace(run, Runs{});
    } else {
      at += run.bytes;
    }
  }
}

HyperLogLog::Outcome HyperLogLog::raise_sparse(const HyperLogLogPlace& place,
                                               size_t sparse_bytes_max) {
  if (place.rank > kSparseRankMax) return promote(place);
  Run previous{kHyperLogLogHeaderBytes, 0, 0, 0, 0};
  Run run = run_at(kHyperLogLogHeaderBytes, 0);
  if (resume_offset_ > 0) {
    Run resumed = run_at(resume_offset_, resume_first_);
    if (place.index >= resumed.end()) run = resumed;
  }
  while (run.bytes > 0 && place.index >= run.end()) {
    previous = run;
    run = run_at(run.offset + run.bytes, run.end());
  }
  if (run.bytes == 0) return Outcome::damaged;
  if (run.rank >= place.rank) return Outcome::unchanged;

  Runs runs;
  unsigned before = place.index - run.first;
  unsigned behind = run.end() - place.index - 1;
  run.rank > 0 ? runs.ranks(before, run.rank) : runs.zeros(before);
  runs.ranks(1, place.rank);
  run.rank > 0 ? runs.ranks(behind, run.rank) : runs.zeros(behind);
  if (runs.size > run.bytes && bytes_.size() + runs.size - run.bytes > sparse_bytes_max)
    return promote(place);
  replace(run, runs);
  resume_offset_ = previous.bytes > 0 ? previous.offset : 0;
  resume_first_ = previous.first;
  join_equal_runs(previous.offset);
  return Outcome::changed;
}

const char* hyperloglog_self_test() {
  constexpr size_t kSparseBytesMax = 3000;
  constexpr unsigned kElements = 200'000;
  constexpr double kErrorMax = 0.0325;  // four standard errors
  HyperLogLog sparse_first;
  HyperLogLog dense;
  if (!dense.make_dense()) return "the empty sparse form was not understood";
  HyperLogLogRegisters plain;
  uint64_t state = 1;
  unsigned checked = 100;
  for (unsigned seen = 1; seen <= kElements; ++seen) {
    state = state * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX generator
    char element[8];
    std::memcpy(element, &state, sizeof(element));
    base::Bytes bytes(element, sizeof(element));
    plain.add(bytes);
    if (sparse_first.add(bytes, kSparseBytesMax) != dense.add(bytes, kSparseBytesMax))
      return "sparse and dense forms disagree about an element";
    if (seen != checked) continue;
    checked *= 2;
    sparse_first.drop_cached_count();
    dense.drop_cached_count();
    uint64_t counts[2] = {};
    if (!sparse_first.view().count(counts[0]) || !dense.view().count(counts[1]))
      return "the sparse form is damaged";
    if (counts[0] != counts[1] || counts[1] != plain.estimate())
      return "the forms give different counts";
    if (std::abs(static_cast<double>(counts[0]) - seen) > kErrorMax * seen + 1)
      return "the estimate is too far off";
  }
  return nullptr;
}

}  // namespace quoll::data
