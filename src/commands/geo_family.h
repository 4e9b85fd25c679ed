// What the files of the geo family share: handlers (one per command, named like it) and the steps
// between arguments, positions and replies. A geo index is a sorted set (data/geohash.h).
//
//   geo.cc         the rows
//   geo_member.cc  GEOADD GEODIST GEOHASH GEOPOS
//   geo_search.cc  GEOSEARCH GEOSEARCHSTORE GEORADIUS GEORADIUSBYMEMBER and their _RO forms
#pragma once

#include "data/geohash.h"
#include "data/zset.h"
#include "server/call.h"

namespace quoll::commands::geo {

using data::GeoPosition;
using data::ZSet;
using server::Bytes;
using server::Call;

void geoadd(Call& call);
void geodist(Call& call);
void geohash(Call& call);
void geopos(Call& call);
void geosearch(Call& call);
void geosearchstore(Call& call);
void georadius(Call& call);
void georadiusbymember(Call& call);
void georadius_ro(Call& call);
void georadiusbymember_ro(Call& call);

// Longitude and latitude at argument i and the next; false with the error replied.
bool parse_position(Call& call, size_t i, GeoPosition& position);
// M, KM, FT, MI as metres; false with the error replied.
bool parse_unit(Call& call, size_t i, double& metres);

void reply_distance(Call& call, double distance);
void reply_position(Call& call, const GeoPosition& position);

}  // namespace quoll::commands::geo
