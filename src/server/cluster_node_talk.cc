// ClusterNode: what nodes ask each other, and changes of the topology step by step.
#include <fmt/format.h>
#include <xxhash.h>

#include "base/text.h"
#include "cluster/group_frames.h"
#include "server/cluster_documents.h"
#include "server/cluster_node.h"
#include "server/forwarding.h"
#include "server/log.h"
#include "server/rebalancer.h"
#include "server/server.h"
#include "server/slot_imports.h"
#include "server/slot_moves.h"

namespace quoll::server {

using base::Bytes;
using base::Error;
using base::Result;
using cluster::FieldReader;
using cluster::FieldWriter;
using cluster::kNodeIdBytes;
using cluster::kNoGroup;
using cluster::kNoNode;
using cluster::NodeBus;
using cluster::NodeIndex;
using cluster::Question;

namespace {

constexpr char kWholeTopology = 'T';
constexpr char kTopologyChanges = 'C';

// An error reply begins with a code.
std::string as_reply(const std::string& error) {
  return error.starts_with("ERR ") ? error : "ERR " + error;
}

}  // namespace

// A change under way: its step is asked, what it says is proposed, and so on.
struct ClusterNode::Effort {
  Step step;
  host::OnDone done;
  base::Millis until = 0;
  bool founds = false;  // our own cluster
  size_t governor = 0;  // which one is asked next
  std::string error;    // of the last try
  std::string cluster;  // whose topology it is about; "": not looked at yet
};

host::Endpoint ClusterNode::endpoint_of(const cluster::NodeAddress& address) {
  using Family = host::Endpoint::Family;
  return {address.v6 ? Family::ipv6 : Family::ipv4, address.host(), address.port};
}

host::Endpoint ClusterNode::endpoint(NodeIndex node) const {
  const cluster::TopologyMember* member = topology().find(node);
  if (!member) return {};
  // It may have moved since.
  const GossipNode* heard = gossip_ ? gossip_->find(node) : nullptr;
  const bool moved = heard && heard->address_incarnation > member->incarnation;
  return endpoint_of(moved ? heard->address : member->bus);
}

void ClusterNode::ask(NodeIndex node, Question question, const std::string& body,
                      NodeBus::OnAnswer done, base::Millis within) {
  if (!topology().find(node))
    return done(Error{std::string(cluster::kUnheard) + "the node is no member any more"});
  bus_->ask(endpoint(node), question, topology().cluster_id() + body, std::move(done), within);
}

// --- changes -----------------------------------------------------------------------------------

void ClusterNode::make_so(Step step, host::OnDone done) {
  begin_effort(std::move(step), false, std::move(done));
}

void ClusterNode::begin_effort(Step step, bool founds, host::OnDone done) {
  auto effort = std::make_shared<Effort>();
  effort->founds = founds;
  effort->step = std::move(step);
  effort->done = std::move(done);
  effort->until = steady_ms() + kStepsMs;
  effort->governor = governor_turn_;
  step_on(effort);
}

void ClusterNode::step_on(const std::shared_ptr<Effort>& effort) {
  // Others wait for a founding to be complete, be it that a restart is still reading about it.
  if ((founding_ || !founded()) && !effort->founds)
    return step_again(effort, "the cluster is being founded");
  if (effort->cluster.empty()) effort->cluster = topology().cluster_id();
  if (effort->cluster != topology().cluster_id())
    return effort->done(Error{"ERR The node is of another cluster now"});
  cluster::NextStep next = effort->step(topology());
  if (!next) return effort->done(Error{as_reply(next.error())});
  if (!next.value()) return effort->done({});
  const auto proposed = [this, effort, alive = alive_](Result<> result) {
    if (!*alive) return;
    if (result) return step_on(effort);
    step_again(effort, result.error());
  };
  if (keeper_ && keeper_->leads()) return keeper_->propose(*next.value(), proposed);
  if (topology().cluster_id().empty()) return step_again(effort, "the cluster is being founded");
  propose_afar(effort, next.value()->encode());
}

// Those who hold the topology; but when all whom it names are new to that, somebody else still
// does.
NodeIndex ClusterNode::governor_to_ask(size_t turn) const {
  const auto& named = topology().governors();
  const size_t first = 2 * named.size();
  turn %= first + indexes_.size();
  return turn < first ? named[turn % named.size()] : indexes_[turn - first];
}

void ClusterNode::propose_afar(const std::shared_ptr<Effort>& effort, const std::string& change) {
  const auto& governors = topology().governors();
  if (governors.empty()) return step_again(effort, "nobody holds the topology");
  const NodeIndex governor = governor_to_ask(effort->governor);
  if (governor == index_) {
    ++effort->governor;
    return step_again(effort, "nobody leads those who hold the topology");
  }
  const host::Endpoint to = endpoint(governor);
  bus_->ask(to, Question::propose, topology().cluster_id() + change,
            [this, effort, to, alive = alive_](Result<std::string> answer) {
              if (!*alive) return;
              const std::string error = answer ? "" : answer.error();
              if (answer)
                governor_turn_ = effort->governor;
              else
                ++effort->governor;
              // Who does not answer has no news either: the next one is asked for them.
              const NodeIndex next = governor_to_ask(effort->governor);
              const bool unheard = error.starts_with(cluster::kUnheard);
              if (unheard || (!answer && next == index_)) return step_again(effort, error);
              pull(answer ? to : endpoint(next),
                   [this, effort, error, alive = alive_](const Result<>&) {
                     if (!*alive) return;
                     if (error.empty()) return step_on(effort);
                     step_again(effort, error);
                   });
            });
}

void ClusterNode::step_again(const std::shared_ptr<Effort>& effort, const std::string& error) {
  effort->error = error;
  if (steady_ms() >= effort->until)
    return effort->done(Error{"ERR The cluster could not be changed: " + error});
  server_.host().loop.after(kStepAgainMs * base::kNanosPerMilli, [this, effort, alive = alive_] {
    if (*alive) step_on(effort);
  });
}

// Keeps the outcome for the session's command, and runs that again.
host::OnDone ClusterNode::told(SessionId id) {
  const uint64_t number = ++asks_;
  asked_[id] = {number, {}};
  const auto waiting = [this, id, number]() -> Asking* {
    const auto found = asked_.find(id);
    return found == asked_.end() || found->second.number != number ? nullptr : &found->second;
  };
  return [this, id, waiting](Result<> result) {
    Asking* asking = waiting();
    if (!asking) return;
    asking->outcome = std::move(result);
    server_.host().loop.post([this, id, waiting, alive = alive_] {
      if (!*alive || !waiting()) return;
      Session* session = server_.find_session(id);
      if (session && session->parked()) session->run_again();
      // Nobody has taken it: its client is gone, or does not wait for it any more.
      if (*alive && waiting()) asked_.erase(id);
    });
  };
}

void ClusterNode::begin(const Session& session, Step step) {
  make_so(std::move(step), told(session.id));
}

// Others forget us first, if we still are a member.
void ClusterNode::begin_reset(const Session& session) {
  const host::OnDone done = told(session.id);
  if (alone()) return reset(done);
  make_so(
      [id = record_.id](const cluster::Topology& now) { return cluster::next_to_forget(now, id); },
      [this, done](Result<> forgotten) {
        if (!forgotten) return done(std::move(forgotten));
        reset(done);
      });
}

std::optional<Result<>> ClusterNode::take(SessionId session) {
  const auto waits = asked_.find(session);
  if (waits == asked_.end() || !waits->second.outcome) return {};
  std::optional<Result<>> outcome = std::move(waits->second.outcome);
  asked_.erase(waits);
  return outcome;
}

bool ClusterNode::has_outcome(SessionId session) const {
  const auto waits = asked_.find(session);
  return waits != asked_.end() && waits->second.outcome;
}

void ClusterNode::cancel(SessionId session) { asked_.erase(session); }

// --- questions ---------------------------------------------------------------------------------

// Of nodes of our cluster: the body begins with its id.
bool ClusterNode::ours(Bytes& body) const {
  if (topology().cluster_id().empty() || !body.starts_with(topology().cluster_id())) return false;
  body.remove_prefix(kNodeIdBytes);
  return true;
}

void ClusterNode::serve(const NodeBus::Asked& asked, NodeBus::OnAnswer answer) {
  if (asked.question == Question::join) return serve_join(asked, std::move(answer));
  if (asked.question == Question::invite) return serve_invite(asked, answer);
  if (asked.question == Question::probe) return answer(record_.id);
  if (asked.question == Question::recall) return serve_recall(asked, answer);
  Bytes body = asked.body;
  if (!ours(body)) return answer(Error{std::string(kOfAnother)});
  switch (asked.question) {
    case Question::propose:
      return serve_propose(body, std::move(answer));
    case Question::pull:
      return serve_pull(body, answer);
    case Question::news:
      return serve_news(asked, answer);
    case Question::slot_drop:
    case Question::slot_keys:
    case Question::slot_count:
    case Question::slot_adopt:
    case Question::slot_unit:
      return moves_->serve(asked.question, topology().index_of(asked.id), body, std::move(answer));
    case Question::slot_take:
    case Question::slot_state:
    case Question::slot_stop:
      return imports_->serve(asked.question, topology().index_of(asked.id), body, answer);
    case Question::run:
      return forwarding_->serve(asked, body, std::move(answer));
    case Question::take_in:
      return serve_take_in(asked, body, answer);
    case Question::publish:
      if (topology().index_of(asked.id) == kNoNode) return answer(Error{std::string(kRefused)});
      if (!server_.publications().receive(body)) log::warning("Cluster: a node sent no messages");
      return answer(std::string());
    case Question::witness:
      return serve_witness(asked, body, answer);
    case Question::hands_off:
      rebalancer_->hands_off();
      return answer(std::string());
    default:
      answer(Error{"this node does not answer that"});
  }
}

// By who leads the governors; others pass it on, once.
void ClusterNode::serve_join(const NodeBus::Asked& asked, NodeBus::OnAnswer answer) {
  auto claim = cluster::NodeClaim::decode(asked.body);
  if (!claim) return answer(Error{"this is no node's description"});
  if (may_be_elsewhere() || (joining() && claim->member.id > record_.id))
    return answer(Error{std::string(kAskAgain) + ": this node is joining a cluster itself"});
  if (topology().cluster_id().empty())
    return answer(Error{std::string(kAskAgain) + ": the cluster is being founded"});
  if (claim->member.bus.unknown())
    if (auto seen = cluster::parse_node_address(asked.address, claim->member.bus.port))
      claim->member.bus = *seen;
  // Where it found us is our address, if we do not know it.
  cluster::NodeClaim own = this->claim();
  if (own.member.bus.unknown())
    if (auto found = cluster::parse_node_address(asked.own_address, own.member.bus.port)) {
      own.member.bus = *found;
      own.member.incarnation = ++record_.incarnation;
    }
  make_so(
      [own, claim = *claim](const cluster::Topology& now) {
        cluster::NextStep next = cluster::next_to_announce(now, own);
        return !next || next.value() ? next : cluster::next_to_join(now, claim);
      },
      [this, answer = std::move(answer), alive = alive_](Result<> joined) {
        if (!*alive) return;
        if (!joined) return answer(Error{joined.error()});
        answer(topology().encode());
      });
}

void ClusterNode::serve_invite(const NodeBus::Asked& asked, const NodeBus::OnAnswer& answer) {
  auto claim = cluster::NodeClaim::decode(asked.body);
  if (!claim) return answer(Error{"this is no node's description"});
  if (topology().index_of(claim->member.id) != kNoNode) return answer(std::string());
  if (!alone() || server_.store().keys(0) > 0)
    return answer(
        Error{std::string(kRefused) + ": a node that has keys or a cluster joins no other"});
  if (claim->member.bus.unknown())
    if (auto seen = cluster::parse_node_address(asked.address, claim->member.bus.port))
      claim->member.bus = *seen;
  answer(std::string());
  meet(claim->member.bus.host(), claim->member.bus.port);
}

void ClusterNode::serve_propose(Bytes body, NodeBus::OnAnswer answer) {
  const auto change = cluster::TopologyChange::decode(body);
  if (!change) return answer(Error{"this is no change of the topology"});
  if (!keeper_ || !keeper_->leads()) return answer(Error{std::string(kNotLeader)});
  keeper_->propose(*change, [answer = std::move(answer)](Result<> applied) {
    if (!applied) return answer(Error{applied.error()});
    answer(std::string());
  });
}

void ClusterNode::serve_pull(Bytes body, const NodeBus::OnAnswer& answer) {
  FieldReader in(body);
  cluster::TopologyVersion since = 0;
  if (!in.number(since)) return answer(Error{"this asks for no version"});
  if (auto changes = topology().delta(since)) return answer(kTopologyChanges + *changes);
  answer(kWholeTopology + topology().encode());
}

void ClusterNode::pull(const host::Endpoint& from, host::OnDone done) {
  std::string body = topology().cluster_id();
  FieldWriter(body).number(topology().version());
  bus_->ask(from, Question::pull, body,
            [this, done = std::move(done), alive = alive_](Result<std::string> answer) {
              if (!*alive) return;
              if (!answer) return done(Error{answer.error()});
              done(take_topology(answer.value()));
            });
}

// A governor's topology is made by its log, not by what others tell, while there is somebody who
// sends it entries.
Result<> ClusterNode::take_topology(Bytes answer) {
  if (answer.empty()) return Error{"this is no topology"};
  if (keeper_ && keeper_->led() && cluster::contains(topology().governors(), index_)) return {};
  const char kind = answer[0];
  answer.remove_prefix(1);
  const cluster::TopologyVersion before = topology().version();
  if (kind == kTopologyChanges) {
    if (auto taken = record_.topology.apply_delta(answer); !taken) return taken;
  } else {
    auto whole = cluster::Topology::decode(answer);
    if (!whole) return Error{whole.error()};
    const cluster::Topology& other = whole.value();
    if (other.cluster_id() != topology().cluster_id()) return Error{"this is another cluster's"};
    if (other.version() <= before) return {};
    record_.topology = std::move(whole.value());
  }
  if (topology().version() != before) topology_changed();
  return {};
}

// --- news --------------------------------------------------------------------------------------

//   cluster40 version8 hash8 then per group whose leader is known: group2 node2 epoch8
std::string ClusterNode::news(bool with_leaders) const {
  std::string bytes = topology().cluster_id();
  FieldWriter out(bytes);
  out.number(topology().version()).number(leaders_hash());
  if (with_leaders)
    for (const auto& [group, leader] : leaders_)
      out.number(group).number(leader.node).number(leader.epoch);
  return bytes;
}

uint64_t ClusterNode::leaders_hash() const {
  std::string bytes;
  FieldWriter out(bytes);
  for (const auto& [group, leader] : leaders_)
    out.number(group).number(leader.node).number(leader.epoch);
  return XXH3_64bits(bytes.data(), bytes.size());
}

// Who leaves a group may lead it for a while.
bool ClusterNode::may_lead(NodeIndex node, cluster::GroupNumber number) const {
  const auto group = topology().groups().find(number);
  return group != topology().groups().end() && (cluster::contains(group->second.members, node) ||
                                                cluster::contains(group->second.holders, node));
}

// The later epoch's leader is the group's.
bool ClusterNode::take_news(Bytes body, uint64_t& version, uint64_t& hash) {
  FieldReader in(body);
  if (!in.number(version) || !in.number(hash)) return false;
  bool changed = false;
  while (!in.empty()) {
    cluster::GroupNumber group;
    Leader told;
    if (!in.number(group) || !in.number(told.node) || !in.number(told.epoch)) return false;
    if (!may_lead(told.node, group)) continue;
    Leader& known = leaders_[group];
    if (told.epoch <= known.epoch && known.node != kNoNode) continue;
    known = told;
    changed = true;
  }
  if (changed) server_.redirect_blocked();
  return true;
}

void ClusterNode::serve_news(const NodeBus::Asked& asked, const NodeBus::OnAnswer& answer) {
  uint64_t version = 0, hash = 0;
  if (!take_news(asked.body.substr(kNodeIdBytes), version, hash))
    return answer(Error{"this is no news"});
  answer(news(hash != leaders_hash()).substr(kNodeIdBytes));
  const NodeIndex from = topology().index_of(asked.id);
  if (version <= topology().version() || pulling_ || from == kNoNode) return;
  pulling_ = true;
  pull(endpoint(from), [this, alive = alive_](const Result<>&) {
    if (*alive) pulling_ = false;
  });
}

void ClusterNode::catch_up() {
  const auto& governors = topology().governors();
  if (pulling_ || governors.empty()) return;
  const NodeIndex from = governors[server_.host().random.draw() % governors.size()];
  if (from == index_) return;
  pulling_ = true;
  pull(endpoint(from), [this, alive = alive_](const Result<>&) {
    if (*alive) pulling_ = false;
  });
}

void ClusterNode::tell(NodeIndex node) {
  if (!topology().find(node)) return;
  const bool complete = told_epoch_ != 0 && leaders_.size() == 1;
  bus_->ask(endpoint(node), Question::news, news(complete),
            [this, node, alive = alive_](Result<std::string> answer) {
              if (!*alive) return;
              if (!answer) return answer.error() == kOfAnother ? call_in(node) : void();
              uint64_t version = 0, hash = 0;
              if (!take_news(answer.value(), version, hash) || !topology().find(node)) return;
              if (hash != leaders_hash())
                bus_->ask(endpoint(node), Question::news, news(true), [](const auto&) {});
              if (version > topology().version()) pull(endpoint(node), [](const auto&) {});
            });
}

// A member that does not know that it is one: it never heard that it was let in, or could not save
// it, and has been started anew since. It is the one, not another node that has its address now.
void ClusterNode::call_in(NodeIndex node) {
  bus_->ask(endpoint(node), Question::probe, {},
            [this, node, alive = alive_](const Result<std::string>& id) {
              if (!*alive || !id || topology().index_of(id.value()) != node) return;
              bus_->ask(endpoint(node), Question::recall, topology().encode(), [](const auto&) {});
            });
}

void ClusterNode::serve_recall(const NodeBus::Asked& asked, const NodeBus::OnAnswer& answer) {
  // Who was let in and does not know it has made nothing of the cluster that it founded since.
  if (own_group_ != kNoGroup && !cluster::slots_of(topology(), own_group_).empty())
    return answer(Error{std::string(kRefused) + ": a node that has slots joins no other cluster"});
  const Result<> adopted = adopt(asked.body);
  if (!adopted) return answer(Error{adopted.error()});
  answer(std::string());
}

void ClusterNode::learn_from(NodeIndex node, host::OnDone done) {
  if (!topology().find(node)) return done(Error{"the node is no member any more"});
  bus_->ask(endpoint(node), Question::news, news(false),
            [this, node, done = std::move(done), alive = alive_](Result<std::string> answer) {
              if (!*alive) return;
              if (!answer) return done(Error{answer.error()});
              uint64_t version = 0, hash = 0;
              if (!take_news(answer.value(), version, hash)) return done(Error{"no news"});
              if (version <= topology().version() || !topology().find(node)) return done({});
              pull(endpoint(node), done);
            });
}

void ClusterNode::tell_everybody() {
  const std::string body = news(true);
  for (const NodeIndex node : indexes_)
    if (node != index_) bus_->ask(endpoint(node), Question::news, body, [](const auto&) {});
}

// --- joining -----------------------------------------------------------------------------------

void ClusterNode::meet(const std::string& host, uint16_t bus_port) {
  const bool known = std::ranges::any_of(
      meetings_, [&](const Meeting& one) { return one.host == host && one.bus_port == bus_port; });
  if (known || meetings_.size() >= kMeetingsMax) return;
  meetings_.push_back({host, bus_port, steady_ms() + kMeetMs});
  try_meeting();
}

// A name may have addresses of one kind only: every other try is for IPv6.
host::Endpoint ClusterNode::endpoint_of(const Meeting& meeting) {
  if (const auto bus = cluster::parse_node_address(meeting.host, meeting.bus_port))
    return endpoint_of(*bus);
  using Family = host::Endpoint::Family;
  return {meeting.tries % 2 ? Family::ipv6 : Family::ipv4, meeting.host, meeting.bus_port};
}

// One after the other: who has joined one cluster does not join another, but invites. Who is alone
// and has nothing asks to join; else the other one is invited to.
void ClusterNode::try_meeting() {
  if (meetings_.empty() || meeting_asked_) return;
  meeting_asked_ = true;
  const bool joins = alone() && server_.store().keys(0) == 0;
  bus_->ask(endpoint_of(meetings_.front()), joins ? Question::join : Question::invite,
            claim().encode(), [this, joins, alive = alive_](const Result<std::string>& answer) {
              if (*alive) meeting_answered(joins, answer);
            });
}

// One that may succeed later takes its turn behind the others. But who may have been let in without
// hearing of it asks there again first: that cluster would have a member that is in another one.
void ClusterNode::meeting_answered(bool joins, const Result<std::string>& answer) {
  meeting_asked_ = false;
  Meeting meeting = meetings_.front();
  meetings_.pop_front();
  ++meeting.tries;
  if (answer) {
    const Result<> done = joins ? adopt(answer.value()) : Result<>();
    if (!done) log::warning("Cluster: {}", done.error());
    return try_meeting();
  }
  const bool final = answer.error().starts_with(kRefused) || steady_ms() >= meeting.until ||
                     answer.error().find("was removed") != std::string::npos;
  meeting.open = joins && !answer.error().starts_with(cluster::kUnheard) &&
                 !answer.error().starts_with(kAskAgain);
  if (final)
    log::warning("Cluster: the node at {}:{} could not be met: {}", meeting.host, meeting.bus_port,
                 answer.error());
  else if (meeting.open)
    meetings_.push_front(meeting);
  else
    meetings_.push_back(meeting);
  // Two that ask each other do not do so at the same instants for ever.
  const auto jitter = static_cast<base::Millis>(server_.host().random.draw() % kMeetAgainMs);
  server_.host().loop.after((kMeetAgainMs + jitter) * base::kNanosPerMilli, [this, alive = alive_] {
    if (*alive) try_meeting();
  });
}

// The topology of the cluster we have joined is ours from now on.
Result<> ClusterNode::adopt(Bytes bytes) {
  auto other = cluster::Topology::decode(bytes);
  if (!other) return Error{other.error()};
  const NodeIndex index = other.value().index_of(record_.id);
  if (index == kNoNode) return Error{"we are no member after all"};
  if (other.value().cluster_id() == topology().cluster_id()) return {};
  if (!alone()) return Error{"a node that has a cluster joins no other"};
  // Keys that were written while we asked are in slots that we claimed.
  const cluster::GroupNumber group = cluster::group_of(other.value(), index);
  for (unsigned slot = 0; slot < kSlots; ++slot)
    if (server_.store().keys_in_slot(0, slot) > 0 && other.value().owner(slot) != group)
      return Error{fmt::format("slot {} has keys here, and is another node's there", slot)};
  leave_keeper();
  documents_->joins();
  record_.topology = std::move(other.value());
  record_.position = {};
  gossip_.reset();
  record_.place_of(NodePlace::Kind::data)->group = kNoGroup;
  turns_.clear();
  leaders_.clear();
  told_epoch_ = 0;
  log::notice("Cluster: joined {} of {} nodes", topology().cluster_id(),
              topology().members().size());
  refresh();
  save();
  return {};
}

}  // namespace quoll::server
