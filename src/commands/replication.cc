// Following and being followed: REPLICAOF, ROLE, WAIT, WAITAOF, FAILOVER, and what servers say to
// each other: REPLCONF, PSYNC, SYNC.
#include "server/replication.h"

#include "base/numbers.h"
#include "base/text.h"
#include "commands/families.h"
#include "commands/words.h"
#include "server/cluster_role.h"
#include "server/group.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr size_t kAnnouncedAddressMax = 255;  // bytes

// --- roles -------------------------------------------------------------------------------------

const char* state_name(Following::State state) {
  switch (state) {
    case Following::State::none:
      return "none";
    case Following::State::connect:
      return "connect";
    case Following::State::connecting:
      return "connecting";
    case Following::State::handshake:
      return "handshake";
    case Following::State::transfer:
      return "sync";
    case Following::State::connected:
      break;
  }
  return "connected";
}

std::string address_of(const Replica& replica) {
  if (!replica.announced_ip.empty()) return replica.announced_ip;
  std::string address = replica.session.peer().remote_address();
  return address.substr(0, address.rfind(':'));
}

void role_of_member(Call& call, const ClusterRole& role) {
  const auto offset = static_cast<int64_t>(role.offset);
  if (role.follows) {
    call.reply.array(5);
    call.reply.bulk("slave");
    call.reply.bulk(role.leader ? role.leader->host : std::string());
    call.reply.integer(role.leader ? ClusterView::port_for(call.session, *role.leader) : 0);
    call.reply.bulk(role.linked() ? "connected" : "connect");
    return call.reply.integer(role.linked() ? offset : -1);
  }
  call.reply.array(3);
  call.reply.bulk("master");
  call.reply.integer(offset);
  call.reply.array(role.followers.size());
  for (const ClusterMember* one : role.followers) {
    call.reply.array(3);
    call.reply.bulk(one->host);
    call.reply.bulk(std::to_string(ClusterView::port_for(call.session, *one)));
    call.reply.bulk(std::to_string(one->position));
  }
}

void role(Call& call) {
  if (call.server.cluster()) return role_of_member(call, role_in_cluster(call.server));
  const Replication& replication = call.server.replication();
  if (replication.following()) {
    const Following& link = replication.link();
    call.reply.array(5);
    call.reply.bulk("slave");
    call.reply.bulk(link.host());
    call.reply.integer(link.port());
    call.reply.bulk(state_name(link.state()));
    return call.reply.integer(link.connected() ? static_cast<int64_t>(replication.offset()) : -1);
  }
  call.reply.array(3);
  call.reply.bulk("master");
  call.reply.integer(static_cast<int64_t>(replication.offset()));
  call.reply.array(replication.replicas().online());
  replication.replicas().each([&](const Replica& replica) {
    if (replica.state != Replica::State::online) return;
    call.reply.array(3);
    call.reply.bulk(address_of(replica));
    call.reply.bulk(std::to_string(replica.listening_port));
    call.reply.bulk(std::to_string(replica.acked));
  });
}

void replicaof(Call& call) {
  if (call.server.cluster()) return call.reply.error("ERR REPLICAOF not allowed in cluster mode.");
  Replication& replication = call.server.replication();
  if (replication.failover().state() != Failover::State::none)
    return call.reply.error("ERR REPLICAOF not allowed while failing over.");
  if (same_word(call.arg(1), "no") && same_word(call.arg(2), "one")) {
    replication.promote();
    return call.reply.ok();
  }
  if (call.session.is_replica())
    return call.reply.error("ERR Command is not valid when client is a replica.");
  int64_t port;
  if (!base::parse_int(call.arg(2), port) || port < 0 || port > kPortMax)
    return call.reply.error("ERR Invalid master port");
  const Following& link = replication.link();
  if (replication.following() && same_word(call.arg(1), link.host()) && port == link.port())
    return call.reply.simple("OK Already connected to specified master");
  replication.follow(std::string(call.arg(1)), static_cast<uint16_t>(port));
  call.reply.ok();
}

// --- FAILOVER ----------------------------------------------------------------------------------

struct FailoverOptions {
  Failover::Wish wish;
  bool abort = false;
};

