#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace quoll::base {

void check_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "=== ASSERTION FAILED ===\n==> %s:%d '%s' is not true\n", file, line,
               expression);
  std::fflush(stderr);
  std::abort();
}

}  // namespace quoll::base
