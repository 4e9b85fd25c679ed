#include "base/glob.h"

#include <doctest/doctest.h>

#include <string>

using namespace quoll::base;

namespace {

struct Row {
  Bytes pattern;
  Bytes text;
  bool matches;
};

}  // namespace

TEST_CASE("glob: plain elements") {
  for (auto& [pattern, text, matches] : {
           Row{"", "", true},
           Row{"", "a", false},
           Row{"a", "", false},
           Row{"*", "", false},
           Row{"**", "", false},
           Row{"*", "a", true},
           Row{"***", "a", true},
           Row{"hello", "hello", true},
           Row{"hello", "hell", false},
           Row{"hell", "hello", false},
           Row{"h?llo", "hallo", true},
           Row{"h?llo", "hllo", false},
           Row{"?", "ab", false},
           Row{"h*llo", "hllo", true},
           Row{"h*llo", "heeeello", true},
           Row{"*o", "hello", true},
           Row{"h*", "hello", true},
           Row{"h*l*o", "hello", true},
           Row{"h*x*o", "hello", false},
           Row{"*a*b", "aXbXb", true},
           Row{"a**", "a", true},
           Row{"a**b", "ab", true},
           Row{"*ab", "aab", true},
           Row{"*?", "a", true},
           Row{"*??", "a", false},
           Row{"user:*:name", "user:12:name", true},
           Row{"user:*:name", "user:12:names", false},
       }) {
    CAPTURE(pattern);
    CAPTURE(text);
    CHECK(glob_match(pattern, text) == matches);
  }
}

TEST_CASE("glob: classes and escapes") {
  for (auto& [pattern, text, matches] : {
           Row{"h[ae]llo", "hallo", true},
           Row{"h[ae]llo", "hillo", false},
           Row{"h[^e]llo", "hallo", true},
           Row{"h[^e]llo", "hello", false},
           Row{"[a-c]", "b", true},
           Row{"[c-a]", "b", true},
           Row{"[a-c]", "d", false},
           Row{"[^a-c]x", "dx", true},
           Row{"[]", "a", false},
           Row{"[]", "]", false},
           Row{"[^]", "a", true},
           Row{"[a", "a", true},
           Row{"[a", "b", false},
           Row{"[^", "q", true},
           Row{"[", "[", false},
           Row{"[a-", "-", true},
           Row{"[a-]", "]", true},
           Row{"[a-]x", "]x", false},
           Row{"[\\]]", "]", true},
           Row{"[\\^]", "^", true},
           Row{"[a\\-z]", "-", true},
           Row{"[a\\-z]", "b", false},
           Row{"[\\", "\\", true},
           Row{"\\*", "*", true},
           Row{"\\*", "a", false},
           Row{"a\\", "a\\", true},
           Row{"\\\\", "\\", true},
           Row{"\\[a]", "[a]", true},
           Row{"*[0-9]", "key7", true},
           Row{"*[0-9]", "key", false},
           Row{"[*]", "*", true},
           Row{"[?]", "a", false},
           Row{"[\x80-\xff]", "\x90", true},
           Row{"[a-\xff]", "b", false},  // signed bytes
       }) {
    CAPTURE(pattern);
    CAPTURE(text);
    CHECK(glob_match(pattern, text) == matches);
  }
}

TEST_CASE("glob: case flag, NUL bytes") {
  CHECK_FALSE(glob_match("HeLLo", "hello"));
  CHECK(glob_match("HeL*", "hello", Case::ignored));
  CHECK(glob_match("[A-C]x", "bX", Case::ignored));
  CHECK(glob_match("[BD]", "d", Case::ignored));
  CHECK_FALSE(glob_match("[\\B]", "b", Case::ignored));
  CHECK(glob_match("\\B", "b", Case::ignored));
  CHECK(glob_match(Bytes("a?c", 3), Bytes("a\0c", 3)));
  CHECK(glob_match("a*c", Bytes("a\0\0c", 4)));
  CHECK_FALSE(glob_match("a", Bytes("a\0", 2)));
}

TEST_CASE("glob: many stars stay cheap") {
  std::string pattern;
  for (int i = 0; i < 500; ++i) pattern += "a*";
  std::string text(20'000, 'a');
  CHECK(glob_match(pattern, text));
  CHECK_FALSE(glob_match(pattern + "b", text));
}

TEST_CASE("glob_is_literal") {
  CHECK(glob_is_literal("user:1000"));
  CHECK(glob_is_literal("a]^-"));
  for (Bytes pattern : {"a*", "?", "[a]", "\\a"}) CHECK_FALSE(glob_is_literal(pattern));
}
