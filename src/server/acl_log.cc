#include "server/acl_log.h"

#include <algorithm>
#include <cstdlib>

namespace quoll::server {

Bytes context_name(AclContext context) {
  constexpr Bytes kNames[] = {"toplevel", "multi", "lua", "module"};
  return kNames[static_cast<size_t>(context)];
}

Bytes reason_name(Denied reason) {
  constexpr Bytes kNames[] = {"unknown", "command", "key", "auth", "channel"};
  return kNames[static_cast<size_t>(reason)];
}

void AclLog::add(AclLogEntry entry, base::Millis now, size_t entries_max) {
  const auto compared = static_cast<ptrdiff_t>(std::min(entries_.size(), kCompared));
  auto like = std::find_if(entries_.begin(), entries_.begin() + compared, [&](const auto& old) {
    return old.reason == entry.reason && old.context == entry.context &&
           std::abs(now - old.updated_ms) <= kGroupedMs && old.object == entry.object &&
           old.user == entry.user;
  });
  if (like != entries_.begin() + compared) {
    like->client = std::move(entry.client);
    like->updated_ms = now;
    ++like->count;
    std::rotate(entries_.begin(), like, like + 1);
    return;
  }
  entry.id = next_id_++;
  entry.created_ms = entry.updated_ms = now;
  entries_.push_front(std::move(entry));
  if (entries_.size() > entries_max) entries_.resize(entries_max);
}

}  // namespace quoll::server
