#include "base/vector_state.h"

#include <cpuid.h>
#include <doctest/doctest.h>
#include <immintrin.h>

#include <string>

#include "base/crc32c.h"
#include "base/crc64.h"

namespace quoll::base {
namespace {

bool processor_tells() {
  constexpr unsigned kExtendedState = 0xd, kTellsWhatIsInUse = 1u << 2;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(kExtendedState, 1, &a, &b, &c, &d) && (a & kTellsWhatIsInUse);
}

[[gnu::target("xsave")]] bool upper_halves_in_use() {
  constexpr unsigned long long kUpperHalves = 1u << 2;
  return _xgetbv(1) & kUpperHalves;
}

// Not as code for AVX: the compiler would clear them itself.
void use_upper_halves() {
  asm volatile("vpcmpeqd %%xmm1, %%xmm1, %%xmm1; vinsertf128 $1, %%xmm1, %%ymm1, %%ymm1" ::
                   : "xmm1");
}

}  // namespace

TEST_CASE("vector state: checksums leave no upper halves in use") {
  if (!processor_tells() || !__builtin_cpu_supports("avx")) return;
  use_upper_halves();
  const bool used = upper_halves_in_use();
  clear_upper_halves();
  CHECK(used);
  CHECK(!upper_halves_in_use());
  const std::string bytes(10'000, 'x');  // enough for the widest registers
  bool in_use = false;
  volatile uint64_t sum = crc32c(bytes);
  in_use |= upper_halves_in_use();
  sum = sum + crc64(bytes);
  in_use |= upper_halves_in_use();
  CHECK(!in_use);
}

}  // namespace quoll::base
