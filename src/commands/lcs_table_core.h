// LcsTable: the longest common subsequence of two byte strings, by bit-vectors.
//
// Row i holds one bit per byte of b: bit j is 0 where the length of the LCS of a[0..i] and b[0..j]
// grows by one from j-1 to j. A row follows from the one above with one addition per 64 columns:
// V' = (V + (V & M)) | (V & ~M), where M marks the bytes of b that equal a[i]. The number of zeros
// in the last row is the length. Source: Crochemore, Iliopoulos, Pinzon, Reid, "A fast and
// practical bit-vector algorithm for the longest common subsequence problem" (2001).
//
// Cost: |a| * |b| / 64 steps. Memory: with Keep::all_rows (needed to walk) one bit per pair of
// bytes, rounded up to a byte per row, and as much again at most for the marks; with Keep::last_row
// the marks alone, at most 256 bits per byte of b. The classic table takes 32 bits per pair.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace quoll::commands {

class LcsTable {
 public:
  enum class Keep { last_row, all_rows };

  LcsTable(base::Bytes a, base::Bytes b, Keep keep);

  size_t length() const { return length_; }

  // Visits the runs of one longest common subsequence, the last first: run(start in a, start in b,
  // bytes). Among equally long ones it is the one that Redis finds: going back from the ends, where
  // bytes differ, b is shortened unless that loses length. Needs Keep::all_rows.
  template <class Run>
  void walk(Run&& run) const {
    size_t i = a_.size();
    size_t j = b_.size();
    while (i > 0 && j > 0) {
      size_t equal = 0;
      while (i > 0 && j > 0 && a_[i - 1] == b_[j - 1]) {
        --i;
        --j;
        ++equal;
      }
      if (equal > 0) {
        run(i, j, equal);
      } else if (grows(i - 1, j - 1)) {
        --i;
      } else {
        --j;
      }
    }
  }

 private:
  void mark();
  void next_row(const uint64_t* marks);
  bool grows(size_t row, size_t column) const {
    return !(rows_[row * row_bytes_ + column / 8] >> (column % 8) & 1);
  }

  base::Bytes a_;
  base::Bytes b_;
  size_t words_;
  size_t row_bytes_;
  size_t length_ = 0;
  uint16_t symbol_[256] = {};    // of a byte of a, counted from 1; 0 = not in a
  std::vector<uint64_t> marks_;  // per symbol: where b holds it
  std::vector<uint64_t> row_;    // the last one
  std::unique_ptr<uint8_t[]> rows_;
};

}  // namespace quoll::commands
