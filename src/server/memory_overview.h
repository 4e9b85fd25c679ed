// MemoryOverview: one consistent reading of where the memory goes; INFO, MEMORY STATS and MEMORY
// DOCTOR show parts of it.
//
//   used = overhead + dataset        overhead = startup + clients + replicas + backlog + tables +
//                                               waiting for the disk + changes + scripts +
//                                               functions
//
// Cost: a walk over the sessions and one refresh of the allocator's statistics.
#pragma once

#include <vector>

#include "base/allocator.h"
#include "store/store.h"

namespace quoll::server {

class Server;

struct DatabaseMemory {
  store::DbIndex db;
  uint64_t keys;
  uint64_t expires;
  size_t table_bytes;  // estimated: kTableBytesPerKey
  size_t wheel_bytes;  // estimated: kWheelBytesPerKey
};

struct MemoryOverview {
  size_t used;
  size_t peak;
  size_t startup;
  size_t clients;    // sessions and buffers, replicas not counted
  size_t replicas;   // sessions and buffers of replicas
  size_t backlog;    // of replication
  size_t tables;     // of all databases
  size_t scripts;    // EVAL's VM and texts
  size_t functions;  // the libraries' VM and codes
  size_t unwritten;  // waits for the disk
  size_t changes;    // window of the change stream
  size_t overhead;
  size_t dataset;  // used - overhead
  size_t resident;
  uint64_t keys;
  base::AllocatorStats allocator;
  std::vector<DatabaseMemory> databases;  // those that hold keys

  double dataset_percent() const;
  double peak_percent() const;
  double bytes_per_key() const;
  // Ratios are 0 when the allocator reports nothing.
  double fragmentation_ratio() const;  // pages in use / bytes in use, inside the allocator
  int64_t fragmentation_bytes() const;
  double allocator_rss_ratio() const;  // pages held / pages in use
  int64_t allocator_rss_bytes() const;
  double rss_overhead_ratio() const;  // resident set / pages held by the allocator
  int64_t rss_overhead_bytes() const;
  double resident_ratio() const;  // resident set / used
  int64_t resident_excess() const;
};

MemoryOverview memory_overview(Server& server);

// Table bytes that one key costs on average over a doubling, and wheel bytes of a key that expires
// (base/hash_table.h, base/timing_wheel.h).
constexpr double kTableBytesPerKey = 12.5;
constexpr double kWheelBytesPerKey = 8.5;

// What the key costs in all: MEMORY USAGE. Large collections are estimated from `samples` elements,
// 0: all are counted.
size_t key_footprint(const store::Entry& entry, size_t samples);

}  // namespace quoll::server
