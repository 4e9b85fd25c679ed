// The members of the cluster in Redis's forms: the leader of a group is the master of its slots,
// the other members are its replicas, and a witness is a replica that never takes over and that
// clients do not hear of.
#include <fmt/format.h>

#include <algorithm>

#include "base/sha256.h"
#include "commands/cluster_family.h"
#include "server/cluster_node.h"
#include "server/forwarding.h"
#include "server/rebalancer.h"
#include "server/server.h"

namespace quoll::commands::clusters {

using namespace server;

namespace {

constexpr size_t kIdDigits = 40;

// The cluster as the session that asks is to see it.
class Picture {
 public:
  explicit Picture(const Call& call)
      : view_(*call.server.cluster()),
        settings_(call.server.settings()),
        session_(call.session),
        shards_(view_.shards()),
        shard_of_(view_.members().size(), shards_.size()) {
    for (size_t i = 0; i < shards_.size(); ++i)
      for (size_t place : shards_[i].members) shard_of_[place] = i;
  }

  size_t size() const { return view_.members().size(); }
  const ClusterMember& at(size_t place) const { return view_.members()[place]; }
  const std::vector<ClusterShard>& shards() const { return shards_; }
  // Of the member; nullptr: it is in none.
  const ClusterShard* shard(size_t place) const {
    return shard_of_[place] < shards_.size() ? &shards_[shard_of_[place]] : nullptr;
  }
  bool led(const ClusterShard& shard) const { return shard.leader < size(); }
  bool leads(size_t place) const { return shard(place) && shard(place)->leader == place; }
  bool is_self(size_t place) const { return place == view_.self(); }
  uint64_t epoch() const { return view_.epoch(); }
  // Its leader is there, and serves if it is we.
  bool serving(const ClusterShard& shard) const {
    if (!led(shard) || at(shard.leader).liveness == Liveness::failed) return false;
    return !is_self(shard.leader) || view_.serves();
  }

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
    return is_self(place) ? settings_.cluster_announce_hostname : at(place).hostname;
  }
  // The members of a shard that clients may read from, the leader first.
  std::vector<size_t> readable(const ClusterShard& shard) const {
    std::vector<size_t> places;
    if (led(shard) && known(shard.leader)) places.push_back(shard.leader);
    for (size_t place : shard.members)
      if (place != shard.leader && !at(place).witness && known(place)) places.push_back(place);
    return places;
  }

  EndpointType endpoint_type() const { return settings_.cluster_preferred_endpoint_type; }

 private:
  const ClusterView& view_;
  const Settings& settings_;
  const Session& session_;
  std::vector<ClusterShard> shards_;
  std::vector<size_t> shard_of_;  // by place
};

// Down for what Redis calls the state of the cluster.
bool available(const Picture& picture, const Call& call) {
  if (call.server.settings().cluster_require_full_coverage && !call.server.cluster()->covered())
    return false;
  return std::ranges::all_of(picture.shards(), [&](const ClusterShard& shard) {
    return shard.slots.empty() || picture.serving(shard);
  });
}

size_t count_slots(const ClusterShard& shard) {
  size_t count = 0;
  for (const auto& [first, last] : shard.slots) count += last - first + 1u;
  return count;
}

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
  // Whose place another node took has no group until it has begun an empty one: a master, too.
  flags += picture.leads(place) || !picture.shard(place) ? "master" : "slave";
  if (member.liveness == Liveness::suspect) flags += ",fail?";
  if (member.liveness == Liveness::failed || !member.connected) flags += ",fail";
  if (!picture.known(place)) flags += ",handshake";
  if (member.witness) flags += ",nofailover";
  if (member.leaving) flags += ",leaving";
  return flags;
}

// <id> <ip:port@cport[,hostname]> <flags> <master> <ping> <pong> <epoch> <link> <slot> ...
std::string line_of(const Picture& picture, size_t place) {
  const ClusterMember& member = picture.at(place);
  std::string hostname = picture.hostname(place);
  if (!hostname.empty()) hostname.insert(0, 1, ',');
  const ClusterShard* shard = picture.shard(place);
  const bool follows = shard && picture.led(*shard) && !picture.leads(place);
  std::string slots;
  if (shard && picture.leads(place))
    for (const auto& [first, last] : shard->slots)
      slots += first == last ? fmt::format(" {}", first) : fmt::format(" {}-{}", first, last);
  return fmt::format("{} {}:{}@{}{} {} {} {} {} {} {}{}", picture.id(place), picture.host(place),
                     picture.port(place), member.bus_port, hostname, flags_of(picture, place),
                     follows ? picture.id(shard->leader) : "-", member.ping_sent,
                     member.pong_received, shard ? shard->epoch : 0,
                     member.connected ? "connected" : "disconnected", slots);
}

// What has not happened is not mentioned, as in Redis.
std::string counted_line(Bytes name, uint64_t count) {
  return count > 0 ? fmt::format("{}:{}\r\n", name, count) : std::string();
}