// False: the error was replied.
bool parse_options(Call& call, FailoverOptions& options) {
  for (size_t i = 1; i < call.argc(); ++i) {
    const size_t more = call.argc() - i - 1;
    if (same_word(call.arg(i), "timeout") && more >= 1 && options.wish.timeout_ms == 0) {
      if (!call.integer(++i, options.wish.timeout_ms)) return false;
      if (options.wish.timeout_ms <= 0) {
        call.reply.error("ERR FAILOVER timeout must be greater than 0");
        return false;
      }
    } else if (same_word(call.arg(i), "to") && more >= 2 && options.wish.host.empty()) {
      int64_t port;
      options.wish.host = call.arg(i + 1);
      if (!call.integer(i + 2, port)) return false;
      options.wish.port = static_cast<uint16_t>(port);
      i += 2;
    } else if (same_word(call.arg(i), "force") && !options.wish.force) {
      options.wish.force = true;
    } else if (same_word(call.arg(i), "abort") && call.argc() == 2) {
      options.abort = true;
    } else {
      call.syntax_error();
      return false;
    }
  }
  return true;
}

// Why it cannot begin; empty: it can.
Bytes refusal_of(const Replication& replication, const Failover::Wish& wish) {
  if (replication.following()) return "ERR FAILOVER is not valid when server is a replica.";
  if (!replication.replicas().any()) return "ERR FAILOVER requires connected replicas.";
  if (wish.force && (wish.timeout_ms == 0 || wish.host.empty()))
    return "ERR FAILOVER with force option requires both a timeout and target HOST and IP.";
  if (wish.host.empty()) return {};
  Bytes refusal = "ERR FAILOVER target HOST and PORT is not a replica.";
  replication.replicas().each([&](const Replica& replica) {
    if (!same_word(address_of(replica), wish.host) || replica.listening_port != wish.port) return;
    refusal = {};
    if (replica.state != Replica::State::online)
      refusal = "ERR FAILOVER target replica is not online.";
  });
  return refusal;
}

void failover(Call& call) {
  if (call.server.cluster())
    return call.reply.error(
        "ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.");
  FailoverOptions options;
  if (!parse_options(call, options)) return;
  Replication& replication = call.server.replication();
  if (options.abort) {
    if (!replication.failover().abort()) return call.reply.error("ERR No failover in progress.");
    return call.reply.ok();
  }
  if (replication.failover().state() != Failover::State::none)
    return call.reply.error("ERR FAILOVER already in progress.");
  if (Bytes refusal = refusal_of(replication, options.wish); !refusal.empty())
    return call.reply.error(refusal);
  replication.failover().begin(std::move(options.wish));
  call.reply.ok();
}

// --- WAIT --------------------------------------------------------------------------------------

// Also a member of a group that does not lead.
bool is_replica(const Call& call) {
  const ReplicaGroup* group = call.server.group();
  return call.server.replication().following() || (group && !group->serves());
}

void wait(Call& call) {
  if (is_replica(call))
    return call.reply.error(
        "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if "
        "a replica is configured to be writable (which is not the default) writes to replicas are "
        "just local and are not propagated.");
  Waits::Need need;
  base::Millis timeout_ms;
  if (!call.integer(1, need.replicas) || !call.timeout_millis(2, timeout_ms)) return;
  call.server.replication().waits().wait(call.session, need, timeout_ms);
}

