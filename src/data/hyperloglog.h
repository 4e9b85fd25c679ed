// HyperLogLog: the number of different elements seen, estimated with a standard error of 0.81 %, in
// at most 12,304 bytes of a string value. The bytes are those of Redis, for the same additions.
// Sources: the format as documented with Redis; MurmurHash64A (A. Appleby, public domain); the
// estimator of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017).
//
//   0   "HYLL"
//   4   form           1 B: 0 dense, 1 sparse
//   5   unused         3 B
//   8   cached count   8 B little-endian; the highest bit set: out of date
//   16  registers
//
//   dense    16384 registers of 6 bits, the lowest bits of a byte first
//   sparse   runs of registers:
//     00llllll            zero   l + 1 registers (1 ... 64) that are 0
//     01llllll llllllll   xzero  l + 1 registers (1 ... 16384) that are 0
//     1vvvvvll            val    l + 1 registers (1 ... 4) that are v + 1 (1 ... 32)
//
// An element's hash gives its register (14 bits) and a rank: the trailing zeros of the rest and 1.
// Cost: adding is O(1) dense, O(bytes) sparse; estimating is one pass over the registers.
#pragma once

#include <array>

#include "base/blob.h"
#include "base/bytes.h"

namespace quoll::data {

constexpr size_t kHyperLogLogHeaderBytes = 16;
constexpr unsigned kHyperLogLogRegisters = 1u << 14;
constexpr size_t kHyperLogLogDenseBytes = kHyperLogLogHeaderBytes + kHyperLogLogRegisters * 6 / 8;
constexpr unsigned kHyperLogLogRankMax = 51;  // 50 bits beside the register's, and 1

// Where an element counts.
struct HyperLogLogPlace {
  unsigned index;
  uint8_t rank;
  static HyperLogLogPlace of(base::Bytes element);
};

class HyperLogLogView;

// Registers of one byte each: what unions are computed in.
class HyperLogLogRegisters {
 public:
  void add(base::Bytes element) {
    HyperLogLogPlace place = HyperLogLogPlace::of(element);
    raise(place.index, place.rank);
  }
  void raise(unsigned index, uint8_t rank) {
    if (rank > ranks_[index]) ranks_[index] = rank;
  }
  // Takes the higher rank of each register. False: the sparse form is damaged.
  bool merge(const HyperLogLogView& view);
  uint8_t operator[](unsigned index) const { return ranks_[index]; }
  uint64_t estimate() const;

 private:
  std::array<uint8_t, kHyperLogLogRegisters> ranks_{};
};

// Read-only, of bytes that recognised() accepts.
class HyperLogLogView {
 public:
  explicit HyperLogLogView(base::Bytes recognised) : bytes_(recognised) {}

  // Looks at the header and at the length of the dense form. The runs of the sparse form are
  // checked when they are read.
  static bool recognised(base::Bytes bytes);

  bool sparse() const { return bytes_[4] == 1; }
  // The estimate: the cached one unless it is out of date. False: the sparse form is damaged.
  bool count(uint64_t& count) const;
  // Calls visit(first register, number, rank, is_xzero) for each run of the sparse form. False:
  // they do not cover the registers exactly; unless `beyond`, the first run too many ends it.
  template <class Visit>
  bool for_each_run(Visit&& visit, bool beyond = false) const;
  // Dense form: true when the rank is above the register's.
  bool would_raise(const HyperLogLogPlace& place) const;

 private:
  friend class HyperLogLogRegisters;
  base::Bytes bytes_;
};

// The owning form: a Blob that is taken out of an entry, changed, and put back.
class HyperLogLog {
 public:
  enum class Outcome { unchanged, changed, damaged };

  HyperLogLog();  // empty and sparse
  explicit HyperLogLog(base::Blob recognised) : bytes_(std::move(recognised)) {}
  static HyperLogLog copy_of(base::Bytes recognised);

  HyperLogLogView view() const { return HyperLogLogView(bytes_.view()); }
  // The sparse form grows to `sparse_bytes_max` bytes, header included, then becomes dense. Damaged
  // bytes may be left half changed.
  Outcome add(base::Bytes element, size_t sparse_bytes_max) {
    return raise(HyperLogLogPlace::of(element), sparse_bytes_max);
  }
  Outcome raise(const HyperLogLogPlace& place, size_t sparse_bytes_max);
  bool make_dense();  // false: the sparse form is damaged
  void drop_cached_count();
  base::Blob take() { return std::move(bytes_); }

 private:
  struct Run;
  // What replaces one run: at most three.
  struct Runs {
    uint8_t bytes[5] = {};
    size_t size = 0;
    void zeros(unsigned count);
    void ranks(unsigned count, unsigned rank);
  };

  Run run_at(size_t offset, unsigned first) const;
  Outcome raise_dense(const HyperLogLogPlace& place);
  Outcome raise_sparse(const HyperLogLogPlace& place, size_t sparse_bytes_max);
  Outcome promote(const HyperLogLogPlace& place);
  void replace(const Run& run, const Runs& runs);
  void join_equal_runs(size_t from);
  uint8_t* byte(size_t offset) { return reinterpret_cast<uint8_t*>(bytes_.data()) + offset; }
  const uint8_t* byte(size_t offset) const {
    return reinterpret_cast<const uint8_t*>(bytes_.data()) + offset;
  }

  base::Blob bytes_;
  // The run before the last change: ascending additions go on from there. 0: none.
  size_t resume_offset_ = 0;
  unsigned resume_first_ = 0;
};

// Checks packing, conversion and the error of the estimate on pseudo-random elements; names what
// failed, nullptr when all is well. About 50 ms.
const char* hyperloglog_self_test();

template <class Visit>
bool HyperLogLogView::for_each_run(Visit&& visit, bool beyond) const {
  unsigned first = 0;
  for (size_t at = kHyperLogLogHeaderBytes; at < bytes_.size();) {
    auto head = static_cast<uint8_t>(bytes_[at]);
    unsigned rank = 0;
    unsigned count;
    bool xzero = (head & 0xc0) == 0x40;
    if (head & 0x80) {
      rank = ((head >> 2) & 0x1fu) + 1;
      count = (head & 3u) + 1;
    } else if (xzero) {
      bool cut_off = at + 1 == bytes_.size();
      if (cut_off && !beyond) return false;
      count = ((head & 0x3fu) << 8 | (cut_off ? 0 : static_cast<uint8_t>(bytes_[at + 1]))) + 1;
    } else {
      count = (head & 0x3fu) + 1;
    }
    if (!beyond && first + count > kHyperLogLogRegisters) return false;
    visit(first, count, static_cast<uint8_t>(rank), xzero);
    first += count;
    at += xzero ? 2 : 1;
  }
  return first == kHyperLogLogRegisters;
}

}  // namespace quoll::data
