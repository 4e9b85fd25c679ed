#include "commands/lcs_table_core.h"

#include <bit>
#include <cstring>

namespace quoll::commands {

// Rows are cut to bytes by copying the front of their words.
static_assert(std::endian::native == std::endian::little);

LcsTable::LcsTable(base::Bytes a, base::Bytes b, Keep keep)
    : a_(a), b_(b), words_((b.size() + 63) / 64), row_bytes_((b.size() + 7) / 8) {
  row_.assign(words_, ~uint64_t{0});
  mark();
  if (keep == Keep::all_rows)
    rows_ = std::make_unique_for_overwrite<uint8_t[]>(a.size() * row_bytes_);
  for (size_t i = 0; i < a.size(); ++i) {
    size_t symbol = symbol_[static_cast<uint8_t>(a[i])] - size_t{1};
    next_row(marks_.data() + symbol * words_);
    if (rows_ && row_bytes_ > 0) std::memcpy(rows_.get() + i * row_bytes_, row_.data(), row_bytes_);
  }
  // The bits behind the last column stay 1: nothing marks them, and they only pass carries on.
  size_t zeros = 0;
  for (uint64_t word : row_) zeros += static_cast<size_t>(std::popcount(~word));
  length_ = zeros;
}

void LcsTable::mark() {
  uint16_t symbols = 0;
  for (char c : a_) {
    uint16_t& symbol = symbol_[static_cast<uint8_t>(c)];
    if (symbol == 0) symbol = ++symbols;
  }
  marks_.assign(symbols * words_, 0);
  for (size_t j = 0; j < b_.size(); ++j) {
    uint16_t symbol = symbol_[static_cast<uint8_t>(b_[j])];
    if (symbol != 0) marks_[(symbol - size_t{1}) * words_ + j / 64] |= uint64_t{1} << (j % 64);
  }
}

void LcsTable::next_row(const uint64_t* marks) {
  bool carry = false;
  for (size_t word = 0; word < words_; ++word) {
    uint64_t row = row_[word];
    uint64_t sum;
    bool first = __builtin_add_overflow(row, row & marks[word], &sum);
    bool second = __builtin_add_overflow(sum, uint64_t{carry}, &sum);
    carry = first || second;
    row_[word] = sum | (row & ~marks[word]);
  }
}

}  // namespace quoll::commands
