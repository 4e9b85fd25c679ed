#include "server/change_index.h"

#include <doctest/doctest.h>

namespace quoll::server {
namespace {

TEST_CASE("the last place before a position is found") {
  ChangeIndex index;
  CHECK(index.find({5, 1}) == nullptr);
  index.add({{5, 100}, 7, 0, 0});
  index.add({{5, 200}, 7, kChangePlaceStep / 2, 0});  // too near
  index.add({{5, 300}, 7, kChangePlaceStep, 3});
  index.add({{6, 10}, 8, 0, 0});
  CHECK(index.size() == 3);
  CHECK(index.find({5, 99}) == nullptr);
  CHECK(index.find({5, 100})->offset == 0);
  CHECK(index.find({5, 299})->offset == 0);
  CHECK(index.find({5, 300})->database == 3);
  CHECK(index.find({6, 9})->increment == 7);
  CHECK(index.find({9, 0})->increment == 8);
}

TEST_CASE("files that go take their places with them") {
  ChangeIndex index;
  index.add({{5, 100}, 7, 0, 0});
  index.add({{5, 300}, 7, kChangePlaceStep, 0});
  index.add({{5, 500}, 8, 0, 0});
  index.keep_from(8);
  CHECK(index.first().after == persist::ChangePosition{5, 500});
  CHECK(index.find({5, 400}) == nullptr);
  index.keep_from(9);
  CHECK(index.empty());
}

TEST_CASE("what a repair wrote again replaces what it was") {
  ChangeIndex index;
  index.add({{5, 100}, 7, 0, 0});
  index.add({{5, 300}, 7, kChangePlaceStep, 0});
  index.add({{5, 500}, 7, 2 * kChangePlaceStep, 0});
  index.add({{5, 300}, 8, 0, 0});
  CHECK(index.find({5, 600})->increment == 8);
  CHECK(index.find({5, 300})->increment == 8);
  CHECK(index.find({5, 299})->increment == 7);
  CHECK(index.size() == 2);
}

TEST_CASE("places are bounded, and each file keeps its first") {
  ChangeIndex index;
  store::Seq seq = 0;
  for (int64_t increment = 1; increment <= 3; ++increment)
    for (uint64_t i = 0; i < 2 * kChangePlacesMax; ++i)
      index.add({{5, seq++}, increment, i * kChangePlaceStep, 0});
  CHECK(index.size() <= kChangePlacesMax);
  CHECK(index.size() > kChangePlacesMax / 4);
  for (int64_t increment = 1; increment <= 3; ++increment) {
    index.keep_from(increment);
    CHECK(index.first().increment == increment);
    CHECK(index.first().offset == 0);
  }
}

}  // namespace
}  // namespace quoll::server
