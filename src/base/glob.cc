#include "base/glob.h"

#include <utility>

namespace quoll::base {

namespace {

int fold(int c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; }

bool same(char a, char b, Case letters) {
  return a == b || (letters == Case::ignored && fold(a) == fold(b));
}

bool in_range(char from, char to, char c, Case letters) {
  int start = from;
  int end = to;
  int value = c;
  if (start > end) std::swap(start, end);
  if (letters == Case::ignored) {
    start = fold(start);
    end = fold(end);
    value = fold(value);
  }
  return value >= start && value <= end;
}

// `at` stands behind '['; on return it stands behind the class.
bool class_match(Bytes pattern, size_t& at, char c, Case letters) {
  bool negated = at < pattern.size() && pattern[at] == '^';
  if (negated) ++at;
  bool found = false;
  for (; at < pattern.size() && pattern[at] != ']'; ++at) {
    size_t left = pattern.size() - at;
    if (pattern[at] == '\\' && left >= 2) {
      ++at;
      found |= pattern[at] == c;
    } else if (left >= 3 && pattern[at + 1] == '-') {
      found |= in_range(pattern[at], pattern[at + 2], c, letters);
      at += 2;
    } else {
      found |= same(pattern[at], c, letters);
    }
  }
  if (at < pattern.size()) ++at;  // the ']'
  return found != negated;
}

// Matches one byte against the element at `at` (not '*') and steps behind the element.
bool element_match(Bytes pattern, size_t& at, char c, Case letters) {
  switch (pattern[at++]) {
    case '?':
      return true;
    case '[':
      return class_match(pattern, at, c, letters);
    case '\\':
      if (at < pattern.size()) ++at;
      [[fallthrough]];
    default:
      return same(pattern[at - 1], c, letters);
  }
}

}  // namespace

bool glob_match(Bytes pattern, Bytes text, Case letters) {
  if (text.empty()) return pattern.empty();
  constexpr size_t kNone = SIZE_MAX;
  size_t p = 0;
  size_t t = 0;
  size_t star = kNone;   // behind the last '*' seen
  size_t star_text = 0;  // where its match of the text ends at present
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = ++p;
      star_text = t;
      if (star == pattern.size()) return true;
      continue;
    }
    if (p < pattern.size() && element_match(pattern, p, text[t], letters)) {
      ++t;
      continue;
    }
    if (star == kNone) return false;
    p = star;
    t = ++star_text;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool glob_is_literal(Bytes pattern) { return pattern.find_first_of("*?[\\") == Bytes::npos; }

}  // namespace quoll::base
