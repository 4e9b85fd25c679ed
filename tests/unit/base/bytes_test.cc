#include "base/bytes.h"

#include <doctest/doctest.h>

#include <string>

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
