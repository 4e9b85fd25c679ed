// GroupLog: the newest entries of a group's log in memory, as bytes ready to be sent.
//
//   base()            last()
//   |  piece  |  piece  |  piece |      a piece: one epoch, about 64 KiB of encoded entries
//
// base() is the entry before the first one held; what lies before is in a checkpoint, or in older
// files of the log on disk.
//
// Pure. Cost: 4 bytes an entry beside its encoded bytes. Finding an index: a binary search over the
// pieces.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "cluster/group_entry.h"

namespace quoll::cluster {

constexpr size_t kLogPieceRoom = 64 * 1024 - 1;  // with the end of a string an even size
constexpr size_t kLogPieceBytes = 60 * 1024;     // then the next piece begins
constexpr size_t kLogAheadBytes = 256;           // a few entries
constexpr size_t kLogLineBytes = 64;             // that the processor fetches at once

class GroupLog {
 public:
  // Empty behind this entry.
  void restart(Position base);

  // The epoch of the entry before the first one is known only now.
  void set_base(Position base);

  Position base() const { return base_; }
  Position last() const { return last_; }
  base::Millis last_time() const { return last_time_; }
  size_t bytes() const { return bytes_; }
  size_t bytes_behind(Index index) const;
  // Of base() and every entry held.
  std::optional<Epoch> epoch_at(Index index) const;
  // The first index held whose epoch is the one at `index`.
  Index first_of_epoch(Index index) const;

  // Encodes the next entry: `encode(header, bytes)` appends it to bytes.
  template <class Encode>
  void append(const EntryHeader& header, Encode&& encode) {
    // In registers: read back as one, the two halves would wait for all that is written meanwhile.
    const Epoch epoch = header.at.epoch;
    const Index index = header.at.index;
    const base::Millis time = header.time;
    Piece& piece = piece_for(header);
    piece.starts.push_back(static_cast<uint32_t>(piece.bytes.size()));
    const size_t before = piece.bytes.size();
    encode(header, piece.bytes);
    // Memory that was not touched for long: what comes next finds it on its way.
    const size_t after = piece.bytes.size();
    for (size_t at = before; at < after && at < before + kLogAheadBytes; at += kLogLineBytes)
      base::prefetch_to_write(piece.bytes.data() + at + kLogAheadBytes);
    bytes_ += after - before;
    if (sealed_ == last_.index) sealed_ = index;
    last_.epoch = epoch;
    last_.index = index;
    last_time_ = time;
  }
  // The same of an entry that lacks its checksum: it gets it when the log is next looked at.
  template <class Encode>
  void append_unsealed(const EntryHeader& header, Encode&& encode) {
    const Index sealed = sealed_;
    append(header, encode);
    sealed_ = sealed;
  }
  // Drops everything behind `index`, which is held or base.
  void truncate(Index index);
  // Drops whole pieces from the front while more than `keep_bytes` are held, none that holds an
  // entry behind `needed_after`.
  void trim(size_t keep_bytes, Index needed_after);

  // Entries behind `after`: the bytes of one or more, about `bytes_max` at most, and the last one's
  // index; empty at the end of the log. They stay where they are until the log changes.
  base::Bytes slice(Index after, size_t bytes_max, Index& upto) const;

 private:
  struct Piece {
    Epoch epoch;
    Index first;
    std::string bytes;
    std::vector<uint32_t> starts;
    Index last() const { return first + starts.size() - 1; }
  };
  Piece& piece_for(const EntryHeader& header);
  void seal() const;
  size_t piece_of(Index index) const;

  mutable std::deque<Piece> pieces_;
  mutable Index sealed_ = 0;  // entries up to here have their checksums
  Position base_;
  Position last_;
  base::Millis last_time_ = 0;
  size_t bytes_ = 0;
};

}  // namespace quoll::cluster
