// The bytes of a group member's files: what group_wal.h writes and group_wal_recovery.h reads.
//
//   log.0000000007   header batch batch ...           batch: header, then whole entries (or none)
//
//   file header, 64 bytes                  batch header, 32 bytes
//   0   8  "QUOLLWAL"                      0   4  "QBAT"
//   8   4  version                         4   4  CRC32C of what is behind it, of the number of
//   12  4  1: the log was restarted here           the file and of the place in it
//   16  8  number of the file              8   8  bytes of the entries behind it
//   24 16  the entry before the first one  16 16  the newest entry promised to others by then
//   40 16  the newest entry promised
//   56  4  0
//   60  4  CRC32C of what is before it
//
//   state            lines of text, the last one with the CRC32C of those before it
//
// A position is epoch, then index. Numbers are little-endian. Pure.
// Cost: 32 bytes per turn of the loop in which something is written.
#pragma once

#include <optional>
#include <string>

#include "cluster/group_types.h"

namespace quoll::cluster {

constexpr size_t kWalHeaderBytes = 64;
constexpr size_t kWalBatchBytes = 32;
constexpr base::Bytes kWalBatchMagic = "QBAT";

struct WalHeader {
  uint64_t sequence = 0;
  bool restart = false;
  Position before;
  Position promised;
};
std::string encode_wal_header(const WalHeader& header);
enum class WalHeaderFault : uint8_t { none, damaged, newer };
// `newer`: of a version that is not known here.
WalHeaderFault decode_wal_header(base::Bytes bytes, WalHeader& header);

struct WalBatch {
  uint64_t bytes = 0;
  Position promised;
};
// `offset`: where in the file the batch begins. Into kWalBatchBytes at `out`.
void encode_wal_batch(const WalBatch& batch, uint64_t sequence, uint64_t offset, char* out);
// False: `bytes` do not begin with a batch written at this place.
bool decode_wal_batch(base::Bytes bytes, uint64_t sequence, uint64_t offset, WalBatch& batch);

// "log.0000000007"
std::string wal_file_name(uint64_t sequence);
std::optional<uint64_t> wal_sequence(base::Bytes name);

struct GroupSuperblock {
  SavedState state;
  // The first file that belongs to the log, and the last one known to be on disk: both exist,
  // unless newest < first, when no file is known to.
  uint64_t first = 1;
  uint64_t newest = 0;
  Position base;  // the entry before those of the first file

  bool operator==(const GroupSuperblock&) const = default;
};
std::string encode_superblock(const GroupSuperblock& block);
std::optional<GroupSuperblock> decode_superblock(base::Bytes text);

}  // namespace quoll::cluster
