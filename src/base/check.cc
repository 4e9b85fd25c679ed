#include "base/check.h"

#include <cstdio>
#include <cstdlib>

#include "base/failure.h"

namespace quoll::base {
namespace {

constexpr size_t kLineMax = 1024;  // bytes

FailureSink sink = nullptr;

}  // namespace

void set_failure_sink(FailureSink fresh) { sink = fresh; }

void tell_failure(const char* line) {
  if (sink) return sink(line);
  std::fprintf(stderr, "%s\n", line);
  std::fflush(stderr);
}

void check_failed(const char* expression, const char* file, int line) {
  char text[kLineMax];
  tell_failure("=== ASSERTION FAILED ===");
  std::snprintf(text, sizeof text, "==> %s:%d '%s' is not true", file, line, expression);
  tell_failure(text);
  std::abort();
}

}  // namespace quoll::base
