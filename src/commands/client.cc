// CLIENT: what a connection is called, how it is answered, and what one connection may do to
// others. CLIENT KILL is in client_kill.cc.
#include "base/numbers.h"
#include "base/text.h"
#include "commands/client_consistency.h"
#include "commands/client_kill.h"
#include "commands/client_tracking.h"
#include "commands/families.h"
#include "server/call.h"
#include "server/client_attributes.h"
#include "server/cluster_node.h"
#include "server/forwarding.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr base::Millis kPauseMaxMs = 100LL * 365 * 24 * 3600 * 1000;  // a hundred years: for ever

bool is_word(Call& call, size_t argument, Bytes word) {
  return base::equals_ignoring_case(call.arg(argument), word);
}

// ON or OFF at the argument; replies the error when it is neither.
bool parse_switch(Call& call, size_t argument, bool& on) {
  on = is_word(call, argument, "on");
  if (on || is_word(call, argument, "off")) return true;
  call.syntax_error();
  return false;
}

void client_id(Call& call) { call.reply.integer(static_cast<int64_t>(call.session.id)); }

void client_info(Call& call) {
  std::string line;
  append_client_line(line, call, call.session);
  line += '\n';
  call.reply.verbatim(line);
}

// LIST ID: in the order of the request, unknown ids left out.
void list_by_id(Call& call) {
  std::string lines;
  for (size_t i = 3; i < call.argc(); ++i) {
    int64_t id;
    if (!call.integer(i, id, "ERR Invalid client ID")) return;
    const Session* session = call.server.find_session(static_cast<SessionId>(id));
    if (!session) continue;
    append_client_line(lines, call, *session);
    lines += '\n';
  }
  call.reply.verbatim(lines);
}

void client_list(Call& call) {
  if (call.argc() > 3 && is_word(call, 2, "id")) return list_by_id(call);
  bool typed = call.argc() == 4 && is_word(call, 2, "type");
  if (!typed && call.argc() != 2) return call.syntax_error();
  ClientType type{};
  if (typed && !parse_client_type(call.arg(3), type)) return unknown_client_type(call, 3);
  std::string lines;
  if (!typed || type == ClientType::master) {
    append_primary_line(lines, call);
    if (!lines.empty()) lines += '\n';
  }
  for (const auto& [id, session] : call.server.sessions()) {
    if (typed && client_type(*session) != type) continue;
    append_client_line(lines, call, *session);
    lines += '\n';
  }
  call.reply.verbatim(lines);
}

void client_setname(Call& call) {
  if (!is_client_attribute(call.arg(2))) return call.reply.error(kBadClientName);
  call.session.name = call.arg(2);
  call.reply.ok();
}

void client_getname(Call& call) {
  if (call.session.name.empty()) return call.reply.null();
  call.reply.bulk(call.session.name);
}

void client_setinfo(Call& call) {
  std::string attribute(errors::shown(call.arg(2)));
  bool library = is_word(call, 2, "lib-name");
  if (!library && !is_word(call, 2, "lib-ver"))
    return call.reply.error("ERR Unrecognized option '" + attribute + "'");
  if (!is_client_attribute(call.arg(3)))
    return call.reply.error("ERR " + attribute +
                            " cannot contain spaces, newlines or special characters.");
  (library ? call.session.library_name : call.session.library_version) = call.arg(3);
  call.reply.ok();
}

void client_pause(Call& call) {
  if (call.argc() > 4) return call.subcommand_error();
  PauseKind kind = PauseKind::all;
  if (call.argc() == 4) {
    if (is_word(call, 3, "write")) {
      kind = PauseKind::writes;
    } else if (!is_word(call, 3, "all")) {
      return call.reply.error("ERR CLIENT PAUSE mode must be WRITE or ALL");
    }
  }
  int64_t timeout;
  if (!call.integer(2, timeout, "ERR timeout is not an integer or out of range")) return;
  if (timeout < 0) return call.reply.error("ERR timeout is negative");
  if (timeout > INT64_MAX - call.now) return call.reply.error("ERR timeout is out of range");
  // Nothing to do for a pause that is over at once, but it can make a running one stricter.
  if (timeout > 0 || call.server.paused() != PauseKind::none)
    call.server.pause(kind, call.now + std::min(timeout, kPauseMaxMs));
  call.reply.ok();
}

