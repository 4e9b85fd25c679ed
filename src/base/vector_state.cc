#include "base/vector_state.h"

#include <immintrin.h>

namespace quoll::base {
namespace {

[[gnu::target("avx")]] void clear() { _mm256_zeroupper(); }

}  // namespace

void clear_upper_halves() {
  if (__builtin_cpu_supports("avx")) clear();
}

}  // namespace quoll::base