// Of a cluster whose slots move: how far that is.
std::string rebalance_lines(ClusterNode* node) {
  if (!node || node->alone()) return {};
  const Rebalancer::Progress progress = node->rebalancer().progress();
  const auto& members = node->members();
  std::string lines = fmt::format(
      "cluster_rebalance_state:{}\r\n"
      "cluster_rebalance_percent:{}\r\n"
      "cluster_rebalance_slots_left:{}\r\n"
      "cluster_rebalance_slots_moved:{}\r\n"
      "cluster_rebalance_bytes_moved:{}\r\n"
      "cluster_rebalance_eta_seconds:{}\r\n"
      "cluster_leaving_nodes:{}\r\n",
      state_name(progress.state), progress.percent, progress.slots_left, progress.slots_moved,
      progress.bytes_moved, progress.eta_ms ? (*progress.eta_ms + 999) / 1000 : -1,
      std::ranges::count_if(members, &ClusterMember::leaving));
  if (!progress.waits_for.empty())
    lines += "cluster_rebalance_waits_for:" + progress.waits_for + "\r\n";
  return lines;
}

// Lines of CLUSTER INFO: commands that ran elsewhere for our clients, and here for others'.
std::string forwarding_of(const Call& call) {
  ClusterNode* node = call.server.node();
  if (!node) return {};
  return counted_line("cluster_commands_forwarded", node->forwarding().forwarded()) +
         counted_line("cluster_commands_served_for_others", node->forwarding().served());
}

}  // namespace

void cluster_info(Call& call) {
  const Picture picture(call);
  size_t slots = 0, served = 0, suspect = 0, size = 0;
  for (const ClusterShard& shard : picture.shards()) {
    const size_t count = count_slots(shard);
    slots += count;
    size += count > 0;
    if (picture.serving(shard)) served += count;
    if (picture.led(shard) && picture.at(shard.leader).liveness == Liveness::suspect)
      suspect += count;
  }
  uint64_t own_epoch = picture.epoch();
  if (const ClusterShard* own = picture.shard(call.server.cluster()->self()))
    own_epoch = own->epoch;
  const ClusterView::Traffic traffic = call.server.cluster()->traffic();
  const Publications::Counters& published = call.server.publications().counters();
  call.reply.verbatim(fmt::format(
      "cluster_state:{}\r\n"
      "cluster_slots_assigned:{}\r\n"
      "cluster_slots_ok:{}\r\n"
      "cluster_slots_pfail:{}\r\n"
      "cluster_slots_fail:{}\r\n"
      "cluster_known_nodes:{}\r\n"
      "cluster_size:{}\r\n"
      "cluster_current_epoch:{}\r\n"
      "cluster_my_epoch:{}\r\n"
      "{}cluster_stats_messages_sent:{}\r\n"
      "{}cluster_stats_messages_received:{}\r\n"
      "{}total_cluster_links_buffer_limit_exceeded:0\r\n{}{}",
      available(picture, call) ? "ok" : "fail", slots, served - std::min(served, suspect), suspect,
      slots - served, picture.size(), size, picture.epoch(), own_epoch,
      counted_line("cluster_stats_messages_publish_sent", published.sent), traffic.sent,
      counted_line("cluster_stats_messages_publish_received", published.received), traffic.received,
      counted_line("cluster_publications_lost", published.lost), forwarding_of(call),
      rebalance_lines(call.server.node())));
}

void cluster_myid(Call& call) {
  const Picture picture(call);
  call.reply.bulk(picture.id(call.server.cluster()->self()));
}

// All members compute the same name: of a group that is configured the list is what they have in
// common.
void cluster_myshardid(Call& call) {
  const Picture picture(call);
  const std::string& given = picture.at(call.server.cluster()->self()).shard_id;
  if (!given.empty()) return call.reply.bulk(given);
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

// Clients are told of replicas that are there and have data.
static std::vector<size_t> serving_members(const Picture& picture, const ClusterShard& shard) {
  std::vector<size_t> places = picture.readable(shard);
  std::erase_if(places, [&](size_t place) {
    return place != shard.leader && (!picture.at(place).connected || !picture.at(place).position);
  });
  return places;
}

void cluster_slots(Call& call) {
  const Picture picture(call);
  struct Range {
    uint16_t first, last;
    const ClusterShard* shard;
  };
  std::vector<Range> ranges;
  for (const ClusterShard& shard : picture.shards())
    for (const auto& [first, last] : shard.slots)
      if (picture.led(shard)) ranges.push_back({first, last, &shard});
  std::ranges::sort(ranges, {}, &Range::first);
  call.reply.array(ranges.size());
  for (const Range& range : ranges) {
    const std::vector<size_t> places = serving_members(picture, *range.shard);
    call.reply.array(2 + places.size());
    call.reply.integer(range.first);
    call.reply.integer(range.last);
    for (size_t place : places) reply_slot_member(call.reply, picture, place);
  }
}

void cluster_shards(Call& call) {
  const Picture picture(call);
  call.reply.array(picture.shards().size());
  for (const ClusterShard& shard : picture.shards()) {
    call.reply.map(2);
    call.reply.bulk("slots");
    call.reply.array(2 * shard.slots.size());
    for (const auto& [first, last] : shard.slots) {
      call.reply.integer(first);
      call.reply.integer(last);
    }
    call.reply.bulk("nodes");
    const std::vector<size_t> places = picture.readable(shard);
    call.reply.array(places.size());
    for (size_t place : places) reply_shard_member(call.reply, picture, place);
  }
}

void cluster_replicas(Call& call) {
  const Picture picture(call);
  size_t of = 0;
  while (of < picture.size() && picture.id(of) != call.arg(2)) ++of;
  if (of == picture.size()) return call.reply.error("ERR Unknown node " + std::string(call.arg(2)));
  if (!picture.leads(of)) return call.reply.error("ERR The specified node is not a master");
  const std::vector<size_t>& places = picture.shard(of)->members;
  call.reply.array(places.size() - 1);
  for (size_t place : places)
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