void client_unpause(Call& call) {
  call.server.unpause();
  call.reply.ok();
}

void client_reply(Call& call) {
  Session& session = call.session;
  uint8_t flags = session.reply_flags();
  if (is_word(call, 2, "on")) {
    session.set_reply_flags(flags & ~(kReplyOff | kReplySkip));
    call.reply.ok();
  } else if (is_word(call, 2, "off")) {
    session.set_reply_flags(flags | kReplyOff);
  } else if (is_word(call, 2, "skip")) {
    if (!(flags & kReplyOff)) session.set_reply_flags(flags | kReplySkipNext);
  } else {
    call.syntax_error();
  }
}

void client_no_evict(Call& call) {
  if (parse_switch(call, 2, call.session.no_evict)) call.reply.ok();
}

void client_no_touch(Call& call) {
  if (parse_switch(call, 2, call.session.no_touch)) call.reply.ok();
}

void client_unblock(Call& call) {
  if (call.argc() > 4) return call.subcommand_error();
  bool with_error = false;
  if (call.argc() == 4) {
    with_error = is_word(call, 3, "error");
    if (!with_error && !is_word(call, 3, "timeout"))
      return call.reply.error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
  }
  int64_t id;
  if (!call.integer(2, id)) return;
  Session* target = call.server.find_session(static_cast<SessionId>(id));
  Bytes error = with_error ? "UNBLOCKED client unblocked via CLIENT UNBLOCK" : "";
  ClusterNode* node = call.server.node();
  const bool forwarded = target && node && node->forwarding().waits(target->id);
  const bool done =
      forwarded ? node->forwarding().unblock(target->id, error) : target && target->unblock(error);
  call.reply.integer(done ? 1 : 0);
}

void client_help(Call& call) {
  constexpr Bytes kLines[] = {
      "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
      "CACHING (YES|NO)",
      "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
      "CONSISTENCY [R <members>] [W <members>] [DURABILITY (MEMORY|FSYNC)] [TIMEOUT <ms>] [ONCE]",
      "    Ask for more than the quorums of the group, for this connection or its next command.",
      "    Without options, tell what holds.",
      "GETREDIR",
      "    Return the client ID we are redirecting to when tracking is enabled.",
      "GETNAME",
      "    Return the name of the current connection.",
      "ID",
      "    Return the ID of the current connection.",
      "INFO",
      "    Return information about the current client connection.",
      "KILL <ip:port>",
      "    Kill connection made from <ip:port>.",
      "KILL <option> <value> [<option> <value> [...]]",
      "    Kill connections. Options are:",
      "    * ADDR (<ip:port>|<unixsocket>:0)",
      "      Kill connections made from the specified address",
      "    * LADDR (<ip:port>|<unixsocket>:0)",
      "      Kill connections made to specified local address",
      "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
      "      Kill connections by type.",
      "    * USER <username>",
      "      Kill connections authenticated by <username>.",
      "    * SKIPME (YES|NO)",
      "      Skip killing current connection (default: yes).",
      "    * ID <client-id>",
      "      Kill the connection with that ID.",
      "    * MAXAGE <seconds>",
      "      Kill connections that are at least that old.",
      "LIST [options ...]",
      "    Return information about client connections. Options:",
      "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
      "      Return clients of specified type.",
      "    * ID <client-id> [<client-id> ...]",
      "      Return the clients with these IDs.",
      "UNPAUSE",
      "    Stop the current client pause, resuming traffic.",
      "PAUSE <timeout> [WRITE|ALL]",
      "    Suspend all, or just write, clients for <timeout> milliseconds.",
      "REPLY (ON|OFF|SKIP)",
      "    Control the replies sent to the current connection.",
      "SETNAME <name>",
      "    Assign the name <name> to the current connection.",
      "SETINFO (LIB-NAME|LIB-VER) <value>",
      "    Tell the name or version of the library in use.",
      "UNBLOCK <clientid> [TIMEOUT|ERROR]",
      "    Unblock the specified blocked client.",
      "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
      "         [OPTIN] [OPTOUT] [NOLOOP]",
      "    Control server assisted client side caching.",
      "TRACKINGINFO",
      "    Report tracking status for the current connection.",
      "NO-EVICT (ON|OFF)",
      "    Protect current client connection from eviction.",
      "NO-TOUCH (ON|OFF)",
      "    Do not count this connection's reads as use of the keys.",
      "HELP",
      "    Prints this help.",
  };
  call.reply.array(std::size(kLines));
  for (Bytes line : kLines) call.reply.simple(line);
}

