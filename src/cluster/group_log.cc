#include "cluster/group_log.h"

#include <algorithm>

#include "base/check.h"

namespace quoll::cluster {

void GroupLog::restart(Position base) {
  pieces_.clear();
  base_ = last_ = base;
  sealed_ = base.index;
  bytes_ = 0;
}

void GroupLog::set_base(Position base) {
  if (pieces_.empty()) return restart(base);
  QUOLL_CHECK(base.index == base_.index);
  base_ = base;
}

std::optional<Epoch> GroupLog::epoch_at(Index index) const {
  if (index == base_.index) return base_.epoch;
  if (index < base_.index || index > last_.index) return {};
  if (index == last_.index) return last_.epoch;
  return pieces_[piece_of(index)].epoch;
}

Index GroupLog::first_of_epoch(Index index) const {
  size_t piece = piece_of(index);
  const Epoch epoch = pieces_[piece].epoch;
  while (piece > 0 && pieces_[piece - 1].epoch == epoch) --piece;
  return pieces_[piece].first;
}

GroupLog::Piece& GroupLog::piece_for(const EntryHeader& header) {
  QUOLL_CHECK(header.at.index == last_.index + 1 && header.at.epoch >= last_.epoch);
  if (pieces_.empty() || pieces_.back().epoch != header.at.epoch ||
      pieces_.back().bytes.size() >= kLogPieceBytes) {
    pieces_.push_back({header.at.epoch, header.at.index, {}, {}});
    pieces_.back().bytes.reserve(kLogPieceRoom);
  }
  return pieces_.back();
}

// Of an index that is held.
size_t GroupLog::piece_of(Index index) const {
  auto after = std::ranges::upper_bound(pieces_, index, {}, &Piece::first);
  QUOLL_CHECK(after != pieces_.begin());
  return static_cast<size_t>(after - pieces_.begin()) - 1;
}

size_t GroupLog::bytes_behind(Index index) const {
  size_t bytes = 0;
  for (auto piece = pieces_.rbegin(); piece != pieces_.rend() && piece->last() > index; ++piece)
    bytes +=
        piece->bytes.size() - (piece->first > index ? 0 : piece->starts[index + 1 - piece->first]);
  return bytes;
}

void GroupLog::truncate(Index index) {
  QUOLL_CHECK(index >= base_.index);
  if (index >= last_.index) return;
  sealed_ = std::min(sealed_, index);
  while (!pieces_.empty() && pieces_.back().first > index) {
    bytes_ -= pieces_.back().bytes.size();
    pieces_.pop_back();
  }
  if (pieces_.empty()) {
    last_ = base_;
    return;
  }
  Piece& piece = pieces_.back();
  if (const size_t kept = index - piece.first + 1; kept < piece.starts.size()) {
    bytes_ -= piece.bytes.size() - piece.starts[kept];
    piece.bytes.resize(piece.starts[kept]);
    piece.starts.resize(kept);
  }
  last_ = {piece.epoch, index};
}

void GroupLog::trim(size_t keep_bytes, Index needed_after) {
  while (pieces_.size() > 1 && bytes_ > keep_bytes && pieces_.front().last() <= needed_after) {
    base_ = {pieces_.front().epoch, pieces_.front().last()};
    bytes_ -= pieces_.front().bytes.size();
    pieces_.pop_front();
  }
}

void GroupLog::seal() const {
  for (size_t number = piece_of(sealed_ + 1); number < pieces_.size(); ++number) {
    Piece& piece = pieces_[number];
    for (size_t entry = sealed_ + 1 - piece.first; entry < piece.starts.size(); ++entry) {
      const size_t start = piece.starts[entry];
      const bool last = entry + 1 == piece.starts.size();
      const size_t end = last ? piece.bytes.size() : piece.starts[entry + 1];
      seal_entry(std::span(piece.bytes).subspan(start, end - start));
    }
    sealed_ = piece.last();
  }
}

base::Bytes GroupLog::slice(Index after, size_t bytes_max, Index& upto) const {
  QUOLL_CHECK(after >= base_.index);
  upto = after;
  if (after >= last_.index) return {};
  if (sealed_ < last_.index) seal();
  const Piece& piece = pieces_[piece_of(after + 1)];
  const size_t from = after + 1 - piece.first;
  const size_t start = piece.starts[from];
  auto end = piece.starts.end();
  if (piece.bytes.size() - start > bytes_max) {
    end = std::upper_bound(piece.starts.begin() + static_cast<std::ptrdiff_t>(from) + 1,
                           piece.starts.end(), start + bytes_max);
    // The last entry that begins within the bound ends behind it, unless it is the only one.
    if (end - piece.starts.begin() > static_cast<std::ptrdiff_t>(from) + 1) --end;
  }
  const size_t count = static_cast<size_t>(end - piece.starts.begin()) - from;
  upto = after + count;
  const size_t stop = end == piece.starts.end() ? piece.bytes.size() : *end;
  return base::Bytes(piece.bytes).substr(start, stop - start);
}

}  // namespace quoll::cluster
