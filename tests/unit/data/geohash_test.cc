#include "data/geohash.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

using namespace quoll;
using data::GeoArea;
using data::GeoPosition;

namespace {

double uniform(std::mt19937_64& random, double low, double high) {
  return low + (high - low) * std::ldexp(static_cast<double>(random() >> 11), -53);
}

std::string text_of(const GeoPosition& position) {
  char text[data::kGeohashTextBytes];
  data::geohash_text(position, text);
  return std::string(text, sizeof text);
}

bool covered(const GeoArea::Cells& cells, uint64_t score) {
  return std::any_of(
      cells.cells.begin(), cells.cells.begin() + static_cast<long>(cells.count),
      [&](const GeoArea::Cell& cell) { return score >= cell.low && score < cell.high; });
}

}  // namespace

TEST_CASE("geohash: what redis-server says of known places") {
  GeoPosition palermo{13.361389, 38.115556};
  GeoPosition catania{15.087269, 37.502669};
  CHECK(data::geo_encode(palermo) == 3479099956230698);
  CHECK(data::geo_encode(catania) == 3479447370796909);
  GeoPosition back = data::geo_decode(3479099956230698);
  CHECK(text_of(back) == "sqc8b49rny0");
  CHECK(text_of(data::geo_decode(3479447370796909)) == "sqdtr74hyu0");
  CHECK(std::abs(data::geo_distance_m(palermo, catania) - 166274.15) < 1);
}

TEST_CASE("geohash: positions survive within a cell") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 10000; ++i) {
    GeoPosition position{uniform(random, -180, 180),
                         uniform(random, -data::kLatitudeMax, data::kLatitudeMax)};
    uint64_t score = data::geo_encode(position);
    CHECK(score < uint64_t{1} << 52);
    GeoPosition back = data::geo_decode(static_cast<double>(score));
    CHECK(std::abs(back.longitude - position.longitude) < 360.0 / (1 << 26));
    CHECK(std::abs(back.latitude - position.latitude) < 180.0 / (1 << 26));
    CHECK(data::geo_encode(back) == score);
  }
  for (double odd : {-1.0, 1e300, -1e300, HUGE_VAL, -HUGE_VAL, 0.5, 9007199254740993.0}) {
    CHECK(data::geo_decode(odd).valid());
  }
}

TEST_CASE("geohash: the cells of an area hold all of it, away from the map's edges") {
  std::mt19937_64 random(2);
  int inside = 0;
  for (int i = 0; i < 3000; ++i) {
    GeoArea area;
    area.centre = {uniform(random, -90, 90), uniform(random, -60, 60)};
    double size = std::exp(uniform(random, std::log(1), std::log(1e6)));
    area.is_box = i % 2 == 0;
    area.radius_m = size;
    area.width_m = size * uniform(random, 0.1, 2);
    area.height_m = size * uniform(random, 0.1, 2);
    GeoArea::Cells cells = area.cover();
    REQUIRE(cells.count >= 1);
    for (int j = 0; j < 50; ++j) {
      double reach = size / 100000;  // degrees, generously
      GeoPosition position{area.centre.longitude + uniform(random, -reach, reach),
                           area.centre.latitude + uniform(random, -reach, reach)};
      if (!position.valid()) continue;
      uint64_t score = data::geo_encode(position);
      double distance;
      if (!area.contains(data::geo_decode(static_cast<double>(score)), distance)) continue;
      ++inside;
      CHECK(covered(cells, score));
    }
  }
  CHECK(inside > 10000);
}

TEST_CASE("geohash: an area of no size is its own cell") {
  GeoArea area;
  area.centre = data::geo_decode(3479099956230698);
  area.radius_m = 0;
  double distance = -1;
  CHECK(area.contains(area.centre, distance));
  CHECK(distance == 0);
  CHECK(covered(area.cover(), 3479099956230698));
  CHECK_FALSE(area.contains({area.centre.longitude + 0.001, area.centre.latitude}, distance));
}
