#include "base/crc32c.h"

#include <isa-l/crc.h>

namespace quoll::base {

uint32_t crc32c(Bytes bytes, uint32_t crc) {
  return crc32_iscsi(reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data())),
                     static_cast<int>(bytes.size()), crc);
}

}  // namespace quoll::base
