// ClusterNode: the groups whose member this node is.
//
//   the topology names us a governor, or a member of a group -> which place is ours? -> whoever
//   leads it: this one, among these -> we begin there, with an empty log, as a learner -> we vote
//
// Who leads a group makes its shape follow the topology, and asks a third node to keep the log
// where two have the data. Until we are in the group that the topology names, the data here are not
// its.
#include <fmt/format.h>

#include "cluster/group_frames.h"
#include "cluster/leave_steps.h"
#include "server/cluster_node.h"
#include "server/group.h"
#include "server/group_settings.h"
#include "server/log.h"
#include "server/script_host.h"
#include "server/script_libraries.h"
#include "server/server.h"
#include "server/slot_moves.h"

namespace quoll::server {

using base::Bytes;
using base::Error;
using base::Result;
using cluster::FieldReader;
using cluster::FieldWriter;
using cluster::GroupNumber;
using cluster::GroupShape;
using cluster::kNoGroup;
using cluster::NodeBus;
using cluster::NodeIndex;
using cluster::Question;

namespace {

constexpr size_t kNameDigits = 8;  // of ids in names of directories

GroupShape shape_alone(const std::string& id) {
  GroupShape shape;
  shape.add(0, id);
  shape.now.places = 1;
  return shape;
}

const cluster::GroupCore* core_of(const ReplicaGroup& group) { return group.core(); }

}  // namespace

std::string ClusterNode::group_name(const NodePlace& place) const {
  const std::string& cluster = topology().cluster_id();
  const std::string number = place.kind == NodePlace::Kind::keeper ? "topology"
                             : place.group == kNoGroup             ? "none"
                                                                   : std::to_string(place.group);
  return (cluster.empty() ? next_cluster_ : cluster) + " " + number;
}

// A group of keys, as far as the topology that we know tells.
bool ClusterNode::has_grown(const NodePlace& place) const {
  if (place.kind != NodePlace::Kind::data) return false;
  const auto group = topology().groups().find(place.group);
  const NodeIndex self = topology().index_of(record_.id);
  if (group == topology().groups().end() || self == cluster::kNoNode) return false;
  const std::vector<NodeIndex>& members = group->second.members;
  return members.size() > 1 && std::ranges::find(members, self) != members.end();
}

GroupPart ClusterNode::part_at(const NodePlace& place) const {
  GroupPart part;
  part.group_name = group_name(place);
  part.dir = record_.home + "/" + place.dir;
  part.id = record_.id;
  part.begins = place.founder;
  part.grown = has_grown(place);
  if (place.founder) part.shape = shape_alone(record_.id);
  part.config = group_config_alone(server_.settings());
  part.config.self = place.place;
  part.where = [this](const std::string& id) -> std::optional<host::Endpoint> {
    const NodeIndex node = topology().index_of(id);
    if (node == cluster::kNoNode) return {};
    return endpoint(node);
  };
  part.secrets = [&secrets = server_.cluster_secrets()] { return secrets.of_file(); };
  return part;
}

// Of each place another one: nothing is remembered of who had it before.
std::string ClusterNode::dir_of(Bytes what, GroupNumber group, cluster::Member place) const {
  return fmt::format("{}-{}-{}-{}", what, topology().cluster_id().substr(0, kNameDigits), group,
                     place);
}

// After the topology has changed: nodes may be elsewhere, and our group may have got a number.
void ClusterNode::groups_changed() {
  if (keeper_) keeper_->whereabouts_changed();
  if (!group_) return;
  group_->whereabouts_changed();
  NodePlace* place = record_.place_of(NodePlace::Kind::data);
  for (auto& [number, witness] : witnesses_) witness->whereabouts_changed();
  take_group_along();
  held_group_ = place && !coming_ ? place->group : kNoGroup;
}

// The group that we are alone in got a number, here or in the cluster that we have joined. Who did
// not begin it may have been left alone in it.
void ClusterNode::take_group_along() {
  NodePlace* place = record_.place_of(NodePlace::Kind::data);
  if (!place || place->group != kNoGroup || own_group_ == kNoGroup || coming_) return;
  if (topology().groups().at(own_group_).members != std::vector<NodeIndex>{index_}) return;
  const cluster::GroupCore* core = core_of(*group_);
  const bool alone = core && core->shape_settled() && core->shape().members() == 1 &&
                     core->shape().place_of(record_.id) == place->place;
  if (!place->founder && !alone) return;
  place->group = own_group_;
  group_->rename(group_name(*place));
}

// --- the group of our data ---------------------------------------------------------------------

void ClusterNode::start_group(const host::OnDone& done) {
  if (!record_.place_of(NodePlace::Kind::data))
    record_.set_place({.kind = NodePlace::Kind::data,
                       .founder = true,
                       .dir = "group-" + record_.id.substr(0, kNameDigits)});
  begin_group(*record_.place_of(NodePlace::Kind::data), {}, done);
}

// The first group of a node takes over what the server had saved when it was alone.
void ClusterNode::begin_group(const NodePlace& place, const GroupShape& shape,
                              const host::OnDone& done) {
  GroupPart part = part_at(place);
  if (!place.founder) part.shape = shape;
  group_ = std::make_unique<ReplicaGroup>(server_, std::move(part));
  if (place.founder && !place.empty && !has_grown(place)) group_->begin_with_rdb();
  server_.group_started(group_.get());
  held_group_ = place.group;
  group_failed_ = false;
  group_->start(group_started(done));
}

host::OnDone ClusterNode::group_started(const host::OnDone& done) {
  return [this, done, alive = alive_](Result<> started) {
    if (!*alive) return;
    group_failed_ = !started;
    done(std::move(started));
  };
}

// The data of one group make place for those of another. Of two that are to come the later one is
// meant.
void ClusterNode::change_group(NodePlace ours, const GroupShape& shape) {
  const bool under_way = coming_.has_value();
  coming_ = Coming{std::move(ours), shape};
  if (under_way) return;
  held_group_ = kNoGroup;
  refresh();
  end_own_group();
}

// Not before its log and data are read; and again, where the disk failed.
void ClusterNode::end_own_group() {
  const auto again = [this, alive = alive_] {
    server_.host().loop.after(kEndAgainMs * base::kNanosPerMilli, [this, alive] {
      if (*alive) end_own_group();
    });
  };
  const bool begun = core() ? group_->may_be_left() : group_failed_;
  if (!begun) return again();
  group_->end([this, again, alive = alive_](const Result<>& ended) {
    if (!*alive) return;
    if (ended) return take_coming_group();
    log::warning("Cluster: the log of the group that is left cannot be closed: {}", ended.error());
    again();
  });
}

void ClusterNode::take_coming_group() {
  const Coming coming = *std::exchange(coming_, std::nullopt);
  group_->leave();
  if (core()) dirs_left_.insert(group_->part()->dir);
  groups_left_.push_back(std::move(group_));
  forget_data();
  told_epoch_ = 0;
  record_.set_place(coming.place);
  begin_group(coming.place, coming.shape, [](const Result<>& begun) {
    if (!begun) log::warning("Cluster: {}", begun.error());
  });
  refresh();
  save();
}

void ClusterNode::forget_data() {
  store::Store& store = server_.store();
  for (store::DbIndex db = 0; db < store.databases(); ++db) store.flush(db);
  server_.scripts().libraries().flush();
  server_.tracking().flushed();
  server_.watches().dirty_all();
}

void ClusterNode::follow_groups() {
  if (topology().cluster_id().empty() || joining()) return;
  follow_own_group();
  follow_witnesses();
  name_witness();
}

// The group whose log we lead, be it that we are no member of it any more, as the topology has it:
// until another one can lead it, nobody else makes it so.
bool ClusterNode::leads_held() const {
  return group_ && held_group_ != kNoGroup && group_->serves();
}

// The log of the group that we have the data of, though it is not ours any more, may count on us.
bool ClusterNode::may_still_be_counted() const {
  const auto held = topology().groups().find(held_group_);
  return held_group_ != own_group_ && held != topology().groups().end() &&
         cluster::contains(held->second.holders, index_);
}

// It has been given to others, and we lead it before its log knows: nobody serves it so.
void ClusterNode::hand_over_held() {
  if (leads_held() && held_group_ != own_group_ &&
      cluster::has_others(topology(), held_group_, index_, dead_))
    group_->hand_over(staying_places());
}

// Of the group whose data are here: who leaves would only hand leadership on again.
uint32_t ClusterNode::staying_places() const {
  uint32_t places = 0;
  const GroupShape& shape = core_of(*group_)->shape();
  for (cluster::Member m = 0; m < cluster::kMembersMax; ++m) {
    if (!shape.uses(m)) continue;
    const NodeIndex node = topology().index_of(shape.places[m].id);
    if (node != cluster::kNoNode && !topology().find(node)->leaves) places |= 1u << m;
  }
  return places;
}

void ClusterNode::follow_own_group() {
  if (coming_ || !group_ || !core_of(*group_)) return;
  hand_over_held();
  if (may_still_be_counted()) return;
  if (own_group_ == kNoGroup) return begin_own_group();
  const auto group = topology().groups().find(own_group_);
  if (group == topology().groups().end()) return;
  // Nobody has its log, and nobody has lost anything by that.
  if (held_group_ != kNoGroup && held_group_ != own_group_ &&
      group->second == cluster::RingGroup{{index_}, {}} &&
      cluster::slots_of(topology(), own_group_).empty())
    return begin_own_group();
  const bool led = group_->leader() < group_->members().size();
  if (held_group_ == own_group_ && led) return;
  std::vector<NodeIndex> members = group->second.members;
  for (const NodeIndex node : group->second.holders)  // one that goes may still lead it
    if (!cluster::contains(members, node)) members.push_back(node);
  if (members.size() == 1) {  // it is ours once we are alone in its log, too
    if (held_group_ != own_group_) refresh(), save();
    return;
  }
  ask_for_place(own_group_, members[turns_[own_group_]++ % members.size()]);
}

// Another node has taken our place while we were dead. What we have is forgotten, and only then we
// have a group of our own, empty as that of a node that has just come.
void ClusterNode::begin_own_group() {
  if (index_ == cluster::kNoNode || topology().find(index_)->leaves || beginning_group_) return;
  const NodePlace& place = *record_.place_of(NodePlace::Kind::data);
  if (!place.founder || place.group != kNoGroup) {
    log::notice("Cluster: another node has taken our place: this one is empty from now on");
    return change_group({.kind = NodePlace::Kind::data,
                         .founder = true,
                         .empty = true,
                         .dir = fmt::format("group-{}-{}", record_.id.substr(0, kNameDigits),
                                            topology().version())},
                        {});
  }
  if (own_group_ != kNoGroup) return;  // it is this one (groups_changed)
  beginning_group_ = true;
  make_so(
      [this](const cluster::Topology& now) { return cluster::next_to_begin_group(now, index_); },
      [this, alive = alive_](const Result<>& begun) {
        if (!*alive) return;
        beginning_group_ = false;
        if (!begun) log::verbose("Cluster: {}", begun.error());
      });
}

// The shape follows the topology, a step at a time.
void ClusterNode::lead_group() {
  if (!leads_held()) return;
  const cluster::GroupCore& core = *core_of(*group_);
  const auto wanted = cluster::wanted_members(topology(), held_group_, core.shape(), dead_);
  const auto next = cluster::next_shape(
      core.shape(), wanted, [&core](cluster::Member member) { return core.caught_up(member); });
  if (!next) return settle_holders();
  if (!core.may_change(*next) || !goes_on(*next)) return;
  if (auto changed = group_->change_shape(*next); !changed)
    log::warning("Cluster: the group cannot change: {}", changed.error());
}

// The group's log is without those that the topology has taken out of it.
void ClusterNode::settle_holders() {
  const auto group = topology().groups().find(held_group_);
  if (group == topology().groups().end() || group->second.holders.empty() || settling_) return;
  const cluster::GroupCore& core = *core_of(*group_);
  if (!core.shape_settled()) return;
  std::vector<NodeIndex> voters;
  for (const auto& [index, member] : topology().members()) {
    const auto place = core.shape().place_of(member.id);
    if (place && core.shape().votes(*place) && !core.shape().is_witness(*place))
      voters.push_back(index);
  }
  if (!cluster::next_to_settle_holders(topology(), held_group_, group->second, voters).value())
    return;
  settling_ = true;
  make_so(
      [number = held_group_, seen = group->second, voters](const cluster::Topology& now) {
        return cluster::next_to_settle_holders(now, number, seen, voters);
      },
      [this, alive = alive_](const Result<>& settled) {
        if (!*alive) return;
        settling_ = false;
        if (!settled) log::verbose("Cluster: {}", settled.error());
      });
}

// --- witnesses ---------------------------------------------------------------------------------

void ClusterNode::start_witnesses(const host::OnDone& done) {
  for (const NodePlace& place : record_.places)
    if (place.kind == NodePlace::Kind::witness) begin_witness(place, {}, done);
}

void ClusterNode::begin_witness(const NodePlace& place, const GroupShape& shape,
                                const host::OnDone& done) {
  GroupPart part = part_at(place);
  part.shape = shape;
  auto& witness = witnesses_[place.group];
  witness = std::make_unique<Witness>(server_.bus_host(), std::move(part));
  witness->start(done);
}

// Our witness has not been heard of: it may not know yet that it is one.
void ClusterNode::name_witness() {
  if (!leads_held()) return;
  const GroupShape& shape = core_of(*group_)->shape();
  for (cluster::Member m = 0; m < group_->members().size(); ++m) {
    if (!shape.is_witness(m) || group_->members()[m].connected) continue;
    const NodeIndex node = topology().index_of(shape.places[m].id);
    if (node == cluster::kNoNode) continue;
    std::string body = topology().cluster_id();
    FieldWriter(body).number(held_group_).number(m);
    body += cluster::encode_shape(shape);
    bus_->ask(endpoint(node), Question::witness, body, [](const auto&) {});
  }
}

// By who leads the group, or says so: it must have a part in it, as far as we know.
void ClusterNode::serve_witness(const NodeBus::Asked& asked, Bytes body,
                                const NodeBus::OnAnswer& answer) {
  FieldReader in(body);
  GroupNumber group = 0;
  cluster::Member place = 0;
  if (!in.number(group) || !in.number(place) || place >= cluster::kMembersMax)
    return answer(Error{"this names no place"});
  if (!may_lead(topology().index_of(asked.id), group))
    return answer(Error{"this group is not known here, or not as the asker's"});
  const auto shape = cluster::decode_shape(in.rest());
  if (!shape || !cluster::check_shape(*shape, cluster::Durability::fsync) ||
      shape->places[place].id != record_.id || !shape->is_witness(place))
    return answer(Error{"this place is not ours"});
  if (is_left(dir_of("witness", group, place))) return answer(Error{std::string(kAskAgain)});
  if (const auto known = witnesses_.find(group); known != witnesses_.end()) {
    known->second->talk_to(*shape);
    if (known->second->place() == place) return answer(std::string());
    leave_witness(group);
  }
  log::notice("Cluster: this node is the witness of group {} from now on, at place {}", group,
              place);
  const NodePlace ours{.kind = NodePlace::Kind::witness,
                       .group = group,
                       .place = place,
                       .founder = false,
                       .dir = dir_of("witness", group, place)};
  record_.set_place(ours);
  begin_witness(ours, *shape, [](const Result<>& begun) {
    if (!begun) log::warning("Cluster: {}", begun.error());
  });
  save();
  answer(std::string());
}

void ClusterNode::leave_witness(GroupNumber group) {
  const auto known = witnesses_.find(group);
  std::erase_if(record_.places, [group](const NodePlace& one) {
    return one.kind == NodePlace::Kind::witness && one.group == group;
  });
  leave_part(std::move(known->second));
  witnesses_.erase(known);
}

// Whether we are left out only who leads can say: our log may be far behind, and once was without
// us.
void ClusterNode::follow_witnesses() {
  std::vector<GroupNumber> over;
  for (const auto& [number, witness] : witnesses_) {
    const auto group = topology().groups().find(number);
    if (group == topology().groups().end())
      over.push_back(number);
    else if (!witness->led())
      ask_whether_left(number, group->second.members);
  }
  for (const GroupNumber number : over) leave_witness(number);
  if (!over.empty()) save();
}

// All that are logs alone; the error of one of them.
void ClusterNode::end_logs(const host::OnDone& done) {
  struct Ends {
    size_t left = 1;
    std::string error;
  };
  const auto ends = std::make_shared<Ends>();
  const auto one = [ends, done](const Result<>& ended) {
    if (!ended) ends->error = ended.error();
    if (--ends->left == 0) done(ends->error.empty() ? Result<>() : Error{ends->error});
  };
  ends->left += witnesses_.size() + (keeper_ ? 1 : 0);
  for (auto& [number, witness] : witnesses_) witness->end(one);
  if (keeper_) keeper_->end(one);
  one({});
}

// Those that are over while the node goes on: another one could not end, or their disk failed.
void ClusterNode::begin_logs_again() {
  const auto told = [](const Result<>& begun) {
    if (!begun) log::warning("Cluster: {}", begun.error());
  };
  if (group_ && group_failed_ && !coming_) {
    group_failed_ = false;
    group_->start_again(group_started(told));
  }
  if (const NodePlace* place = record_.place_of(NodePlace::Kind::keeper);
      place && keeper_ && keeper_->over()) {
    keeper_->abandon();
    gone_.push_back(std::move(keeper_));
    begin_keeper(*place, {}, told);
  }
  for (const NodePlace& place : record_.places) {
    const auto known = witnesses_.find(place.group);
    if (place.kind != NodePlace::Kind::witness || known == witnesses_.end() ||
        !known->second->over())
      continue;
    gone_.push_back(std::move(known->second));
    begin_witness(place, {}, told);
  }
}

// --- parts that we have left -------------------------------------------------------------------

// Its place is no longer in the record.
void ClusterNode::leave_part(std::unique_ptr<LogMember> part) {
  dirs_left_.insert(part->part().dir);
  part->end([](const Result<>&) {});
  left_.push_back(std::move(part));
}

// Once a second: what is closed is freed, what could not be closed is tried again.
void ClusterNode::look_after_left() {
  gone_.clear();
  if (!ending_) begin_logs_again();
  std::erase_if(left_, [this](const std::unique_ptr<LogMember>& part) {
    if (!part->over()) return part->end([](const Result<>&) {}), false;
    remove_dir(part->part().dir);
    return true;
  });
  for (const auto& group : groups_left_)
    if (core_of(*group) && group->let_go()) remove_dir(group->part()->dir);
}

// The group goes on without its log, and the node's file must not name it any more.
void ClusterNode::remove_dir(const std::string& dir) {
  save_then([this, dir, alive = alive_] {
    if (!*alive) return;
    host::Disk& disk = server_.host().disk;
    const auto over = [this, dir, alive](const Result<>&) {
      if (*alive) dirs_left_.erase(dir);
    };
    disk.list(dir, [&disk, dir, over](const Result<std::vector<std::string>>& names) {
      if (!names) return over({});
      const auto left = std::make_shared<size_t>(names.value().size() + 1);
      const auto one = [&disk, dir, over, left](const Result<>&) {
        if (--*left == 0) disk.remove(dir, over);
      };
      for (const std::string& name : names.value()) disk.remove(dir + "/" + name, one);
      one({});
    });
  });
}

// --- g0 ----------------------------------------------------------------------------------------

// Who is alone governs itself.
void ClusterNode::start_keeper(const host::OnDone& done) {
  next_cluster_ = cluster_to_found();
  const NodePlace* place = record_.place_of(NodePlace::Kind::keeper);
  if (!topology().cluster_id().empty()) return place ? begin_keeper(*place, {}, done) : done({});
  record_.set_place({.kind = NodePlace::Kind::keeper, .founder = true, .dir = keeper_dir(0)});
  // Whoever finds what is agreed on there must know that it is there.
  save_then([this, done, id = record_.id, alive = alive_] {
    if (!*alive) return;
    const NodePlace* ours = record_.place_of(NodePlace::Kind::keeper);
    const bool still = ours && !keeper_ && record_.id == id && topology().cluster_id().empty();
    return still ? begin_keeper(*ours, {}, done) : done({});
  });
}

std::string ClusterNode::keeper_dir(cluster::Member place) const {
  const std::string& cluster = topology().cluster_id();
  return fmt::format("g0-{}-{}", (cluster.empty() ? next_cluster_ : cluster).substr(0, kNameDigits),
                     place);
}

void ClusterNode::begin_keeper(const NodePlace& place, const GroupShape& shape,
                               const host::OnDone& done) {
  GroupPart part = part_at(place);
  if (!place.founder) part.shape = shape;
  part.config.durability = cluster::Durability::fsync;
  part.config.log_keep_bytes = kKeeperLogBytes;
  keeper_ = std::make_unique<TopologyKeeper>(server_.bus_host(), std::move(part), record_.topology,
                                             record_.position, [this] { topology_changed(); });
  keeper_->start(done);
}

void ClusterNode::leave_keeper() {
  record_.drop_places(NodePlace::Kind::keeper);
  if (!keeper_) return;
  TopologyKeeper& keeper = *keeper_;
  leave_part(std::move(keeper_));
  keeper.abandon();
}

// Those hold the topology whom it names: we begin or end our part, and, where we lead, name others.
void ClusterNode::follow_governors() {
  if (topology().cluster_id().empty() || joining()) return;
  const bool governs = cluster::contains(topology().governors(), index_);
  if (keeper_ && !governs && keeper_->left_out() && !keeper_->core()->leads()) {
    log::notice("Cluster: this node no longer holds the topology");
    leave_keeper();
    save();
  }
  if (governs && (!keeper_ || !keeper_->led()))
    ask_for_place(kNoGroup, governor_to_ask(turns_[kNoGroup]++));
  if (keeper_ && !governs && !keeper_->led() && !topology().governors().empty())
    ask_whether_left(kNoGroup, topology().governors());
  consider_governors();
}

void ClusterNode::consider_governors() {
  if (!keeper_ || !keeper_->leads() || governors_right_ == topology().version()) return;
  governors_right_ = topology().version();
  const auto step = [this](const cluster::Topology& now) {
    return cluster::next_to_govern(now, dead_);
  };
  if (const auto next = step(topology()); !next || !next.value()) return;
  make_so(step, [this](const Result<>& changed) {
    if (!changed) governors_right_ = 0;
  });
}

void ClusterNode::take_governors_place(cluster::Member place, const GroupShape& shape) {
  if (!cluster::contains(topology().governors(), index_)) return;
  if (keeper_ && keeper_->place() == place) return keeper_->talk_to(shape);
  if (is_left(keeper_dir(place))) return;  // it is asked again
  leave_keeper();
  log::notice("Cluster: this node holds the topology from now on, at place {}", place);
  const NodePlace ours{.kind = NodePlace::Kind::keeper, .place = place, .dir = keeper_dir(place)};
  record_.set_place(ours);
  record_.position = {};
  begin_keeper(ours, shape, [](const Result<>& begun) {
    if (!begun) log::warning("Cluster: {}", begun.error());
  });
  save();
}

// --- others ------------------------------------------------------------------------------------

// Which place in the group is ours? The other one may know.
void ClusterNode::ask_for_place(GroupNumber group, NodeIndex other) {
  if (other == index_ || !asking_.insert(group).second) return;
  std::string body = topology().cluster_id();
  FieldWriter(body).number(group);
  bus_->ask(
      endpoint(other), Question::take_in, body,
      [this, group, alive = alive_, cluster = topology().cluster_id()](Result<std::string> answer) {
        if (!*alive) return;
        asking_.erase(group);
        if (answer && cluster == topology().cluster_id()) take_place(group, answer.value());
      });
}

// Nobody leads a group of ours that we can hear: it may go on without us, and no one told us.
void ClusterNode::ask_whether_left(GroupNumber group, const std::vector<NodeIndex>& of) {
  const NodeIndex other = of[turns_[group]++ % of.size()];
  if (other == index_ || !asking_.insert(group).second) return;
  std::string body = topology().cluster_id();
  FieldWriter(body).number(group);
  bus_->ask(endpoint(other), Question::take_in, body,
            [this, group, alive = alive_,
             cluster = topology().cluster_id()](const Result<std::string>& answer) {
              if (!*alive) return;
              asking_.erase(group);
              if (answer || answer.error() != kNotMember || cluster != topology().cluster_id())
                return;
              if (group == kNoGroup && !cluster::contains(topology().governors(), index_))
                leave_keeper();
              else if (witnesses_.count(group))
                leave_witness(group);
              save();
            });
}

void ClusterNode::take_place(GroupNumber group, Bytes answer) {
  FieldReader in(answer);
  cluster::Member place = 0;
  if (!in.number(place) || place >= cluster::kMembersMax) return;
  const auto shape = cluster::decode_shape(in.rest());
  if (!shape) return;
  if (group == kNoGroup) return take_governors_place(place, *shape);
  if (group != own_group_ || coming_ || !group_) return;
  if (held_group_ == group && group_->self() == place) return group_->talk_to(*shape);
  // Until the witness of it that we were is gone, its answers would be taken for ours.
  if (witnesses_.count(group)) {
    leave_witness(group);
    save();
  }
  if (is_left(dir_of("group", group, place))) return;  // it is asked again
  log::notice("Cluster: this node is a member of group {} from now on, at place {}", group, place);
  change_group({.kind = NodePlace::Kind::data,
                .group = group,
                .place = place,
                .founder = false,
                .dir = dir_of("group", group, place)},
               *shape);
}

// By whoever leads the group.
void ClusterNode::serve_take_in(const NodeBus::Asked& asked, Bytes body,
                                const NodeBus::OnAnswer& answer) const {
  FieldReader in(body);
  GroupNumber group = 0;
  if (!in.number(group)) return answer(Error{"this names no group"});
  const bool topology = group == kNoGroup && keeper_ && keeper_->leads();
  const bool data = group != kNoGroup && group == held_group_ && leads_held();
  if (!topology && !data) return answer(Error{std::string(kNotLeader)});
  const cluster::GroupCore& core = topology ? *keeper_->core() : *core_of(*group_);
  const auto place = core.shape().place_of(asked.id);
  if (!core.shape_settled()) return answer(Error{std::string(kAskAgain)});
  if (!place) return answer(Error{std::string(kNotMember)});
  // The witness that is to have the data is no member for a moment, then comes with another place.
  const NodeIndex asker = this->topology().index_of(asked.id);
  const auto known = this->topology().groups().find(group);  // its log may outlive it
  if (data && core.shape().is_witness(*place) && known != this->topology().groups().end() &&
      cluster::contains(known->second.members, asker))
    return answer(Error{std::string(kAskAgain)});
  std::string bytes;
  FieldWriter(bytes).number(*place);
  answer(bytes + cluster::encode_shape(core.shape()));
}

// A connection to one of our groups.
void ClusterNode::take_member(std::unique_ptr<host::Peer> peer, Bytes received) {
  const auto preamble = cluster::decode_preamble(received);
  if (preamble && keeper_ && preamble->config == keeper_->config_hash())
    return keeper_->take(std::move(peer), received);
  if (preamble && group_ && preamble->config == GroupPart::config_hash(group_->part()->group_name))
    return group_->take(std::move(peer), received);
  for (auto& [number, witness] : witnesses_)
    if (preamble && preamble->config == witness->config_hash())
      return witness->take(std::move(peer), received);
  peer->close();
}

}  // namespace quoll::server
