#include "base/bytes.h"

#include <doctest/doctest.h>

#include <string>

using quoll::base::copy_short;
using quoll::base::equal_short;

TEST_CASE("equal_short sees every byte of every length") {
  for (size_t size = 0; size <= 40; ++size) {
    std::string text(size, 'a');
    CHECK(equal_short(text, std::string(size, 'a')));
    CHECK_FALSE(equal_short(text, text + 'a'));
    for (size_t i = 0; i < size; ++i) {
      std::string other = text;
      other[i] = 'b';
      CHECK_FALSE(equal_short(text, other));
    }
  }
}

TEST_CASE("short bytes are copied whole, and nothing beside them") {
  std::string from;
  for (int i = 0; i < 40; ++i) from += static_cast<char>('A' + i);
  for (size_t size = 0; size <= from.size(); ++size) {
    CAPTURE(size);
    std::string to(size + 2, '.');
    copy_short(to.data() + 1, quoll::base::Bytes(from).substr(0, size));
    CHECK(to == "." + from.substr(0, size) + ".");
  }
  char untouched = '.';
  copy_short(&untouched, {});
  CHECK(untouched == '.');
}
