#include "server/group_part.h"

#include <xxhash.h>

namespace quoll::server {
namespace {

constexpr base::Millis kSilenceTimeouts = 3;  // of elections; then a connection counts as broken

}  // namespace

uint64_t GroupPart::config_hash(base::Bytes group_name) {
  return XXH3_64bits(group_name.data(), group_name.size());
}

cluster::GroupLinks::Options GroupPart::link_options() const {
  cluster::GroupLinks::Options options;
  options.self = config.self;
  options.config = config_hash(group_name);
  options.id = id;
  options.silence_ms = kSilenceTimeouts * config.election_timeout_ms;
  options.secrets = secrets;
  return options;
}

bool GroupPart::take_told(const cluster::GroupShape& by_leader) {
  if (told == by_leader) return false;
  told = by_leader;
  return true;
}

bool GroupPart::forget_told(const cluster::GroupShape& now, cluster::Member leader) {
  if (told.unknown() || !now.uses(leader)) return false;
  if (told.uses(leader) && told.places[leader].id != now.places[leader].id) return false;
  told = {};
  return true;
}

void GroupPart::link(cluster::GroupLinks& links, const cluster::GroupShape& now,
                     bool settled) const {
  for (cluster::Member m = 0; m < cluster::kMembersMax; ++m) {
    if (m == config.self) continue;
    const cluster::GroupShape& meant = told.uses(m) ? told : now.unknown() ? shape : now;
    const std::string& node = meant.places[m].id;
    if (const auto at = meant.uses(m) && node != id ? where(node) : std::nullopt)
      links.set_member(m, *at, node);
    else if (settled || meant.uses(m))
      links.remove_member(m);
  }
}

}  // namespace quoll::server
