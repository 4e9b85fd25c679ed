// Connection: greeting, authentication, choosing a database, starting over, leaving.
#include "base/text.h"
#include "commands/families.h"
#include "server/call.h"
#include "server/client_attributes.h"
#include "server/replication.h"
#include "server/server.h"
#include "server/version.h"

namespace quoll::commands {
namespace {

using namespace server;

void ping(Call& call) {
  if (call.argc() > 2) return call.reply.error("ERR wrong number of arguments for 'ping' command");
  if (call.session.subscribed() && call.reply.protocol() == 2) {
    call.reply.array(2);
    call.reply.bulk("pong");
    return call.reply.bulk(call.argc() == 2 ? call.arg(1) : "");
  }
  if (call.argc() == 2) return call.reply.bulk(call.arg(1));
  call.reply.simple("PONG");
}

void echo(Call& call) { call.reply.bulk(call.arg(1)); }

void select(Call& call) {
  int64_t index;
  if (!call.integer(1, index)) return;
  if (index < INT32_MIN || index > INT32_MAX)
    return call.reply.error(
        "ERR value is out of range, value must between -2147483648 and 2147483647");
  if (index != 0 && call.server.cluster())
    return call.reply.error("ERR SELECT is not allowed in cluster mode");
  if (index < 0 || index >= call.store.databases()) return call.reply.error(errors::kDbOutOfRange);
  call.session.db = static_cast<store::DbIndex>(index);
  call.reply.ok();
}

bool log_in(Call& call, Bytes user, Bytes password) {
  if (call.server.acl().log_in(call.session, call.command, call.args, user, password)) return true;
  call.reply.error(errors::kWrongPass);
  return false;
}

void auth(Call& call) {
  for (size_t i = 1; i < call.argc(); ++i) call.redact(i);
  if (call.argc() > 3) return call.syntax_error();
  if (call.argc() == 2 && call.server.acl().default_user().is(AclUser::kNoPass))
    return call.reply.error(
        "ERR AUTH <password> called without any password configured for the default user. Are you "
        "sure your configuration is correct?");
  bool known = call.argc() == 2 ? log_in(call, "default", call.arg(1))
                                : log_in(call, call.arg(1), call.arg(2));
  if (known) call.reply.ok();
}

struct Greeting {
  int64_t protocol = 0;  // 0: as it is
  size_t user = 0;       // argument; 0: no AUTH
  size_t name = 0;       // argument; 0: no SETNAME
};

// Also of a greeting that is refused: a newer client's may be.
void hide_password(Call& call) {
  size_t i = 1;
  while (i < call.argc() && !base::equals_ignoring_case(call.arg(i), "auth")) ++i;
  while (++i < call.argc()) call.redact(i);
}

bool parse_hello(Call& call, Greeting& greeting) {
  if (call.argc() < 2) return true;
  hide_password(call);
  if (!call.integer(1, greeting.protocol, "ERR Protocol version is not an integer or out of range"))
    return false;
  if (greeting.protocol != 2 && greeting.protocol != 3) {
    call.reply.error(errors::kNoProto);
    return false;
  }
  for (size_t i = 2; i < call.argc(); ++i) {
    size_t more = call.argc() - 1 - i;
    if (base::equals_ignoring_case(call.arg(i), "auth") && more >= 2) {
      greeting.user = i + 1;
      i += 2;
    } else if (base::equals_ignoring_case(call.arg(i), "setname") && more >= 1) {
      greeting.name = ++i;
      if (is_client_attribute(call.arg(i))) continue;
      call.reply.error(kBadClientName);
      return false;
    } else {
      call.reply.error("ERR Syntax error in HELLO option '" +
                       std::string(errors::shown(call.arg(i))) + "'");
      return false;
    }
  }
  return true;
}

void reply_greeting(Call& call) {
  wire::ReplyWriter& reply = call.reply;
  const std::string& zone = call.server.settings().availability_zone;
  reply.map(zone.empty() ? 7 : 8);
  reply.bulk("server");
  reply.bulk("redis");
  reply.bulk("version");
  reply.bulk(kRedisVersion);
  reply.bulk("proto");
  reply.integer(reply.protocol());
  reply.bulk("id");
  reply.integer(static_cast<int64_t>(call.session.id));
  reply.bulk("mode");
  reply.bulk(call.server.cluster() ? "cluster" : "standalone");
  reply.bulk("role");
  reply.bulk(call.server.replication().following() ? "replica" : "master");
  reply.bulk("modules");
  reply.array(0);
  if (zone.empty()) return;
  reply.bulk("availability_zone");
  reply.bulk(zone);
}

void hello(Call& call) {
  Greeting greeting;
  if (!parse_hello(call, greeting)) return;
  if (greeting.user && !log_in(call, call.arg(greeting.user), call.arg(greeting.user + 1))) return;
  if (!call.session.authenticated())
    return call.reply.error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
        "<proto> AUTH <user> <pass> option can be used to authenticate the client and select the "
        "RESP protocol version at the same time");
  if (greeting.name) call.session.name = call.arg(greeting.name);
  if (greeting.protocol) call.reply.set_protocol(static_cast<int>(greeting.protocol));
  reply_greeting(call);
}

void reset(Call& call) {
  Session& session = call.session;
  call.server.watches().unwatch(session);
  session.transaction.reset();
  call.server.pubsub().drop(session);
  call.server.tracking().disable(session);
  session.reset_state();
  call.reply.simple("RESET");
}

void quit(Call& call) {
  call.reply.ok();
  call.session.close_after_reply();
}

// Whether there is a cluster; replies the error when there is none.
bool in_cluster(Call& call) {
  if (call.server.cluster()) return true;
  call.reply.error(errors::kNoClusterSupport);
  return false;
}

void readonly(Call& call) {
  if (!in_cluster(call)) return;
  call.session.replica_reads = true;
  call.reply.ok();
}

void readwrite(Call& call) {
  if (!in_cluster(call)) return;
  call.session.replica_reads = false;
  call.reply.ok();
}

// No slot ever moves, so no client is ever sent here by -ASK.
void asking(Call& call) {
  if (in_cluster(call)) call.reply.ok();
}

constexpr uint32_t kAlwaysAllowed = kNoScript | kLoading | kStale | kFast | kNoAuth | kAllowBusy;

constexpr CommandSpec kConnectionCommands[] = {
    {.name = "ping",
     .arity = -1,
     .run = ping,
     .flags = kFast,
     .group = "connection",
     .since = "1.0.0",
     .summary = "Replies PONG, or the message it is given.",
     .complexity = "O(1)",
     .syntax = "[message]",
     .tips = "request_policy:all_shards,response_policy:all_succeeded"},
    {.name = "echo",
     .arity = 2,
     .run = echo,
     .flags = kLoading | kStale | kFast,
     .group = "connection",
     .since = "1.0.0",
     .summary = "Replies the message it is given.",
     .complexity = "O(1)",
     .syntax = "message"},
    {.name = "select",
     .arity = 2,
     .run = select,
     .flags = kLoading | kStale | kFast,
     .group = "connection",
     .since = "1.0.0",
     .summary = "Chooses the database that the connection's next commands use.",
     .complexity = "O(1)",
     .syntax = "index"},
    {.name = "auth",
     .arity = -2,
     .run = auth,
     .flags = kAlwaysAllowed,
     .group = "connection",
     .since = "1.0.0",
     .summary = "Authenticates the connection.",
     .complexity = "O(N) where N is the number of passwords defined for the user",
     .syntax = "[username] password"},
    {.name = "hello",
     .arity = -1,
     .run = hello,
     .flags = kAlwaysAllowed,
     .group = "connection",
     .since = "6.0.0",
     .summary = "Greets the server: chooses the protocol, authenticates, names the connection.",
     .complexity = "O(1)",
     .syntax = "[protover [AUTH username password] [SETNAME clientname]]"},
    {.name = "reset",
     .arity = 1,
     .run = reset,
     .flags = kAlwaysAllowed,
     .group = "connection",
     .since = "6.2.0",
     .summary = "Puts the connection into the state of a new one.",
     .complexity = "O(1)"},
    {.name = "quit",
     .arity = -1,
     .run = quit,
     .flags = kAlwaysAllowed,
     .group = "connection",
     .since = "1.0.0",
     .summary = "Closes the connection after the replies that are due.",
     .complexity = "O(1)"},
    {.name = "readonly",
     .arity = 1,
     .run = readonly,
     .flags = kLoading | kStale | kFast,
     .categories = kCatConnection,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Allows reads of a cluster replica on this connection.",
     .complexity = "O(1)"},
    {.name = "readwrite",
     .arity = 1,
     .run = readwrite,
     .flags = kLoading | kStale | kFast,
     .categories = kCatConnection,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Ends what READONLY allowed.",
     .complexity = "O(1)"},
    {.name = "asking",
     .arity = 1,
     .run = asking,
     .flags = kFast,
     .categories = kCatConnection,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Announces a command that follows an -ASK redirection.",
     .complexity = "O(1)"},
};
static_assert(well_formed(kConnectionCommands));

}  // namespace

Family connection_commands() { return kConnectionCommands; }

}  // namespace quoll::commands
