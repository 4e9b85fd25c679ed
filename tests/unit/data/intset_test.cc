#include "data/intset.h"

#include <doctest/doctest.h>

#include <limits>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/text.h"

using namespace quoll;
using namespace quoll::data;

namespace {

std::string hex_of(const std::vector<int64_t>& members) {
  Intset set;
  for (int64_t member : members) CHECK(set.insert(member));
  return base::to_hex(set.bytes());
}
bool valid_intset(base::Bytes hex) {
  std::string bytes;
  REQUIRE(base::from_hex(hex, bytes));
  std::unique_ptr<char[]> exact(new char[bytes.size() + (bytes.empty() ? 1 : 0)]);
  bytes.copy(exact.get(), bytes.size());
  return IntsetView::validate({exact.get(), bytes.size()});
}

}  // namespace

TEST_CASE("intset: the bytes of redis-server") {
  CHECK(hex_of({3, -1, 32767}) == "0200000003000000ffff0300ff7f");
  CHECK(hex_of({3, -1, 32768}) == "0400000003000000ffffffff0300000000800000");
  CHECK(hex_of({3, -1, int64_t{1} << 31, std::numeric_limits<int64_t>::min()}) ==
        "08000000040000000000000000000080ffffffffffffffff03000000000000000000008000000000");
}

TEST_CASE("intset: edits agree with a plain set, memory with the count") {
  std::mt19937_64 random(4);
  for (unsigned bits : {7U, 14U, 17U, 31U, 40U, 64U}) {
    size_t used = base::memory_used();
    {
      Intset set;
      std::set<int64_t> model;
      unsigned width = 2;
      for (int step = 0; step < 2000; ++step) {
        auto member = static_cast<int64_t>(random()) >> (64 - bits);
        if (step % 100 == 0) member >>= bits / 2;
        if (random() % 3) {
          REQUIRE(set.insert(member) == model.insert(member).second);
          if (member != static_cast<int16_t>(member)) width = std::max(width, 4U);
          if (member != static_cast<int32_t>(member)) width = 8;
        } else {
          REQUIRE(set.erase(member) == (model.erase(member) == 1));
        }
        REQUIRE(set.count() == model.size());
        REQUIRE(set.view().width() == width);
        REQUIRE(set.contains(member) == model.contains(member));
        if (step % 50 == 0 && !model.empty()) {
          REQUIRE(IntsetView::validate(set.bytes()));
          size_t index = 0;
          for (int64_t expected : model) REQUIRE(set.at(index++) == expected);
        }
      }
      CHECK(base::memory_used() >= used + set.footprint());
      Intset copy = Intset::copy_of(set.bytes());
      CHECK(copy.bytes() == set.bytes());
      Intset again = Intset::adopt(copy.detach());
      CHECK(again.bytes() == set.bytes());
    }
    CHECK(base::memory_used() == used);
  }
}

TEST_CASE("intset: foreign bytes") {
  CHECK(valid_intset("0200000001000000ffff"));
  CHECK_FALSE(valid_intset(""));
  CHECK_FALSE(valid_intset("02000000000000"));
  CHECK_FALSE(valid_intset("0200000000000000"));          // empty
  CHECK_FALSE(valid_intset("0300000001000000ffffff"));    // width
  CHECK_FALSE(valid_intset("00000000ffffffff"));          // width 0
  CHECK_FALSE(valid_intset("0200000002000000ffff"));      // short
  CHECK_FALSE(valid_intset("0200000001000000ffff00"));    // long
  CHECK_FALSE(valid_intset("08000000ffffffffffff"));      // count
  CHECK_FALSE(valid_intset("0200000002000000ffffffff"));  // twice
  CHECK_FALSE(valid_intset("02000000020000000100ffff"));  // descending
  CHECK(valid_intset("0200000002000000ffff0100"));
}

TEST_CASE("intset: an empty one") {
  Intset set;
  CHECK(set.count() == 0);
  CHECK(set.footprint() == 0);
  CHECK_FALSE(set.erase(1));
  CHECK_FALSE(set.contains(0));
  CHECK(set.insert(70000));
  CHECK(set.erase(70000));
  CHECK(set.count() == 0);
  CHECK(set.view().width() == 4);  // never narrows
}
