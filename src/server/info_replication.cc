// INFO: section replication.
#include "server/cluster_role.h"
#include "server/info_writer.h"
#include "server/replication.h"
#include "server/server.h"

namespace quoll::server {
namespace {

const char* state_name(Replica::State state) {
  switch (state) {
    case Replica::State::none:
    case Replica::State::waiting:
      return "wait_bgsave";
    case Replica::State::transfer:
      return "send_bulk";
    case Replica::State::settling:
    case Replica::State::online:
      break;
  }
  return "online";
}

void link_lines(Server& server, InfoWriter& out) {
  const Replication& replication = server.replication();
  const Following& link = replication.link();
  const Following::Info info = link.info();
  const Settings& settings = server.settings();
  out.field("master_host", link.host());
  out.field("master_port", link.port());
  out.field("master_link_status", link.connected() ? "up" : "down");
  out.field("master_last_io_seconds_ago", info.last_io_seconds);
  out.field("master_sync_in_progress", info.loading ? 1 : 0);
  out.field("slave_read_repl_offset", replication.offset());
  out.field("slave_repl_offset", replication.offset());
  if (info.loading) {
    out.field("master_sync_total_bytes", info.sync_total);
    out.field("master_sync_read_bytes", info.sync_read);
    out.field("master_sync_left_bytes",
              static_cast<int64_t>(info.sync_total) - static_cast<int64_t>(info.sync_read));
    const double total = static_cast<double>(std::max<uint64_t>(info.sync_total, 1));
    out.ratio("master_sync_perc",
              info.sync_total == 0 ? 0 : static_cast<double>(info.sync_read) * 100 / total);
    out.field("master_sync_last_io_seconds_ago", (server.now() - info.sync_io_ms) / 1000);
  }
  if (!link.connected()) out.field("master_link_down_since_seconds", info.down_seconds);
  out.field("slave_priority", settings.replica_priority);
  out.field("slave_read_only", settings.replica_read_only ? 1 : 0);
  out.field("replica_announced", settings.replica_announced ? 1 : 0);
}

void replica_lines(Server& server, InfoWriter& out) {
  int number = 0;
  server.replication().replicas().each([&](const Replica& replica) {
    std::string address = replica.announced_ip;
    if (address.empty()) {
      address = replica.session.peer().remote_address();
      address = address.substr(0, address.rfind(':'));
    }
    const bool online = replica.state == Replica::State::online;
    out.line("slave{}:ip={},port={},state={},offset={},lag={}", number++, address,
             replica.listening_port, state_name(replica.state), online ? replica.acked : 0,
             online ? (server.now() - replica.ack_ms) / 1000 : 0);
  });
}

// The same of a member of a group.
void member_lines(const Server& server, const ClusterRole& role, InfoWriter& out) {
  out.field("role", role.follows ? "slave" : "master");
  if (role.follows) {
    out.field("master_host", role.leader ? role.leader->host : std::string());
    out.field("master_port", role.leader ? role.leader->port : 0);
    out.field("master_link_status", role.linked() ? "up" : "down");
    out.field("master_last_io_seconds_ago", role.linked() ? 0 : -1);
    out.field("master_sync_in_progress", server.cluster()->readable() ? 0 : 1);
    out.field("slave_read_repl_offset", role.offset);
    out.field("slave_repl_offset", role.offset);
    out.field("slave_priority", server.settings().replica_priority);
    out.field("slave_read_only", 1);
    out.field("replica_announced", 1);
  }
  out.field("connected_slaves", role.followers.size());
  int number = 0;
  for (const ClusterMember* one : role.followers)
    out.line("slave{}:ip={},port={},state={},offset={},lag=0", number++, one->host, one->port,
             one->position > 0 ? "online" : "wait_bgsave", one->position);
}

void server_lines(Server& server, InfoWriter& out) {
  const Settings& settings = server.settings();
  Replication& replication = server.replication();
  out.field("role", replication.following() ? "slave" : "master");
  if (replication.following()) link_lines(server, out);
  out.field("connected_slaves", replication.replicas().count());
  if (settings.min_replicas_to_write > 0)
    out.field("min_slaves_good_slaves",
              replication.replicas().good(settings.min_replicas_max_lag_seconds * 1000));
  replica_lines(server, out);
}

}  // namespace

void info_replication(Server& server, InfoWriter& out) {
  constexpr size_t kIdDigits = 40;
  Replication& replication = server.replication();
  const Settings& settings = server.settings();
  const cluster::Backlog& backlog = replication.feed().backlog();
  const bool open = replication.feed().is_open();
  out.section("Replication");
  uint64_t offset = replication.offset();
  if (server.cluster()) {
    const ClusterRole role = role_in_cluster(server);
    member_lines(server, role, out);
    offset = role.offset;
  } else {
    server_lines(server, out);
  }
  out.field("master_failover_state", replication.failover().state_name());
  out.field("master_replid", replication.id());
  out.field("master_replid2", replication.second_id().empty() ? std::string(kIdDigits, '0')
                                                              : replication.second_id());
  out.field("master_repl_offset", offset);
  out.field("second_repl_offset", replication.second_offset());
  out.field("repl_backlog_active", open ? 1 : 0);
  out.field("repl_backlog_size", settings.repl_backlog_size);
  out.field("repl_backlog_first_byte_offset", open ? backlog.first() + 1 : 0);
  out.field("repl_backlog_histlen", open ? backlog.end() - backlog.first() : 0);
}

}  // namespace quoll::server
