// Relocation: a value has its blocks moved together, in steps (base/compaction.h). What every type
// offers for it is relocate(blocks, cursor): true while more is left. A cursor may be used on
// whatever the value has become meanwhile: blocks are then left out, or looked at twice.
//
// Left where they are: the groups of streams and the heaps of field deadlines.
#pragma once

#include "base/blob.h"
#include "base/bytes.h"
#include "base/compaction.h"
#include "base/hash_table.h"
#include "base/memory.h"
#include "data/stream_id.h"

namespace quoll::data {

struct RelocationCursor {
  base::WalkCursor table;
  bool table_done = false;  // of what has an order beside the table
  uint64_t index = 0;       // of a node or a rank
  StreamId id;

  bool at_table_start() const { return !table_done && table.prefix == 0 && table.bucket == 0; }
};

// The block of a Listpack or an Intset, which has the usable size of its bytes.
inline bool move_packed(base::Compaction& blocks, char*& block, base::Bytes bytes) {
  return blocks.move(block, base::usable_size(bytes.size()));
}

inline bool move_blob(base::Compaction& blocks, base::Blob::Header*& blob) {
  return blocks.move(blob, sizeof(base::Blob::Header) + blob->capacity);
}

}  // namespace quoll::data
