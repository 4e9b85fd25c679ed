#include "server/slot_stats.h"

#include <algorithm>

#include "base/crc16.h"

namespace quoll::server {
namespace {

constexpr uint64_t kLineEndBytes = 2;

// "*3\r\n", "$11\r\n"
uint64_t header_bytes(uint64_t number) {
  uint64_t digits = 1;
  for (; number >= 10; number /= 10) ++digits;
  return 1 + digits + kLineEndBytes;
}

}  // namespace

uint64_t request_bytes_of(base::Args line) {
  uint64_t bytes = header_bytes(line.size());
  for (const base::Bytes word : line)
    bytes += header_bytes(word.size()) + word.size() + kLineEndBytes;
  return bytes;
}

void SlotStats::set_active(bool on) {
  if (on == active()) return;
  slots_ = on ? std::vector<Slot>(base::kKeySlots) : std::vector<Slot>();
}

void SlotStats::record(unsigned slot, base::Nanos elapsed, base::Args line, uint64_t reply_bytes) {
  Slot& one = slots_[slot];
  one.nanos += elapsed;
  one.bytes_in += request_bytes_of(line);
  one.bytes_out += reply_bytes;
}

void SlotStats::forget(unsigned slot) {
  if (active()) slots_[slot] = {};
}

void SlotStats::reset() { std::ranges::fill(slots_, Slot{}); }

}  // namespace quoll::server
