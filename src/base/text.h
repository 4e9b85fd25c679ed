// Small work on bytes as ASCII text: case, words with quotes, printable form, hexadecimal.
// Letters are ASCII only and independent of the locale.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"

namespace quoll::base {

constexpr char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }
constexpr char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c & ~0x20) : c; }
std::string to_lower(Bytes text);
std::string to_upper(Bytes text);
void lower_in_place(char* text, size_t size);

constexpr bool equals_ignoring_case(Bytes a, Bytes b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i] && to_lower(a[i]) != to_lower(b[i])) return false;
  }
  return true;
}

// Blank, tab, newline, carriage return, vertical tab, form feed.
constexpr bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
Bytes trimmed(Bytes text);

// Splits a line into words: inline commands and redis.conf. "..." knows \n \r \t \a \b \xHH and \c
// for any other c; '...' knows \' only. A closing quote must be followed by a blank or the end. The
// line ends at the first NUL. False: quotes do not match; `words` is then empty.
bool split_args(Bytes line, std::vector<std::string>& words);

// The bytes in double quotes with escapes, as split_args reads them back: MONITOR, logs, DEBUG.
std::string quoted(Bytes bytes);

// Lower-case hexadecimal, two digits per byte.
std::string to_hex(Bytes bytes);
std::string to_hex(uint64_t value);  // always 16 digits
// Both cases are read. False: odd length or a foreign byte.
bool from_hex(Bytes text, std::string& bytes);

}  // namespace quoll::base
