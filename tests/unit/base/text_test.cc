#include "base/text.h"

#include <doctest/doctest.h>

using namespace quoll::base;

namespace {

std::vector<std::string> words_of(Bytes line) {
  std::vector<std::string> words;
  CHECK(split_args(line, words));
  return words;
}
using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("text: case") {
  CHECK(equals_ignoring_case("GeT", "gEt"));
  CHECK_FALSE(equals_ignoring_case("get", "gets"));
  CHECK_FALSE(equals_ignoring_case("@", "`"));
  CHECK_FALSE(equals_ignoring_case("[", "{"));
  CHECK(to_lower("AZaz09[\xc4") == "azaz09[\xc4");
  CHECK(to_upper("AZaz09{\xe4") == "AZAZ09{\xe4");
  CHECK(trimmed(" \t a b\r\n") == "a b");
  CHECK(trimmed("  ") == "");
}

TEST_CASE("text: split_args") {
  CHECK(words_of("") == Words{});
  CHECK(words_of(" \t\v ") == Words{});
  CHECK(words_of("  set a  b\r\n") == Words{"set", "a", "b"});
  CHECK(words_of("set \"a b\" 'c d'") == Words{"set", "a b", "c d"});
  CHECK(words_of("\"\" ''") == Words{"", ""});
  CHECK(words_of(R"("\x41\x0a\n\r\t\a\b\"\\\q\x4g")") == Words{"A\n\n\r\t\a\b\"\\qx4g"});
  CHECK(words_of(R"('it\'s \n')") == Words{"it's \\n"});
  CHECK(words_of("foo\"bar\" baz'x y'") == Words{"foobar", "bazx y"});
  CHECK(words_of("a\vb") == Words{"a\vb"});  // a vertical tab separates only between words
  CHECK(words_of("\"a\"\vb") == Words{"a", "b"});
  CHECK(words_of(Bytes("a b\0c d", 7)) == Words{"a", "b"});
  CHECK(words_of(R"("\x00")")[0] == std::string(1, '\0'));
  Words words{"old"};
  for (Bytes bad :
       {"\"abc", "'abc", "\"a\"b", "'a'b", "\"abc\\", "x \"", "set a \"b\"c", "\"\\\""}) {
    CAPTURE(bad);
    CHECK_FALSE(split_args(bad, words));
    CHECK(words.empty());
  }
}

TEST_CASE("text: quoted reads back through split_args") {
  CHECK(quoted("a\"b\\\n\r\t\a\b\x01\x7f\xff~") == R"("a\"b\\\n\r\t\a\b\x01\x7f\xff~")");
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  CHECK(words_of(quoted(all)) == Words{all});
}

TEST_CASE("text: hexadecimal") {
  CHECK(to_hex(Bytes("\x00\xff\x1a", 3)) == "00ff1a");
  CHECK(to_hex(uint64_t{0xbeef}) == "000000000000beef");
  std::string bytes;
  CHECK(from_hex("00FF1a", bytes));
  CHECK(bytes == std::string("\x00\xff\x1a", 3));
  CHECK_FALSE(from_hex("abc", bytes));
  CHECK_FALSE(from_hex("0g", bytes));
}