void waitaof(Call& call) {
  Waits::Need need{.files = true};
  base::Millis timeout_ms;
  if (!call.integer(1, need.local) || !call.integer(2, need.replicas)) return;
  if (need.local < 0 || need.local > 1 || need.replicas < 0)
    return call.reply.error("ERR value is out of range, must be positive");
  if (!call.timeout_millis(3, timeout_ms)) return;
  if (is_replica(call))
    return call.reply.error(
        "ERR WAITAOF cannot be used with replica instances. Please also note that writes to "
        "replicas are just local and are not propagated.");
  if (need.local > 0 && !call.server.settings().appendonly && !call.server.group())
    return call.reply.error(
        "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
  call.server.replication().waits().wait(call.session, need, timeout_ms);
}

// --- between servers ---------------------------------------------------------------------------

// "7.2.4" and later read version 11. What else a server reads is said by its capabilities.
unsigned rdb_version_of(Bytes version) {
  int64_t major = 0, minor = 0;
  const size_t dot = version.find('.');
  if (dot == Bytes::npos) return 10;
  Bytes rest = version.substr(dot + 1);
  if (!base::parse_int(version.substr(0, dot), major) ||
      !base::parse_int(rest.substr(0, rest.find('.')), minor))
    return 10;
  return major > 7 || (major == 7 && minor >= 2) ? 11 : 10;
}

void learn_capability(Replica& replica, Bytes name) {
  if (same_word(name, "eof")) replica.takes_mark = true;
  if (same_word(name, "psync2")) replica.psync2 = true;
  if (same_word(name, "quoll-effects")) {
    replica.quoll = true;
    replica.rdb_version = 12;
  }
}

// What an RDB shall hold: words of "functions"; none of them: nothing at all.
void learn_filter(Replica& replica, Bytes words) {
  replica.no_data = true;
  replica.no_functions = words.find("functions") == Bytes::npos;
}

// True: an acknowledgement or the like, which nobody answers.
bool take_signal(Call& call) {
  Replication& replication = call.server.replication();
  if (same_word(call.arg(1), "getack")) {
    if (replication.link().connected()) replication.link().acknowledge();
    return true;
  }
  if (!same_word(call.arg(1), "ack")) return false;
  Replica* replica = replication.replicas().find(call.session);
  uint64_t offset, durable = 0;
  if (!replica || !call.session.is_replica() || !base::parse_uint(call.arg(2), offset)) return true;
  if (call.argc() >= 5 && same_word(call.arg(3), "fack") && !base::parse_uint(call.arg(4), durable))
    durable = 0;
  replication.replicas().acknowledge(*replica, offset, durable);
  return true;
}

void replconf(Call& call) {
  if (call.argc() % 2 == 0) return call.syntax_error();
  if (call.argc() >= 3 && take_signal(call)) return;
  Replica& replica = call.server.replication().replicas().of(call.session);
  for (size_t i = 1; i < call.argc(); i += 2) {
    const Bytes value = call.arg(i + 1);
    int64_t number;
    if (same_word(call.arg(i), "listening-port")) {
      if (!call.integer(i + 1, number)) return;
      replica.listening_port = static_cast<uint16_t>(number);
    } else if (same_word(call.arg(i), "ip-address")) {
      if (value.size() > kAnnouncedAddressMax)
        return call.reply.error(
            "ERR REPLCONF ip-address provided by replica instance is too long: " +
            std::to_string(value.size()) + " bytes");
      replica.announced_ip = value;
    } else if (same_word(call.arg(i), "capa")) {
      learn_capability(replica, value);
    } else if (same_word(call.arg(i), "version")) {
      replica.rdb_version = std::max(replica.rdb_version, rdb_version_of(value));
    } else if (same_word(call.arg(i), "rdb-only")) {
      if (!call.integer(i + 1, number)) return;
      replica.only_rdb = number == 1;
    } else if (same_word(call.arg(i), "rdb-filter-only")) {
      learn_filter(replica, value);
    } else {
      return call.reply.error("ERR Unrecognized REPLCONF option: " +
                              std::string(errors::shown(call.arg(i))));
    }
  }
  call.reply.ok();
}

// Tools say that they want the RDB alone, or begin with SYNC (redis-cli --cluster backup) and go
// once they have it. Replicas say where they are first, also those that go back to SYNC after an
// error.
bool wants_rdb_alone(Call& call, bool by_sync) {
  const Replica* known = call.server.replication().replicas().find(call.session);
  if (!known) return by_sync;
  const bool nameless = known->listening_port == 0 && known->announced_ip.empty();
  return known->only_rdb || (by_sync && nameless);
}

// Why a member of a group does not give its data; empty: it does.
Bytes refusal_of_member(Call& call, bool by_sync) {
  const ClusterView& cluster = *call.server.cluster();
  const ReplicaGroup* group = call.server.group();
  if (!wants_rdb_alone(call, by_sync))
    return "ERR a member of a replica group feeds no replicas: they would see what is not "
           "committed";
  if (!group) return "NOMASTERLINK Can't SYNC while the log of the group is being read";
  if (group->members()[group->self()].witness) return "ERR a witness has no data";
  const bool follows = group->readable() && group->leader() < group->members().size();
  if (!cluster.serves() && !follows)
    return "NOMASTERLINK Can't SYNC while not connected with my master";
  return {};
}

Bytes refusal_of_sync(Call& call, bool by_sync) {
  Replication& replication = call.server.replication();
  const Replica* known = replication.replicas().find(call.session);
  if (call.server.cluster()) {
    if (Bytes refusal = refusal_of_member(call, by_sync); !refusal.empty()) return refusal;
  } else if (replication.following() && !replication.link().connected()) {
    return "NOMASTERLINK Can't SYNC while not connected with my master";
  } else if (replication.failover().state() != Failover::State::none) {
    return "NOMASTERLINK Can't SYNC while failing over";
  }
  // What is left of the data is never a file with a length.
  if (known && known->no_data && !known->takes_mark)
    return "ERR Filtered replica requires EOF capability";
  return {};
}

// True: it may be served.
bool may_sync(Call& call, bool by_sync) {
  if (Bytes refusal = refusal_of_sync(call, by_sync); !refusal.empty()) {
    call.reply.error(refusal);
    return false;
  }
  if (call.server.cluster()) call.server.replication().replicas().of(call.session).only_rdb = true;
  return true;
}

// PSYNC id offset FAILOVER: our primary wants us to take over.
bool take_over(Call& call) {
  Replication& replication = call.server.replication();
  if (!replication.following()) {
    call.reply.error("ERR PSYNC FAILOVER can't be sent to a master.");
    return false;
  }
  if (!same_word(call.arg(1), replication.id())) {
    call.reply.error("ERR PSYNC FAILOVER replid must match my replid.");
    return false;
  }
  replication.promote();
  return true;
}

void psync(Call& call) {
  if (call.session.is_replica()) return;
  int64_t next;
  if (!call.integer(2, next)) return;
  if (call.argc() > 3 && same_word(call.arg(3), "failover") && !take_over(call)) return;
  if (may_sync(call, false)) call.server.replication().serve(call.session, call.arg(1), next);
}

void sync(Call& call) {
  if (!call.session.is_replica() && may_sync(call, true))
    call.server.replication().serve(call.session, {}, 0);
}

constexpr uint32_t kRoleFlags = kAdmin | kNoScript | kStale | kNoAsyncLoading;
constexpr uint32_t kSyncFlags = kAdmin | kNoScript | kNoAsyncLoading | kNoMulti;

constexpr CommandSpec kReplicationCommands[] = {
    {.name = "role",
     .arity = 1,
     .run = role,
     .flags = kNoScript | kLoading | kStale | kFast,
     .categories = kCatAdmin | kCatDangerous,
     .group = "server",
     .since = "2.8.12",
     .summary = "Returns the part the server plays in replication.",
     .complexity = "O(1)"},
    {.name = "replicaof",
     .arity = 3,
     .run = replicaof,
     .flags = kRoleFlags,
     .group = "server",
     .since = "5.0.0",
     .summary = "Makes the server follow another one, or stand on its own.",
     .complexity = "O(1)",
     .syntax = "<host port | NO ONE>"},
    {.name = "slaveof",
     .arity = 3,
     .run = replicaof,
     .flags = kRoleFlags,
     .group = "server",
     .since = "1.0.0",
     .summary = "Makes the server follow another one, or stand on its own.",
     .complexity = "O(1)",
     .syntax = "<host port | NO ONE>",
     .deprecated_since = "5.0.0",
     .replaced_by = "`REPLICAOF`"},
    {.name = "failover",
     .arity = -1,
     .run = failover,
     .flags = kAdmin | kNoScript | kStale,
     .group = "server",
     .since = "6.2.0",
     .summary = "Hands the primary's part over to one of the replicas.",
     .complexity = "O(1)",
     .syntax = "[TO <host port [FORCE]>] [ABORT] [TIMEOUT milliseconds]"},
    {.name = "wait",
     .arity = 3,
     .run = wait,
     .flags = kNoScript,
     .categories = kCatConnection,
     .group = "generic",
     .since = "3.0.0",
     .summary = "Waits until replicas have acknowledged this connection's writes.",
     .complexity = "O(1)",
     .syntax = "numreplicas timeout",
     .tips = "request_policy:all_shards,response_policy:agg_min"},
    {.name = "waitaof",
     .arity = 4,
     .run = waitaof,
     .flags = kNoScript,
     .categories = kCatConnection,
     .group = "generic",
     .since = "7.2.0",
     .summary = "Waits until this connection's writes are in append-only files, here and of "
                "replicas.",
     .complexity = "O(1)",
     .syntax = "numlocal numreplicas timeout",
     .tips = "request_policy:all_shards,response_policy:agg_min"},
    {.name = "replconf",
     .arity = -1,
     .run = replconf,
     .flags = kAdmin | kNoScript | kLoading | kStale | kAllowBusy,
     .group = "server",
     .since = "3.0.0",
     .summary = "What a replica says to its primary about itself.",
     .complexity = "O(1)"},
    {.name = "psync",
     .arity = -3,
     .run = psync,
     .flags = kSyncFlags,
     .group = "server",
     .since = "2.8.0",
     .summary = "Makes the connection a replica's, going on at an offset if that is possible.",
     .syntax = "replicationid offset"},
    {.name = "sync",
     .arity = 1,
     .run = sync,
     .flags = kSyncFlags,
     .group = "server",
     .since = "1.0.0",
     .summary = "Makes the connection a replica's."},
};
static_assert(well_formed(kReplicationCommands));

}  // namespace

Family replication_commands() { return kReplicationCommands; }

}  // namespace quoll::commands