constexpr uint32_t kOwnFlags = kNoScript | kLoading | kStale;  // about the caller only
constexpr uint32_t kOthersFlags = kOwnFlags | kAdmin;

constexpr CommandSpec kClientCommands[] = {
    {.name = "client",
     .arity = -2,
     .group = "connection",
     .since = "2.4.0",
     .summary = "Tells about client connections and steers them.",
     .complexity = "Depends on subcommand."},
    {.name = "client|id",
     .arity = 2,
     .run = client_id,
     .flags = kOwnFlags,
     .group = "connection",
     .since = "5.0.0",
     .summary = "Returns the connection's number.",
     .complexity = "O(1)"},
    {.name = "client|info",
     .arity = 2,
     .run = client_info,
     .flags = kOwnFlags,
     .group = "connection",
     .since = "6.2.0",
     .summary = "Returns this connection's line of CLIENT LIST.",
     .complexity = "O(1)",
     .tips = "nondeterministic_output"},
    {.name = "client|list",
     .arity = -2,
     .run = client_list,
     .flags = kOthersFlags,
     .group = "connection",
     .since = "2.4.0",
     .summary = "Lists the connections, one line each.",
     .complexity = "O(N) where N is the number of client connections",
     .syntax = "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID {client-id [client-id ...]}]",
     .tips = "nondeterministic_output"},
    {.name = "client|setname",
     .arity = 3,
     .run = client_setname,
     .flags = kOwnFlags,
     .group = "connection",
     .since = "2.6.9",
     .summary = "Names the connection.",
     .complexity = "O(1)",
     .syntax = "connection-name"},
    {.name = "client|getname",
     .arity = 2,
     .run = client_getname,
     .flags = kOwnFlags,
     .group = "connection",
     .since = "2.6.9",
     .summary = "Returns the connection's name.",
     .complexity = "O(1)"},
    {.name = "client|setinfo",
     .arity = 4,
     .run = client_setinfo,
     .flags = kOwnFlags,
     .group = "connection",
     .since = "7.2.0",
     .summary = "Records which client library uses the connection.",
     .complexity = "O(1)",
     .syntax = "<LIB-NAME libname | LIB-VER libver>",
     .tips = "request_policy:all_nodes,response_policy:all_succeeded"},
    {.name = "client|kill",
     .arity = -3,
     .run = client_kill,
     .flags = kOthersFlags,
     .group = "connection",
     .since = "2.4.0",
     .summary = "Closes connections.",
     .complexity = "O(N) where N is the number of client connections",
     .syntax = "<ip:port | <[ID client-id] | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | "
               "[USER username] | [ADDR ip:port] | [LADDR ip:port] | [SKIPME yes/no] | [MAXAGE "
               "maxage:integer] ...>>"},
    {.name = "client|pause",
     .arity = -3,
     .run = client_pause,
     .flags = kOthersFlags,
     .group = "connection",
     .since = "2.9.50",
     .summary = "Holds back the commands of all connections, or only their writes, for a while.",
     .complexity = "O(1)",
     .syntax = "timeout [WRITE | ALL]"},
    {.name = "client|unpause",
     .arity = 2,
     .run = client_unpause,
     .flags = kOthersFlags,
     .group = "connection",
     .since = "6.2.0",
     .summary = "Ends a pause.",
     .complexity = "O(N) Where N is the number of paused clients"},
    {.name = "client|reply",
     .arity = 3,
     .run = client_reply,
     .flags = kOwnFlags,
     .group = "connection",
     .since = "3.2.0",
     .summary = "Chooses whether the connection's commands are answered.",
     .complexity = "O(1)",
     .syntax = "<ON | OFF | SKIP>"},
    {.name = "client|no-evict",
     .arity = 3,
     .run = client_no_evict,
     .flags = kOthersFlags,
     .group = "connection",
     .since = "7.0.0",
     .summary = "Protects the connection from being closed when clients use too much memory.",
     .complexity = "O(1)",
     .syntax = "<ON | OFF>"},
    {.name = "client|no-touch",
     .arity = 3,
     .run = client_no_touch,
     .flags = kOwnFlags,
     .group = "connection",
     .since = "7.2.0",
     .summary = "Chooses whether the connection's reads count as use of the keys.",
     .complexity = "O(1)",
     .syntax = "<ON | OFF>"},
    {.name = "client|unblock",
     .arity = -3,
     .run = client_unblock,
     .flags = kOthersFlags,
     .group = "connection",
     .since = "5.0.0",
     .summary = "Ends the wait of another connection's blocking command.",
     .complexity = "O(log N) where N is the number of client connections",
     .syntax = "client-id [TIMEOUT | ERROR]"},
    {.name = "client|getredir",
     .arity = 2,
     .run = client_getredir,
     .flags = kOwnFlags,
     .group = "connection",
     .since = "6.0.0",
     .summary = "Returns the connection that gets this one's invalidation messages.",
     .complexity = "O(1)"},
    {.name = "client|trackinginfo",
     .arity = 2,
     .run = client_trackinginfo,
     .flags = kOwnFlags,
     .group = "connection",
     .since = "6.2.0",
     .summary = "Tells what CLIENT TRACKING has set.",
     .complexity = "O(1)"},
    {.name = "client|tracking",
     .arity = -3,
     .run = client_tracking,
     .flags = kOwnFlags,
     .group = "connection",
     .since = "6.0.0",
     .summary = "Turns invalidation messages for cached keys on or off.",
     .complexity = "O(1). Some options may introduce additional complexity.",
     .syntax =
         "<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] "
         "[OPTOUT] [NOLOOP]"},
    {.name = "client|caching",
     .arity = 3,
     .run = client_caching,
     .flags = kOwnFlags,
     .group = "connection",
     .since = "6.0.0",
     .summary = "Chooses whether the next command's keys are tracked.",
     .complexity = "O(1)",
     .syntax = "<YES | NO>"},
    {.name = "client|consistency",
     .arity = -2,
     .run = client_consistency,
     .flags = kOwnFlags,
     .group = "connection",
     .since = "1.0.0",
     .summary = "Asks for more than the quorums of the group, or tells what holds.",
     .complexity = "O(1)",
     .syntax =
         "[R members] [W members] [DURABILITY <MEMORY | FSYNC>] [TIMEOUT milliseconds:integer] "
         "[ONCE]"},
    {.name = "client|help",
     .arity = 2,
     .run = client_help,
     .flags = kLoading | kStale,
     .group = "connection",
     .since = "5.0.0",
     .summary = "Explains the subcommands.",
     .complexity = "O(1)"},
};
static_assert(well_formed(kClientCommands));

}  // namespace

Family client_commands() { return kClientCommands; }

}  // namespace quoll::commands
