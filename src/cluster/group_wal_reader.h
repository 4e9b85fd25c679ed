// WalReader: takes the entries out of one log file's bytes behind its header, wherever reads cut
// them.
//
//   feed(bytes), then next() until `more`; at the end of the file torn() tells of a rest
//
// Pure. Memory: one read, or one entry. Cost: one CRC per entry and one move of the bytes that wait
// for more.
#pragma once

#include <string>

#include "cluster/group_entry.h"
#include "cluster/group_wal_format.h"

namespace quoll::cluster {

class WalReader {
 public:
  WalReader(uint64_t sequence, uint64_t offset) : sequence_(sequence), offset_(offset) {}

  enum class Step : uint8_t {
    entry,
    more,     // needs more bytes
    damaged,  // what begins at offset() is neither an entry nor a batch
  };
  void feed(base::Bytes bytes);
  // `entry` stays valid until the next call, `bytes` are its encoded ones.
  Step next(Entry& entry, base::Bytes& bytes);
  // The last entry is not to be used: offset() is where it begins.
  void refuse(const Entry& entry) { offset_ -= entry.bytes; }

  uint64_t offset() const { return offset_; }  // everything before it was intact
  uint64_t fed() const { return offset_ + waiting_.size() - at_; }
  bool torn() const { return batch_left_ > 0 || at_ < waiting_.size(); }
  // The newest of the batches so far; {0, 0}: none was met.
  Position promised() const { return promised_; }
  // The bytes fed but not taken may have been read badly: feed them again from offset() on.
  void read_again() {
    waiting_.clear();
    at_ = 0;
  }

 private:
  uint64_t sequence_;
  uint64_t offset_;
  std::string waiting_;
  size_t at_ = 0;            // of waiting_ taken
  uint64_t batch_left_ = 0;  // bytes of its entries
  Position promised_;
};

// Looks for batches in bytes that are no orderly log any more.
class WalScan {
 public:
  WalScan(uint64_t sequence, uint64_t offset) : sequence_(sequence), offset_(offset) {}
  void feed(base::Bytes bytes);
  uint64_t fed() const { return offset_ + waiting_.size(); }
  const std::optional<Position>& promised() const { return promised_; }  // of the last one found

 private:
  uint64_t sequence_;
  uint64_t offset_;  // of waiting_
  std::string waiting_;
  std::optional<Position> promised_;
};

}  // namespace quoll::cluster
