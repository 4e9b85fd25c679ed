#include "cluster/location.h"

namespace quoll::cluster {
namespace {

bool is_place_name(base::Bytes text) {
  if (text.empty()) return false;
  for (char c : text)
    if (c <= ' ' || c > '~') return false;
  return true;
}

}  // namespace

std::optional<Location> parse_location(base::Bytes text) {
  if (text.size() > kLocationBytesMax) return {};
  const size_t first = text.find('/');
  if (first == base::Bytes::npos) return {};
  const size_t second = text.find('/', first + 1);
  if (second == base::Bytes::npos || text.find('/', second + 1) != base::Bytes::npos) return {};
  const base::Bytes dc = text.substr(0, first);
  const base::Bytes rack = text.substr(first + 1, second - first - 1);
  const base::Bytes host = text.substr(second + 1);
  if (!is_place_name(dc) || !is_place_name(rack) || !is_place_name(host)) return {};
  return Location{std::string(dc), std::string(rack), std::string(host)};
}

}  // namespace quoll::cluster
