// Up to which sizes collections stay in their packed forms: the *-max-listpack-* and related
// directives, whose meaning and defaults are Redis's.
#pragma once

#include <cstdint>

namespace quoll::data {

struct Packing {
  uint64_t hash_entries = 512;
  uint64_t hash_value_bytes = 64;
  int64_t list_node = -2;        // > 0: elements per node; -1..-5: 4, 8, 16, 32, 64 KiB per node
  uint64_t list_open_nodes = 0;  // at each end; those between are compressed. 0: none is
  uint64_t set_intset_entries = 512;
  uint64_t set_entries = 128;
  uint64_t set_value_bytes = 64;
  uint64_t zset_entries = 128;
  uint64_t zset_value_bytes = 64;
  uint64_t stream_node_bytes = 4096;   // 0: no limit
  uint64_t stream_node_entries = 100;  // 0: no limit
};

}  // namespace quoll::data
