// ClusterNode: what becomes of the parts of nodes that are dead for too long, or leave.
//
//   gossip says fail -> for cluster-replace-after -> dead: whoever holds the topology, and whoever
//                       leads a group, names others in its place. Who leads a group with data has
//                       a spare replica, or an empty node, take the place (replica_plan.h): nobody
//                       else knows that it has the quorum to take one in
//   CLUSTER LEAVE    -> slots and parts go elsewhere -> we give up our group -> are no member ->
//   new
//
// Who is dead decides only what is proposed: whether it can be agreed on is the matter of those who
// are there, and nobody who votes is replaced before the next one has caught up.
#include "cluster/leave_steps.h"
#include "server/cluster_node.h"
#include "server/group.h"
#include "server/log.h"
#include "server/rebalancer.h"
#include "server/server.h"
#include "server/slot_moves.h"

namespace quoll::server {

using base::Millis;
using base::Result;
using cluster::GroupNumber;
using cluster::kNoGroup;
using cluster::kNoNode;
using cluster::NodeIndex;
using cluster::Question;

// --- who is there ------------------------------------------------------------------------------

bool ClusterNode::failed(NodeIndex node) const {
  const size_t place = place_of(node);
  return place < members_.size() && members_[place].liveness == Liveness::failed;
}

std::set<GroupNumber> ClusterNode::groups_away() const {
  std::set<GroupNumber> away;
  for (const auto& [number, group] : topology().groups()) {
    const NodeIndex leader = leader_node(number);
    const bool none =
        std::ranges::all_of(group.members, [this](auto node) { return failed(node); });
    if (none || (leader != kNoNode && failed(leader))) away.insert(number);
  }
  return away;
}

std::optional<cluster::ReplicaMove> ClusterNode::replica_move(GroupNumber asks) const {
  const Settings& settings = server_.settings();
  if (!settings.cluster_allow_replica_migration) return {};
  cluster::NodesSeen seen{dead_, {}, {}};
  for (const NodeIndex node : indexes_) {
    const auto since = there_since_.find(node);
    const bool there = since != there_since_.end();
    const bool came = asks != kNoGroup && there && steady_ms() - since->second < kSettledMs;
    if (!there || came) seen.away.insert(node);
  }
  for (const auto& [number, group] : topology().groups())
    if (const NodeIndex leader = leader_node(number); leader != kNoNode)
      seen.leaders.insert(leader);
  return cluster::next_replica_move(
      topology(), seen, static_cast<unsigned>(settings.cluster_migration_barrier), asks);
}

void ClusterNode::look_who_is_dead() {
  const Millis now = steady_ms();
  const Millis after = server_.settings().cluster_replace_after * 1000;
  std::erase_if(failed_since_, [this](const auto& one) { return !failed(one.first); });
  std::erase_if(there_since_, [this](const auto& one) {
    return failed(one.first) || !topology().find(one.first);
  });
  for (const NodeIndex node : indexes_)
    if (!failed(node)) there_since_.emplace(node, now);
  std::set<NodeIndex> dead;
  for (const NodeIndex node : indexes_) {
    if (node == index_ || !failed(node)) continue;
    const Millis since = failed_since_.emplace(node, now).first->second;
    if (after == 0 || now - since < after) continue;
    dead.insert(node);
    if (!dead_.count(node))
      log::notice("Cluster: node {} is not there for {} seconds: its parts go to others",
                  topology().find(node)->id, after / 1000);
  }
  if (dead == dead_) return;
  dead_ = std::move(dead);
  governors_right_ = 0;
}

bool ClusterNode::goes_on(const cluster::GroupShape& shape) const {
  return cluster::goes_on(shape, [&](cluster::Member member) {
    return !failed(topology().index_of(shape.places[member].id));
  });
}

// --- by who leads a group, or those that hold the topology -------------------------------------

void ClusterNode::put_right(Step step) {
  healing_ = true;
  make_so(std::move(step), [this, alive = alive_](const Result<>& changed) {
    if (!*alive) return;
    healing_ = false;
    if (!changed) log::verbose("Cluster: {}", changed.error());
  });
}

void ClusterNode::heal() {
  if (healing_ || topology().cluster_id().empty()) return;
  const auto move = replica_move();
  group_that_goes_ = move && move->empty ? move->from : kNoGroup;
  if (move_replica() || !keeper_ || !keeper_->leads() || forget_dead()) return;
  // Who is away for a moment is not in the plan.
  if (rebalancer_->ordered() && groups_away().empty() && rebalancer_->plan().moved == 0)
    put_right([](const cluster::Topology& now) {
      return cluster::next_to_order(now, std::string(kRebalanceOrder), false);
    });
}

// One that does not come about is asked for again in a while.
bool ClusterNode::move_replica() {
  if (!serves() || own_group_ == kNoGroup) return false;
  const auto move = replica_move(own_group_);
  if (!move || (move == replica_moved_ && steady_ms() < replica_again_at_)) return false;
  if (move != replica_moved_)
    log::notice("Cluster: node {} is to be a replica in group {} instead of group {}",
                topology().find(move->node)->id, move->to, move->from);
  replica_moved_ = move;
  replica_again_at_ = steady_ms() + kStepsMs;
  put_right([move = *move](const cluster::Topology& now) {
    return cluster::next_to_move_replica(now, move);
  });
  return true;
}

// Who died while it left, and has nothing that others need.
bool ClusterNode::forget_dead() {
  for (const NodeIndex node : dead_) {
    const cluster::TopologyMember* member = topology().find(node);
    if (!member || !member->leaves || !cluster::next_to_depart(topology(), member->id)) continue;
    put_right([id = member->id](const cluster::Topology& now) {
      return cluster::next_to_depart(now, id);
    });
    return true;
  }
  return false;
}

// --- this node ---------------------------------------------------------------------------------

// The configured weight or location is another one than before.
void ClusterNode::announce_weight() {
  const cluster::TopologyMember* known = topology().find(index_);
  if (!known || weighing_ || founding_) return;
  const auto weight = static_cast<uint32_t>(server_.settings().cluster_weight);
  if (known->weight == weight && known->location == location()) return;
  weighing_ = true;
  make_so(
      [this](const cluster::Topology& now) {
        return cluster::next_to_weigh(
            now, index_, static_cast<uint32_t>(server_.settings().cluster_weight), location());
      },
      [this, alive = alive_](const Result<>& changed) {
        if (!*alive) return;
        weighing_ = false;
        if (!changed) log::warning("Cluster: {}", changed.error());
      });
}

void ClusterNode::tell_hands_off() {
  for (const NodeIndex node : indexes_)
    if (node != index_) ask(node, Question::hands_off, {}, [](const auto&) {});
}

// Everything of ours goes to others before we do.
void ClusterNode::follow_leaving() {
  if (departing_ || coming_) return;
  if (leaves_ && index_ == kNoNode && topology().is_forgotten(record_.id)) return departed();
  const cluster::TopologyMember* own = topology().find(index_);
  leaves_ = own && own->leaves;
  if (!leaves_) return;
  // It has given up its place, and leads again before the group's log knows (hand_over_held).
  if (leads_held() && held_group_ != own_group_ &&
      cluster::has_others(topology(), held_group_, index_, dead_))
    return;
  const bool others = cluster::has_others(topology(), own_group_, index_, dead_);
  if (others && serves()) {
    group_->hand_over(staying_places());
    return;
  }
  // When all of a group leave, its leader is the last.
  const auto own_now = topology().groups().find(own_group_);
  const bool alone_in_it =
      own_now == topology().groups().end() || own_now->second.members.size() < 2;
  if (serves() && !alone_in_it) return;
  const bool holds_slots =
      !others && own_group_ != kNoGroup && !cluster::slots_of(topology(), own_group_).empty();
  // What a log that others lead says of slots on their way is theirs to see through.
  const bool own_ledger =
      serves() || (own_group_ != kNoGroup && own_group_ == held_group_ && alone_in_it);
  if (holds_slots || keeper_ || !witnesses_.empty() || (own_ledger && moves_->waits_for_commit()))
    return;
  depart();
}

void ClusterNode::depart() {
  departing_ = true;
  make_so(
      [id = record_.id](const cluster::Topology& now) { return cluster::next_to_depart(now, id); },
      [this, alive = alive_](const Result<>& done) {
        if (!*alive) return;
        departing_ = false;
        if (!done) return log::verbose("Cluster: {}", done.error());
        departed();
      });
}

// We are a new node from now on, alone and empty.
void ClusterNode::departed() {
  leaves_ = false;
  log::notice("Cluster: this node has left");
  reset([](const Result<>& begun) {
    if (!begun) log::warning("Cluster: {}", begun.error());
  });
}

}  // namespace quoll::server
