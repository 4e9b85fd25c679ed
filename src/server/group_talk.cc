// ReplicaGroup: the connections to the other members, and what is said on them.
#include <fmt/format.h>

#include "server/group.h"
#include "server/log.h"
#include "server/server.h"

namespace quoll::server {

using cluster::kNoMember;
using cluster::Member;

void ReplicaGroup::follow_links() {
  if (!part_) return;
  if (part_->forget_told(core_->shape(), core_->leader())) links_due_ = true;
  if (!links_due_) return;
  const bool settled = core_->shape_settled();
  links_due_ = !settled && !core_->shape().unknown();
  part_->link(*links_, core_->shape(), settled);
}

void ReplicaGroup::take(std::unique_ptr<host::Peer> peer, base::Bytes received) {
  if (!links_ || ending_) return peer->close();
  links_->take(std::move(peer), received);
}

void ReplicaGroup::talk_to(const cluster::GroupShape& shape) {
  if (part_ && part_->take_told(shape)) links_due_ = true;
}

void ReplicaGroup::rename(std::string group_name) {
  if (!part_ || part_->group_name == group_name) return;
  part_->group_name = std::move(group_name);
  if (links_)
    links_ = std::make_unique<cluster::GroupLinks>(server_.bus_host(), link_options(), *this);
  links_due_ = true;
}

void ReplicaGroup::send(Member to, const cluster::GroupMessage& message) {
  std::string head;
  cluster::encode_message(message, head);
  links_->send(to, head, message.entries);
}

// One that is not connected has nobody who could hear it, or finds another leader.
PublicationRoute::Told ReplicaGroup::tell_others(PubSub::Kind, base::Bytes batch) {
  Told told;
  if (!links_) return told;
  std::string head;
  cluster::begin_frame(cluster::FrameType::publications, batch.size(), head);
  for (Member m = 0; m < members_.size(); ++m) {
    if (m == config_.self || !links_->up(m)) continue;
    if (links_->waiting_bytes(m) + batch.size() > kPublicationsUnsentMax) {
      ++told.slow;
      continue;
    }
    links_->send(m, head, batch);
    ++told.nodes;
  }
  return told;
}

void ReplicaGroup::update_members() {
  for (Member m = 0; m < members_.size(); ++m) {
    ClusterMember& member = members_[m];
    if (m == config_.self) {
      if (core_) member.position = core_->last().index;
      continue;
    }
    member.connected = links_ && links_->up(m);
    member.unsent_bytes = links_ ? links_->waiting_bytes(m) : 0;
    if (!member.connected)
      member.connected_ms = 0;
    else if (member.connected_ms == 0)
      member.connected_ms = server_.now();
    if (core_ && core_->leads()) member.position = core_->match(m);
  }
}

void ReplicaGroup::link_up(const cluster::Preamble& preamble) {
  const Member member = preamble.from;
  if (member >= members_.size()) members_.resize(member + size_t{1});
  members_[member].id = preamble.id;
  members_[member].tls_port = preamble.tls_port;
  core_->linked(member, preamble.id);
  log::verbose("Group: connected to member {} ({}:{})", member, members_[member].host,
               members_[member].port);
}

void ReplicaGroup::link_down(Member member) {
  log::verbose("Group: lost the connection to member {}", member);
  core_->unlinked(member);
  if (sending_[member])
    sending_[member]->failure = "the connection ended";
  else
    core_->sync_ended(member);  // if it has taken them, it will say so by its log
  if (incoming_ && incoming_->from == member && !incoming_->placing)
    give_up_incoming("the connection ended");
}

bool ReplicaGroup::link_frame(Member member, cluster::FrameType type, base::Bytes body) {
  using enum cluster::FrameType;
  const bool coming = incoming_ && incoming_->from == member && !incoming_->over;
  switch (type) {
    case sync_begin:
      return incoming_begins(member, body);
    case sync_data:
      return !coming || incoming_bytes(body);
    case sync_end:
      if (coming) return incoming_ends(body);
      if (incoming_ && incoming_->from == member && incoming_->placing) return true;
      // The beginning was not for us, then, or we had not yet heard who leads.
      if (core_->leader() == member || core_->leader() == kNoMember) want_data();
      return true;
    case sync_taken:
      core_->sync_ended(member);
      return true;
    case need_data:
      if (core_->leads()) send_all(member);
      return true;
    case need_slots:
      return slots_wanted(member, body);
    case slot_digests:
      return slots_told(member, body);
    case publications:
      return server_.publications().receive(body);
    case need_keys:
      answer_keys(member, body);
      return true;
    case keys: {
      if (core_->leader() != member) return true;
      cluster::FieldReader in(body);
      uint64_t number;
      KeyAnswer answer;
      if (!in.number(number) || !in.position(answer.at)) return false;
      if (number != ask_number_) return true;
      answer.epoch = core_->epoch();
      answer.body = in.rest();
      answer_ = std::move(answer);
      return true;
    }
    default:
      break;
  }
  cluster::GroupMessage message;
  if (!cluster::decode_message(type, body, message)) return false;
  const base::Result<> heard = core_->receive(member, message, steady_ms());
  return heard || refuse(member, heard.error());
}

// What no member says: its connection ends.
bool ReplicaGroup::refuse(Member from, const std::string& why) {
  log::warning("Group: what member {} sends is refused: {}", from, why);
  return false;
}

void ReplicaGroup::link_trouble(const std::string& text) { log::warning("Group: {}", text); }

}  // namespace quoll::server
