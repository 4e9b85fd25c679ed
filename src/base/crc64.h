// CRC64 of RDB files and DUMP payloads: the "Jones" polynomial 0xad93d23594c935a9, reflected, start
// 0, no final inversion ("123456789" gives 0xe9c6d914c4b8d9ca; Redis's published test vector).
// Cost: about 0.15 ns per byte with carry-less multiplication (ISA-L picks the best code).
#pragma once

#include "base/bytes.h"

namespace quoll::base {

// Incremental: crc64(b, crc64(a)) == crc64(a followed by b).
uint64_t crc64(Bytes bytes, uint64_t crc = 0);

}  // namespace quoll::base
