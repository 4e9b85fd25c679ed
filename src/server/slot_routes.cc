#include "server/slot_routes.h"

#include <fmt/format.h>

#include "base/crc16.h"
#include "server/blocked_keys.h"
#include "server/errors.h"
#include "server/server.h"
#include "store/placement.h"

namespace quoll::server {
namespace {

constexpr Bytes kCrossing = "CROSSSLOT Keys in request don't hash to the same slot";
constexpr Bytes kDown = "CLUSTERDOWN The cluster is down";

bool is_shard_pubsub(const Command& command) {
  const Bytes name = command.spec->name;
  return name == "ssubscribe" || name == "sunsubscribe" || name == "spublish";
}

}  // namespace

bool SlotRoutes::serves() const {
  const ClusterView& view = *server_.cluster();
  return view.serves() && view.leader() == view.self();
}

SlotUse SlotRoutes::use_of(const Command& command, Args args, const uint64_t* first_hash) const {
  SlotUse use;
  use.writes = command.spec->access == Access::write;
  keys_.clear();
  if (!find_keys(*command.spec, args, keys_)) return use;  // it will say what is wrong
  for (const KeyArg& key : keys_) {
    const bool known = first_hash && static_cast<int>(key.index) == command.first_key;
    use.add(
        static_cast<int>(known ? store::slot_of(*first_hash) : base::key_slot(args[key.index])));
  }
  return use;
}

Route SlotRoutes::find(const Session& session, const Command& command, const SlotUse& use) const {
  if (use.crosses) return Route::crossing;
  if (use.slot == SlotUse::kNone && !use.writes) return Route::here;
  if (!serves()) return find_elsewhere(session, command, use);
  return use.writes && !server_.cluster()->may_commit() ? Route::no_quorum : Route::here;
}

Route SlotRoutes::find_elsewhere(const Session& session, const Command& command,
                                 const SlotUse& use) const {
  const ClusterView& view = *server_.cluster();
  const size_t leader = view.leader();
  if (leader == view.members().size() || leader == view.self()) {
    const bool listens =
        is_shard_pubsub(command) && server_.settings().cluster_allow_pubsubshard_when_down;
    return listens ? Route::here : Route::down;
  }
  if (use.slot == SlotUse::kNone) return Route::read_only;
  const bool reads = !use.writes && !is_shard_pubsub(command);
  const bool has_data = !view.members()[view.self()].witness;
  const bool may_read = session.replica_reads && reads && has_data && view.readable();
  return may_read ? Route::here : Route::moved;
}

uint16_t ClusterView::port_for(const Session& session, const ClusterMember& member) {
  const int64_t tls_port = session.server().settings().tls_port;
  if (member.tls_port == 0 || tls_port == 0 || session.peer().is_unix()) return member.port;
  const bool tls = session.peer().local_address().ends_with(fmt::format(":{}", tls_port));
  return tls ? member.tls_port : member.port;
}

std::string SlotRoutes::error(const Session& session, Route route, const SlotUse& use) const {
  switch (route) {
    case Route::here:
      return {};
    case Route::crossing:
      return std::string(kCrossing);
    case Route::down:
      return std::string(kDown);
    case Route::no_quorum:
      return no_quorum(use, server_.cluster()->quorum());
    case Route::read_only:
      return std::string(errors::kReadOnly);
    case Route::moved:
      break;
  }
  const ClusterView& view = *server_.cluster();
  const ClusterMember& leader = view.members()[view.leader()];
  return fmt::format("MOVED {} {}:{}", use.slot, leader.host,
                     ClusterView::port_for(session, leader));
}

std::string SlotRoutes::no_quorum(const SlotUse& use, const std::string& there) const {
  return fmt::format("CLUSTERDOWN NOQUORUM slot {}: {}", std::max(use.slot, 0), there);
}

void Server::redirect_blocked() {
  std::vector<SessionId> waiting;
  for (auto& [id, session] : sessions_)
    if (session->postponed() == Postponed::blocked) waiting.push_back(id);
  for (SessionId id : waiting) {
    Session* session = find_session(id);
    if (!session || session->postponed() != Postponed::blocked) continue;
    const ParkedCommand* parked = session->parked();
    if (!parked) {
      session->unblock(errors::kUnblocked);
      continue;
    }
    const SlotUse use = routes_.use_of(*parked->command, parked->line.args());
    const Route route = routes_.find(*session, *parked->command, use);
    if (route != Route::here) session->unblock(routes_.error(*session, route, use));
  }
  if (!routes_.serves()) pubsub_.leave_shards();
}

}  // namespace quoll::server
