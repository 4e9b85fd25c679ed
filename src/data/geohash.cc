#include "data/geohash.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace quoll::data {

namespace {

constexpr double kEarthRadius_m = 6372797.560856;
constexpr double kMercatorMax_m = 20037726.37;  // half the equator, on the map
constexpr double kRadiansPerDegree = std::numbers::pi / 180;

double radians(double degrees) { return degrees * kRadiansPerDegree; }
double degrees(double radians) { return radians / kRadiansPerDegree; }

// Spreads the low 32 bits to the even bits, and back ("Bit Twiddling Hacks", S. E. Anderson).
uint64_t spread(uint64_t bits) {
  bits = (bits | bits << 16) & 0x0000FFFF0000FFFF;
  bits = (bits | bits << 8) & 0x00FF00FF00FF00FF;
  bits = (bits | bits << 4) & 0x0F0F0F0F0F0F0F0F;
  bits = (bits | bits << 2) & 0x3333333333333333;
  return (bits | bits << 1) & 0x5555555555555555;
}

uint64_t gather(uint64_t bits) {
  bits &= 0x5555555555555555;
  bits = (bits | bits >> 1) & 0x3333333333333333;
  bits = (bits | bits >> 2) & 0x0F0F0F0F0F0F0F0F;
  bits = (bits | bits >> 4) & 0x00FF00FF00FF00FF;
  bits = (bits | bits >> 8) & 0x0000FFFF0000FFFF;
  return (bits | bits >> 16) & 0x00000000FFFFFFFF;
}

// A cell of a grid of 2^step columns and rows. Off one edge is on at the other.
struct GridCell {
  uint64_t column;
  uint64_t row;
  unsigned step;

  static GridCell of(const GeoPosition& position, unsigned step, double latitude_max) {
    auto cells = static_cast<double>(uint64_t{1} << step);
    double across = (position.longitude + kLongitudeMax) / (2 * kLongitudeMax);
    double up = (position.latitude + latitude_max) / (2 * latitude_max);
    return {static_cast<uint32_t>(across * cells), static_cast<uint32_t>(up * cells), step};
  }
  static GridCell of(uint64_t bits) { return {gather(bits >> 1), gather(bits), kGeoStepMax}; }

  uint64_t bits() const { return spread(row) | spread(column) << 1; }
  GridCell beside(int east, int north) const {
    uint64_t mask = (uint64_t{1} << step) - 1;
    return {(column + static_cast<uint64_t>(east)) & mask,
            (row + static_cast<uint64_t>(north)) & mask, step};
  }
  bool operator==(const GridCell&) const = default;

  double west() const { return longitude(column); }
  double east() const { return longitude(column + 1); }
  double south() const { return latitude(row); }
  double north() const { return latitude(row + 1); }
  GeoArea::Cell scores() const {
    unsigned shift = 2 * (kGeoStepMax - step);
    return {bits() << shift, (bits() + 1) << shift};
  }

 private:
  double share(uint64_t of) const {
    return static_cast<double>(of) / static_cast<double>(uint64_t{1} << step);
  }
  double longitude(uint64_t at) const { return -kLongitudeMax + share(at) * (2 * kLongitudeMax); }
  double latitude(uint64_t at) const { return -kLatitudeMax + share(at) * (2 * kLatitudeMax); }
};

// The step at which a cell and its neighbours are sure to cover the radius, but near the poles.
unsigned step_for(double radius_m, double latitude) {
  if (radius_m == 0) return kGeoStepMax;
  int step = 1;
  for (; radius_m < kMercatorMax_m; radius_m *= 2) ++step;
  step -= 2;
  if (std::abs(latitude) > 66) --step;
  if (std::abs(latitude) > 80) --step;
  return static_cast<unsigned>(std::clamp(step, 1, static_cast<int>(kGeoStepMax)));
}

double latitude_distance_m(double from, double to) {
  return kEarthRadius_m * std::abs(radians(to) - radians(from));
}

}  // namespace

uint64_t geo_encode(const GeoPosition& position) {
  return GridCell::of(position, kGeoStepMax, kLatitudeMax).bits();
}

