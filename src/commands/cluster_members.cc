// The members of the cluster in Redis's forms: the leader is the master of all slots, the other
// members are its replicas, and a witness is a replica that never takes over and that clients do
// not hear of.
#include <fmt/format.h>

#include <algorithm>

#include "base/sha256.h"
#include "commands/cluster_family.h"
#include "server/server.h"

namespace quoll::commands::clusters {

using namespace server;

namespace {

constexpr unsigned kLastSlot = kSlots - 1;
constexpr size_t kIdDigits = 40;

// The group as the session that asks is to see it.
class Picture {
 public:
  explicit Picture(const Call& call)
      : view_(*call.server.cluster()), settings_(call.server.settings()), session_(call.session) {}

  size_t size() const { return view_.members().size(); }
  const ClusterMember& at(size_t place) const { return view_.members()[place]; }
  bool led() const { return view_.leader() < size(); }
  bool leads(size_t place) const { return place == view_.leader(); }
  bool is_self(size_t place) const { return place == view_.self(); }
  uint64_t epoch() const { return view_.epoch(); }
  bool serving() const { return led() && (!is_self(view_.leader()) || view_.serves()); }
  size_t leader() const { return view_.leader(); }

  // A member nobody has heard of has no name yet; those that list members still tell them apart.
  bool known(size_t place) const { return !at(place).id.empty(); }
  std::string id(size_t place) const {
    return known(place) ? at(place).id : fmt::format("{:0{}x}", place, kIdDigits);
  }
  // By which the client reaches it: our own address, when nobody announces one, is the one that the
  // client has used.
  std::string host(size_t place) const {
    if (!at(place).host.empty() || !is_self(place)) return at(place).host;
    if (session_.peer().is_unix()) return {};
    std::string address = session_.peer().local_address();
    address.resize(std::min(address.rfind(':'), address.size()));
    if (address.starts_with('[')) address = address.substr(1, address.size() - 2);
    return address;
  }
  uint16_t port(size_t place) const { return ClusterView::port_for(session_, at(place)); }
  std::string hostname(size_t place) const {
    return is_self(place) ? settings_.cluster_announce_hostname : std::string();
  }
  // The members clients may read from, the leader first.
  std::vector<size_t> readable() const {
    std::vector<size_t> places;
    if (led() && known(leader())) places.push_back(leader());
    for (size_t place = 0; place < size(); ++place)
      if (!leads(place) && !at(place).witness && known(place)) places.push_back(place);
    return places;
  }

  EndpointType endpoint_type() const { return settings_.cluster_preferred_endpoint_type; }

