#include "base/crc32c.h"

#include <immintrin.h>
#include <isa-l/crc.h>

#include <cstring>

#include "base/vector_state.h"

namespace quoll::base {
namespace {

constexpr size_t kShort = 192;  // bytes: from there on ISA-L is faster

[[gnu::target("sse4.2")]] uint32_t crc_of_short(Bytes bytes, uint32_t crc) {
  uint64_t wide = crc;
  const char* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= sizeof wide; left -= sizeof wide, at += sizeof wide) {
    uint64_t word;
    std::memcpy(&word, at, sizeof word);
    wide = _mm_crc32_u64(wide, word);
  }
  auto narrow = static_cast<uint32_t>(wide);
  for (; left > 0; --left, ++at) narrow = _mm_crc32_u8(narrow, static_cast<unsigned char>(*at));
  return narrow;
}

}  // namespace

uint32_t crc32c(Bytes bytes, uint32_t crc) {
  if (bytes.size() < kShort && __builtin_cpu_supports("sse4.2")) return crc_of_short(bytes, crc);
  const uint32_t result =
      crc32_iscsi(reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data())),
                  static_cast<int>(bytes.size()), crc);
  clear_upper_halves();
  return result;
}

}  // namespace quoll::base