GeoPosition geo_decode(double score) {
  // The largest double below 2^63. Cells need 52 bits, the very edge of the map (180 degrees) a 53rd
  // and a 54th.
  constexpr double kScoreMax = 9223372036854774784;
  GridCell cell = GridCell::of(static_cast<uint64_t>(
      std::isfinite(score) ? static_cast<int64_t>(std::clamp(score, -kScoreMax, kScoreMax)) : 0));
  double longitude = (cell.west() + cell.east()) / 2;
  double latitude = (cell.south() + cell.north()) / 2;
  return {std::clamp(longitude, -kLongitudeMax, kLongitudeMax),
          std::clamp(latitude, -kLatitudeMax, kLatitudeMax)};
}

double geo_distance_m(const GeoPosition& from, const GeoPosition& to) {
  double v = std::sin((radians(to.longitude) - radians(from.longitude)) / 2);
  if (v == 0) return latitude_distance_m(from.latitude, to.latitude);
  double latitude1 = radians(from.latitude);
  double latitude2 = radians(to.latitude);
  double u = std::sin((latitude2 - latitude1) / 2);
  double a = u * u + std::cos(latitude1) * std::cos(latitude2) * v * v;
  return 2 * kEarthRadius_m * std::asin(std::sqrt(a));
}

void geohash_text(const GeoPosition& position, char (&text)[kGeohashTextBytes]) {
  constexpr char kLetters[] = "0123456789bcdefghjkmnpqrstuvwxyz";
  uint64_t bits = GridCell::of(position, kGeoStepMax, 90).bits();
  for (size_t i = 0; i + 1 < kGeohashTextBytes; ++i)
    text[i] = kLetters[bits >> (2 * kGeoStepMax - 5 * (i + 1)) & 31];
  text[kGeohashTextBytes - 1] = '0';
}

bool GeoArea::contains(const GeoPosition& position, double& distance_m) const {
  if (is_box) {
    if (latitude_distance_m(position.latitude, centre.latitude) > height_m / 2) return false;
    GeoPosition same_parallel{centre.longitude, position.latitude};
    if (geo_distance_m(position, same_parallel) > width_m / 2) return false;
    distance_m = geo_distance_m(centre, position);
    return true;
  }
  distance_m = geo_distance_m(centre, position);
  return distance_m <= radius_m;
}

// The least rectangle in degrees around the area; its longitudes are those of the side that lies
// nearer to a pole, where degrees are shortest.
auto GeoArea::bounds() const -> Bounds {
  double height = is_box ? height_m / 2 : radius_m;
  double width = is_box ? width_m / 2 : radius_m;
  double up = degrees(height / kEarthRadius_m);
  double nearer = centre.latitude < 0 ? centre.latitude - up : centre.latitude + up;
  double across = degrees(width / kEarthRadius_m / std::cos(radians(nearer)));
  return {{centre.longitude - across, centre.latitude - up},
          {centre.longitude + across, centre.latitude + up}};
}

auto GeoArea::cover() const -> Cells {
  Bounds box = bounds();
  double reach_m =
      is_box ? std::sqrt(width_m / 2 * (width_m / 2) + height_m / 2 * (height_m / 2)) : radius_m;
  unsigned step = step_for(reach_m, centre.latitude);
  GridCell middle = GridCell::of(centre, step, kLatitudeMax);
  bool short_of = middle.beside(0, 1).north() < box.high.latitude ||
                  middle.beside(0, -1).south() > box.low.latitude ||
                  middle.beside(1, 0).east() < box.high.longitude ||
                  middle.beside(-1, 0).west() > box.low.longitude;
  if (step > 1 && short_of) middle = GridCell::of(centre, --step, kLatitudeMax);

  bool trims = step >= 2;
  bool no_south = trims && middle.south() < box.low.latitude;
  bool no_north = trims && middle.north() > box.high.latitude;
  bool no_west = trims && middle.west() < box.low.longitude;
  bool no_east = trims && middle.east() > box.high.longitude;
  constexpr int kDirections[9][2] = {{0, 0}, {0, 1},  {0, -1}, {1, 0},  {-1, 0},
                                     {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};
  Cells found;
  const GridCell* last = nullptr;
  GridCell near[9];
  for (size_t i = 0; i < 9; ++i) {
    auto [east, north] = kDirections[i];
    if ((north < 0 && no_south) || (north > 0 && no_north) || (east < 0 && no_west) ||
        (east > 0 && no_east))
      continue;
    near[i] = middle.beside(east, north);
    // Of huge areas neighbours may be one and the same cell.
    if (last && *last == near[i]) continue;
    if (i > 0) last = &near[i];
    found.cells[found.count++] = near[i].scores();
  }
  return found;
}

}  // namespace quoll::data
