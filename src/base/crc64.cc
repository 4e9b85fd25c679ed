#include "base/crc64.h"

#include <isa-l/crc64.h>

#include "base/vector_state.h"

namespace quoll::base {

// ISA-L inverts the register before and after; RDB does neither, so both are undone here.
uint64_t crc64(Bytes bytes, uint64_t crc) {
  if (bytes.empty()) return crc;
  const uint64_t result =
      ~crc64_jones_refl(~crc, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  clear_upper_halves();
  return result;
}

}  // namespace quoll::base
