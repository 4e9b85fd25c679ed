// The geo family: its rows. Handlers are in geo_*.cc, see geo_family.h.
#include "commands/families.h"
#include "commands/geo_family.h"

namespace quoll::commands {
namespace {

using namespace server;

// The source, then the keys behind STORE and STOREDIST, looked for from argument `options` on.
constexpr KeySpecs storing_keys(int options) {
  KeySpec store = keys::at(options, kKeyOw | kKeyUpdate);
  store.keyword = "STORE";
  KeySpec distances = store;
  distances.keyword = "STOREDIST";
  return {{keys::at(1, kKeyRo | kKeyAccess), store, distances}};
}

constexpr CommandSpec kGeoCommands[] = {
    {.name = "geoadd",
     .arity = -5,
     .run = geo::geoadd,
     .access = Access::write,
     .journal = Journal::rewritten,
     .keys = keys::first(kKeyRw | kKeyUpdate),
     .flags = kDenyOom,
     .group = "geo",
     .since = "3.2.0",
     .summary = "Adds members with their positions, or moves present members.",
     .complexity = "O(log(N)) for each member, N being the number of members.",
     .syntax = "key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]"},
    {.name = "geodist",
     .arity = -4,
     .run = geo::geodist,
     .access = Access::read,
     .keys = keys::first(kKeyRo | kKeyAccess),
     .group = "geo",
     .since = "3.2.0",
     .summary = "Returns the distance between two members.",
     .complexity = "O(log(N)) at most, N being the number of members.",
     .syntax = "key member1 member2 [M | KM | FT | MI]"},
    {.name = "geohash",
     .arity = -2,
     .run = geo::geohash,
     .access = Access::read,
     .keys = keys::first(kKeyRo | kKeyAccess),
     .group = "geo",
     .since = "3.2.0",
     .summary = "Returns the positions of members as geohash strings of eleven letters.",
     .complexity = "O(log(N)) at most for each member named, N being the number of members.",
     .syntax = "key member [member ...]"},
    {.name = "geopos",
     .arity = -2,
     .run = geo::geopos,
     .access = Access::read,
     .keys = keys::first(kKeyRo | kKeyAccess),
     .group = "geo",
     .since = "3.2.0",
     .summary = "Returns the longitudes and latitudes of members.",
     .complexity = "O(N), N being the number of members named.",
     .syntax = "key member [member ...]"},
    {.name = "geosearch",
     .arity = -7,
     .run = geo::geosearch,
     .access = Access::read,
     .keys = keys::first(kKeyRo | kKeyAccess),
     .group = "geo",
     .since = "6.2.0",
     .summary = "Returns the members inside a circle or a box.",
     .complexity = "O(N+log(M)), N being the number of members in the cells that cover the area "
                   "and M of those inside it.",
     .syntax = "key <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | "
               "FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] "
               "[WITHCOORD] [WITHDIST] [WITHHASH]"},
    {.name = "geosearchstore",
     .arity = -8,
     .run = geo::geosearchstore,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = keys::two(kKeyOw | kKeyUpdate, kKeyRo | kKeyAccess),
     .flags = kDenyOom,
     .group = "geo",
     .since = "6.2.0",
     .summary = "Stores the members inside a circle or a box in another key.",
     .complexity = "O(N+log(M)), N being the number of members in the cells that cover the area "
                   "and M of those inside it.",
     .syntax = "destination source <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS "
               "radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] "
               "[COUNT count [ANY]] [STOREDIST]"},
    {.name = "georadius",
     .arity = -6,
     .run = geo::georadius,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = storing_keys(6),
     .flags = kDenyOom | kMovableKeys,
     .group = "geo",
     .since = "3.2.0",
     .summary = "Returns or stores the members within a distance of a position.",
     .complexity = "O(N+log(M)), N being the number of members in the cells that cover the area "
                   "and M of those inside it.",
     .syntax = "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] "
               "[COUNT count [ANY]] [ASC | DESC] [STORE key] [STOREDIST key]",
     .deprecated_since = "6.2.0",
     .replaced_by = "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument"},
    {.name = "georadiusbymember",
     .arity = -5,
     .run = geo::georadiusbymember,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = storing_keys(5),
     .flags = kDenyOom | kMovableKeys,
     .group = "geo",
     .since = "3.2.0",
     .summary = "Returns or stores the members within a distance of a member.",
     .complexity = "O(N+log(M)), N being the number of members in the cells that cover the area "
                   "and M of those inside it.",
     .syntax = "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT "
               "count [ANY]] [ASC | DESC] [STORE key] [STOREDIST key]",
     .deprecated_since = "6.2.0",
     .replaced_by =
         "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments"},
    {.name = "georadius_ro",
     .arity = -6,
     .run = geo::georadius_ro,
     .access = Access::read,
     .keys = keys::first(kKeyRo | kKeyAccess),
     .group = "geo",
     .since = "3.2.10",
     .summary = "Returns the members within a distance of a position.",
     .complexity = "O(N+log(M)), N being the number of members in the cells that cover the area "
                   "and M of those inside it.",
     .syntax = "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] "
               "[COUNT count [ANY]] [ASC | DESC]",
     .deprecated_since = "6.2.0",
     .replaced_by = "`GEOSEARCH` with the `BYRADIUS` argument"},
    {.name = "georadiusbymember_ro",
     .arity = -5,
     .run = geo::georadiusbymember_ro,
     .access = Access::read,
     .keys = keys::first(kKeyRo | kKeyAccess),
     .group = "geo",
     .since = "3.2.10",
     .summary = "Returns the members within a distance of a member.",
     .complexity = "O(N+log(M)), N being the number of members in the cells that cover the area "
                   "and M of those inside it.",
     .syntax = "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT "
               "count [ANY]] [ASC | DESC]",
     .deprecated_since = "6.2.0",
     .replaced_by = "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"},
};
static_assert(well_formed(kGeoCommands));

}  // namespace

Family geo_commands() { return kGeoCommands; }

}  // namespace quoll::commands