 private:
  const ClusterView& view_;
  const Settings& settings_;
  const Session& session_;
};

void reply_endpoint(wire::ReplyWriter& reply, const Picture& picture, size_t place) {
  switch (picture.endpoint_type()) {
    case EndpointType::ip:
      return reply.bulk(picture.host(place));
    case EndpointType::hostname: {
      const std::string name = picture.hostname(place);
      return reply.bulk(name.empty() ? Bytes("?") : Bytes(name));
    }
    case EndpointType::unknown_endpoint:
      return reply.null();
  }
}

// How else it may be reached.
void reply_networking(wire::ReplyWriter& reply, const Picture& picture, size_t place) {
  const bool with_ip = picture.endpoint_type() != EndpointType::ip;
  const std::string hostname = picture.hostname(place);
  const bool with_name = picture.endpoint_type() != EndpointType::hostname && !hostname.empty();
  reply.map(static_cast<size_t>(with_ip) + static_cast<size_t>(with_name));
  if (with_ip) {
    reply.bulk("ip");
    reply.bulk(picture.host(place));
  }
  if (with_name) {
    reply.bulk("hostname");
    reply.bulk(hostname);
  }
}

void reply_slot_member(wire::ReplyWriter& reply, const Picture& picture, size_t place) {
  reply.array(4);
  reply_endpoint(reply, picture, place);
  reply.integer(picture.port(place));
  reply.bulk(picture.id(place));
  reply_networking(reply, picture, place);
}

void reply_shard_member(wire::ReplyWriter& reply, const Picture& picture, size_t place) {
  const ClusterMember& member = picture.at(place);
  const std::string hostname = picture.hostname(place);
  const bool leads = picture.leads(place);
  reply.map((hostname.empty() ? 7u : 8u) + (member.tls_port ? 1u : 0u));
  reply.bulk("id");
  reply.bulk(picture.id(place));
  reply.bulk("port");
  reply.integer(member.port);
  if (member.tls_port) {
    reply.bulk("tls-port");
    reply.integer(member.tls_port);
  }
  reply.bulk("ip");
  reply.bulk(picture.host(place));
  reply.bulk("endpoint");
  if (picture.endpoint_type() == EndpointType::unknown_endpoint)
    reply.bulk({});  // Redis says null in SLOTS only
  else
    reply_endpoint(reply, picture, place);
  if (!hostname.empty()) {
    reply.bulk("hostname");
    reply.bulk(hostname);
  }
  reply.bulk("role");
  reply.bulk(leads ? "master" : "replica");
  reply.bulk("replication-offset");
  reply.integer(static_cast<int64_t>(member.position));
  reply.bulk("health");
  reply.bulk(!member.connected ? "fail" : !leads && member.position == 0 ? "loading" : "online");
}

std::string flags_of(const Picture& picture, size_t place) {
  const ClusterMember& member = picture.at(place);
  std::string flags = picture.is_self(place) ? "myself," : "";
  flags += picture.leads(place) ? "master" : "slave";
  if (!member.connected) flags += ",fail";
  if (!picture.known(place)) flags += ",handshake";
  if (member.witness) flags += ",nofailover";
  return flags;
}

// <id> <ip:port@cport[,hostname]> <flags> <master> <ping> <pong> <epoch> <link> <slot> ...
std::string line_of(const Picture& picture, size_t place) {
  const ClusterMember& member = picture.at(place);
  std::string hostname = picture.hostname(place);
  if (!hostname.empty()) hostname.insert(0, 1, ',');
  const bool follows = picture.led() && !picture.leads(place);
  return fmt::format("{} {}:{}@{}{} {} {} 0 0 {} {}{}", picture.id(place), picture.host(place),
                     picture.port(place), member.bus_port, hostname, flags_of(picture, place),
                     follows ? picture.id(picture.leader()) : "-", picture.epoch(),
                     member.connected ? "connected" : "disconnected",
                     picture.leads(place) ? fmt::format(" 0-{}", kLastSlot) : "");
}

}  // namespace

void cluster_info(Call& call) {
  const Picture picture(call);
  const bool ok = picture.serving();
  const ClusterView::Traffic traffic = call.server.cluster()->traffic();
  call.reply.verbatim(
      fmt::format("cluster_state:{}\r\n"
                  "cluster_slots_assigned:{}\r\n"
                  "cluster_slots_ok:{}\r\n"
                  "cluster_slots_pfail:0\r\n"
                  "cluster_slots_fail:{}\r\n"
                  "cluster_known_nodes:{}\r\n"
                  "cluster_size:1\r\n"
                  "cluster_current_epoch:{}\r\n"
                  "cluster_my_epoch:{}\r\n"
                  "cluster_stats_messages_sent:{}\r\n"
                  "cluster_stats_messages_received:{}\r\n"
                  "total_cluster_links_buffer_limit_exceeded:0\r\n",
                  ok ? "ok" : "fail", kSlots, ok ? kSlots : 0, ok ? 0 : kSlots, picture.size(),
                  picture.epoch(), picture.epoch(), traffic.sent, traffic.received));
}

void cluster_myid(Call& call) {
  const Picture picture(call);
  call.reply.bulk(picture.id(call.server.cluster()->self()));
}

// All members compute the same name: of a group the list is what they have in common.
void cluster_myshardid(Call& call) {
  const Picture picture(call);
  std::string name;
  if (picture.size() == 1) name = picture.id(0);
  for (size_t place = 0; picture.size() > 1 && place < picture.size(); ++place)
    name += fmt::format("{}:{} ", picture.at(place).host, picture.at(place).port);
  call.reply.bulk(base::digest_hex(base::sha256(name)).substr(0, kIdDigits));
}

void cluster_nodes(Call& call) {
  const Picture picture(call);
  std::string text;
  for (size_t place = 0; place < picture.size(); ++place) (text += line_of(picture, place)) += '\n';
  call.reply.verbatim(text);
}

void cluster_slots(Call& call) {
  const Picture picture(call);
  if (!picture.led()) return call.reply.array(0);
  std::vector<size_t> places = picture.readable();
  std::erase_if(places, [&](size_t place) {
    return !picture.leads(place) && (!picture.at(place).connected || !picture.at(place).position);
  });
  call.reply.array(1);
  call.reply.array(2 + places.size());
  call.reply.integer(0);
  call.reply.integer(kLastSlot);
  for (size_t place : places) reply_slot_member(call.reply, picture, place);
}

void cluster_shards(Call& call) {
  const Picture picture(call);
  call.reply.array(1);
  call.reply.map(2);
  call.reply.bulk("slots");
  call.reply.array(2);
  call.reply.integer(0);
  call.reply.integer(kLastSlot);
  call.reply.bulk("nodes");
  const std::vector<size_t> places = picture.readable();
  call.reply.array(places.size());
  for (size_t place : places) reply_shard_member(call.reply, picture, place);
}

void cluster_replicas(Call& call) {
  const Picture picture(call);
  size_t of = 0;
  while (of < picture.size() && picture.id(of) != call.arg(2)) ++of;
  if (of == picture.size()) return call.reply.error("ERR Unknown node " + std::string(call.arg(2)));
  if (!picture.leads(of)) return call.reply.error("ERR The specified node is not a master");
  call.reply.array(picture.size() - 1);
  for (size_t place = 0; place < picture.size(); ++place)
    if (place != of) call.reply.bulk(line_of(picture, place));
}

void cluster_links(Call& call) {
  const Picture picture(call);
  std::vector<size_t> linked;
  for (size_t place = 0; place < picture.size(); ++place)
    if (picture.at(place).connected_ms != 0 && !picture.is_self(place)) linked.push_back(place);
  call.reply.array(linked.size());
  for (size_t place : linked) {
    const ClusterMember& member = picture.at(place);
    call.reply.map(6);
    call.reply.bulk("direction");
    call.reply.bulk("to");
    call.reply.bulk("node");
    call.reply.bulk(picture.id(place));
    call.reply.bulk("create-time");
    call.reply.integer(member.connected_ms);
    call.reply.bulk("events");
    call.reply.bulk(member.unsent_bytes > 0 ? "rw" : "r");
    call.reply.bulk("send-buffer-allocated");
    call.reply.integer(static_cast<int64_t>(member.unsent_bytes));
    call.reply.bulk("send-buffer-used");
    call.reply.integer(static_cast<int64_t>(member.unsent_bytes));
  }
}

}  // namespace quoll::commands::clusters
