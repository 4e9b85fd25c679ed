// Positions on earth as scores of a sorted set: 52 bits, 26 of the latitude and 26 of the longitude
// interleaved (latitude in the even bits), so that near positions have near scores. Pure.
//
// Formats and constants are Redis's: latitudes to +-85.05112878 (the square of Web Mercator), a
// sphere of 6372797.560856 m, distances by the haversine formula. The cell geometry follows the
// published description of geohash-int (yinqiwen, 2013), which Redis uses.
//
// A cell is a rectangle named by the first 2 x step bits; its members are one range of scores. An
// area is covered by the cell of its centre and those of its eight neighbours that are not
// needless.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace quoll::data {

constexpr double kLongitudeMax = 180;
constexpr double kLatitudeMax = 85.05112878;
constexpr unsigned kGeoStepMax = 26;  // bits of one coordinate
constexpr size_t kGeohashTextBytes = 11;

struct GeoPosition {
  double longitude = 0;
  double latitude = 0;
  bool valid() const {
    return longitude >= -kLongitudeMax && longitude <= kLongitudeMax && latitude >= -kLatitudeMax &&
           latitude <= kLatitudeMax;
  }
};

uint64_t geo_encode(const GeoPosition& position);  // must be valid
// The centre of the cell that a score names. Scores that are no position yield some position.
GeoPosition geo_decode(double score);
double geo_distance_m(const GeoPosition& from, const GeoPosition& to);
// The standard text form, whose latitudes go to +-90; the last letter is always 0.
void geohash_text(const GeoPosition& position, char (&text)[kGeohashTextBytes]);

// A circle, or a box whose sides lie along meridians and parallels.
struct GeoArea {
  GeoPosition centre;
  bool is_box = false;
  double radius_m = 0;
  double width_m = 0;
  double height_m = 0;

  // Whether the position lies inside; if so, how far from the centre.
  bool contains(const GeoPosition& position, double& distance_m) const;

  // The scores of one cell: from `low` to below `high`.
  struct Cell {
    uint64_t low;
    uint64_t high;
  };
  struct Cells {
    std::array<Cell, 9> cells;
    size_t count = 0;
  };
  // In the order centre, N, S, E, W, NE, NW, SE, SW.
  Cells cover() const;

 private:
  struct Bounds {
    GeoPosition low, high;
  };
  Bounds bounds() const;
};

}  // namespace quoll::data
