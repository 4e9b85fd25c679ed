// Numbers as text, in exactly the forms Redis accepts and prints. Integers are on every hot path
// (INCR, lengths, replies): two digits per step, no allocation. All buffers belong to the caller.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"

namespace quoll::base {

constexpr size_t kIntTextMax = 21;     // "-9223372036854775808" and one to spare
constexpr size_t kDoubleTextMax = 32;  // sign, 17 digits, point, "e-308"

// Accepts the canonical form only: no '+', no leading zero, no "-0", no blanks, exact int64 range.
// So a text is accepted iff format_int() of its value gives the same bytes.
bool parse_int(Bytes text, int64_t& value);
// Same rules, 0 ... 2^64-1.
bool parse_uint(Bytes text, uint64_t& value);

// Writes the text without a terminating NUL and returns its length.
size_t format_int(int64_t value, char* out);
size_t format_uint(uint64_t value, char* out);
// The length format_int() will give.
size_t int_text_size(int64_t value);

// What strtod accepts over the whole text: decimal, hexadecimal ("0x1p3"), "inf", "+Infinity" in
// any case. Refused: empty, leading blank, NaN, overflow, underflow to zero.
bool parse_double(Bytes text, double& value);
// The same rules in 80-bit precision, for INCRBYFLOAT; at most kLongDoubleTextMax - 1 bytes.
bool parse_long_double(Bytes text, long double& value);
constexpr size_t kLongDoubleTextMax = 5 * 1024;  // Redis's bound, holds LDBL_MAX in full

// The form of scores and other doubles in replies: "%.17g", "inf", "-inf" (Redis 7.0).
size_t format_double(double value, char* out);
// The shortest text that reads back as the same double (Redis 7.2 and later, and JSON).
size_t format_double_shortest(double value, char* out);
// The form of INCRBYFLOAT: "%.17Lf" without trailing zeros, never "-0".
std::string format_long_double_human(long double value);

// Memory sizes of redis.conf: digits, then nothing, b, k, kb, m, mb, g or gb in any case; k is 1000
// and kb is 1024. Missing digits are 0, as in Redis; what exceeds 2^64-1 becomes 2^64-1.
bool parse_memory(Bytes text, uint64_t& bytes);
// "512B", "1.50K", "2.00G": the *_human fields of INFO.
std::string format_memory_human(uint64_t bytes);

}  // namespace quoll::base
