#include "server/slot_routes.h"

#include <fmt/format.h>

#include "base/crc16.h"
#include "server/blocked_keys.h"
#include "server/cluster_node.h"
#include "server/errors.h"
#include "server/forwarding.h"
#include "server/server.h"
#include "store/placement.h"

namespace quoll::server {
namespace {

constexpr Bytes kCrossing = "CROSSSLOT Keys in request don't hash to the same slot";
constexpr Bytes kDown = "CLUSTERDOWN The cluster is down";
constexpr Bytes kAgain = "TRYAGAIN The slot is being handed over to another node";
constexpr Bytes kUnbound = "CLUSTERDOWN Hash slot not served";

bool is_shard_pubsub(const Command& command) {
  const Bytes name = command.spec->name;
  return name == "ssubscribe" || name == "sunsubscribe" || name == "spublish";
}

// "": where the client's connection goes already, by the port.
std::string shown_endpoint(const Settings& settings, const ClusterMember& member) {
  switch (settings.cluster_preferred_endpoint_type) {
    case EndpointType::ip:
      break;
    case EndpointType::hostname:
      return member.hostname.empty() ? "?" : member.hostname;
    case EndpointType::unknown_endpoint:
      return {};
  }
  return member.host;
}

}  // namespace

bool SlotRoutes::serves() const {
  const ClusterView& view = *server_.cluster();
  return view.serves() && view.leader() == view.self();
}

bool SlotRoutes::goes_on_uncovered() const {
  return !server_.settings().cluster_require_full_coverage || server_.cluster()->covered();
}

bool SlotRoutes::serves(unsigned slot) const {
  const ClusterView& view = *server_.cluster();
  return serves() && (view.has_all_slots() || (view.has_slot(slot) && goes_on_uncovered()));
}

SlotUse SlotRoutes::use_of(const Command& command, Args args, const uint64_t* first_hash) const {
  SlotUse use;
  const bool agreed = (command.spec->flags & kAgreed) && server_.node();
  use.writes = command.spec->access == Access::write && !agreed;
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
  const ClusterView& view = *server_.cluster();
  if (use.crosses) return Route::crossing;
  if (use.slot == SlotUse::kNone && !use.writes) return Route::here;
  const bool here = use.slot == SlotUse::kNone ? serves() : serves(static_cast<unsigned>(use.slot));
  if (here) return use.writes && !view.may_commit() ? Route::no_quorum : Route::here;
  if (use.slot != SlotUse::kNone && !view.assigned(static_cast<unsigned>(use.slot)))
    return Route::unbound;
  if (use.slot != SlotUse::kNone && view.handing_over(static_cast<unsigned>(use.slot)))
    return Route::again;
  return find_elsewhere(session, command, use);
}

Route SlotRoutes::find_elsewhere(const Session& session, const Command& command,
                                 const SlotUse& use) const {
  const ClusterView& view = *server_.cluster();
  const bool without = use.slot == SlotUse::kNone;
  const auto slot = static_cast<unsigned>(std::max(use.slot, 0));
  const size_t leader = without ? view.leader() : view.leader_of(slot);
  if (leader == view.members().size() || leader == view.self() || !goes_on_uncovered()) {
    const bool listens =
        is_shard_pubsub(command) && server_.settings().cluster_allow_pubsubshard_when_down;
    return listens ? Route::here : Route::down;
  }
  if (without) return Route::read_only;
  const bool has_data = view.has_slot(slot) && !view.members()[view.self()].witness;
  if (is_shard_pubsub(command)) return has_data ? Route::here : Route::moved;
  const bool may_read = session.replica_reads && !use.writes && has_data && view.readable();
  return may_read ? Route::here : Route::moved;
}

uint16_t ClusterView::port_for(const Session& session, const ClusterMember& member) {
  const int64_t tls_port = session.server().settings().tls_port;
  if (member.tls_port == 0 || tls_port == 0 || session.peer().is_unix()) return member.port;
  const bool tls = session.peer().local_address().ends_with(fmt::format(":{}", tls_port));
  return tls ? member.tls_port : member.port;
}

std::vector<ClusterShard> ClusterView::shards() const {
  ClusterShard all;
  all.slots.emplace_back(0, kSlots - 1);
  for (size_t place = 0; place < members().size(); ++place) all.members.push_back(place);
  all.leader = leader();
  all.epoch = epoch();
  return {all};
}

std::string SlotRoutes::error(const Session& session, Route route, const SlotUse& use) const {
  switch (route) {
    case Route::here:
      return {};
    case Route::crossing:
      return std::string(kCrossing);
    case Route::unbound:
      return std::string(kUnbound);
    case Route::again:
      return std::string(kAgain);
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
  const ClusterMember& leader =
      view.members()[view.leader_of(static_cast<unsigned>(std::max(use.slot, 0)))];
  return fmt::format("MOVED {} {}:{}", use.slot, shown_endpoint(server_.settings(), leader),
                     ClusterView::port_for(session, leader));
}

std::string SlotRoutes::no_quorum(const SlotUse& use, const std::string& there) const {
  return fmt::format("CLUSTERDOWN NOQUORUM slot {}: {}", std::max(use.slot, 0), there);
}

void Server::redirect_blocked() {
  std::vector<SessionId> waiting;
  for (auto& [id, session] : sessions_)
    if (session->postponed() == Postponed::blocked && !(node_ && node_->forwarding().waits(id)))
      waiting.push_back(id);
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
  pubsub_.leave_shards([view = cluster_.get()](unsigned slot) {
    return view->has_slot(slot) || view->handing_over(slot);
  });
}

}  // namespace quoll::server
