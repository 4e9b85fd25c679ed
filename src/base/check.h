// Assertions on invariants. QUOLL_CHECK stays on in release builds: it guards what would
// otherwise corrupt data. QUOLL_DCHECK is for checks too costly on hot paths.
#pragma once

namespace quoll::base {

// Prints the failed expression with its place on standard error and aborts.
[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace quoll::base

#define QUOLL_CHECK(expression)                       \
  (__builtin_expect(static_cast<bool>(expression), 1) \
       ? (void)0                                      \
       : ::quoll::base::check_failed(#expression, __FILE__, __LINE__))

#ifdef QUOLL_DEBUG
#define QUOLL_DCHECK(expression) QUOLL_CHECK(expression)
#else
#define QUOLL_DCHECK(expression) ((void)0)
#endif
