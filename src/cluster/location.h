// Where a node stands: data centre, rack and host, as `cluster-location dc1/rackA/host7` names
// them. Copies of one slot are kept apart by it: never two on a host, and racks and data centres
// share them as evenly as they can (ring_plan.h).
//
// Names are compared as bytes. A rack belongs to its data centre, a host to its rack: dc1/a and
// dc2/a are two racks. Pure.
#pragma once

#include <compare>
#include <optional>
#include <string>

#include "base/bytes.h"

namespace quoll::cluster {

constexpr size_t kLocationBytesMax = 192;  // of the text

struct Location {
  std::string dc;
  std::string rack;
  std::string host;

  auto operator<=>(const Location&) const = default;
  std::string text() const { return dc + "/" + rack + "/" + host; }
};

// "dc/rack/host": three names, none empty, of printable ASCII without blanks. Nothing: it is not.
std::optional<Location> parse_location(base::Bytes text);

}  // namespace quoll::cluster
