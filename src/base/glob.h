// Glob patterns as KEYS, SCAN MATCH, PSUBSCRIBE, CONFIG GET and ACL use them:
//
//   *  any bytes     ?  one byte     [abc] [a-z] [^x]  one byte of a class     \x  x itself
//
// Odd corners follow Redis: a class without ']' ends with the pattern, ranges compare signed bytes
// and may be reversed, an escape inside a class ignores the case flag, the empty text matches only
// the empty pattern (callers treat the pattern "*" as "everything" before asking).
//
// Cost: at most |pattern| x |text| steps, no recursion: only the last '*' is ever retried, which is
// enough because every other element consumes exactly one byte.
#pragma once

#include "base/bytes.h"

namespace quoll::base {

enum class Case { exact, ignored };

bool glob_match(Bytes pattern, Bytes text, Case letters = Case::exact);

// True when the pattern has no special byte and so matches only itself.
bool glob_is_literal(Bytes pattern);

}  // namespace quoll::base
