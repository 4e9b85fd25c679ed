// CRC16 of the cluster's key slots: CRC-16/XMODEM (polynomial 0x1021, start 0, not reflected), as
// published in the Redis cluster specification, which also defines the hash tag: when the key holds
// '{' and a later '}' with at least one byte between, only those bytes are hashed.
//
// Cost: eight bytes are taken at once, by tables of 4 KiB (Kounavis and Berry 2005).
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace quoll::base {

constexpr unsigned kKeySlots = 16384;

uint16_t crc16(Bytes bytes);
Bytes hash_tag(Bytes key);
inline unsigned key_slot(Bytes key) { return crc16(hash_tag(key)) % kKeySlots; }

}  // namespace quoll::base
