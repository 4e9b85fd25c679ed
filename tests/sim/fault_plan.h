// FaultPlan: what may go wrong in a simulated world, and how often. Read from text, so that a
// failure names its plan on one line: comma-separated named plans and `knob=number` settings,
// applied from left to right: "choppy,disk", "calm,reset_ppm=500,drift_ppm=200".
//
// Chances are per million (ppm) of the event in question. 0 = never.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quoll::sim {

struct FaultPlan {
  // Streams.
  int64_t latency_min_us = 50;
  int64_t latency_max_us = 50;
  int64_t chunk_bytes_max = 0;        // largest piece delivered at once; 0 = all that is in flight
  int64_t window_bytes = 256 * 1024;  // in flight and unread per direction
  int64_t short_send_ppm = 0;         // send() takes less than the window allows
  int64_t reset_ppm = 0;              // per delivered piece: the connection breaks
  int64_t clog_ppm = 0;               // per delivered piece: the link stands still for a while
  int64_t clog_max_ms = 0;
  // Datagrams.
  int64_t datagram_loss_ppm = 0;
  int64_t datagram_copy_ppm = 0;
  int64_t datagram_delay_max_us = 0;  // beside the latency; unequal delays reorder
  // One-way partitions between nodes (clients are spared).
  int64_t partition_every_ms = 0;
  int64_t partition_max_ms = 0;
  // Disk.
  int64_t disk_latency_min_us = 20;
  int64_t disk_latency_max_us = 20;
  int64_t slow_disk_ppm = 0;  // per request: up to slow_disk_max_ms more
  int64_t slow_disk_max_ms = 0;
  int64_t failed_append_ppm = 0;
  int64_t failed_sync_ppm = 0;
  int64_t flipped_bit_ppm = 0;  // per read
  int64_t disk_bytes_max = 0;   // capacity; 0 = unlimited
  int64_t torn_writes = 1;      // a crash may keep a part of the first append it loses
  // Clocks of the nodes.
  int64_t drift_ppm = 0;
  int64_t clock_jump_every_ms = 0;
  int64_t clock_jump_max_ms = 0;  // forward or back
  // Crashes of nodes, with loss of what was not synced, and restarts.
  int64_t crash_every_ms = 0;
  int64_t down_max_ms = 0;

  static base::Result<FaultPlan> parse(std::string_view text);
  static std::vector<std::string_view> names();
};

}  // namespace quoll::sim
