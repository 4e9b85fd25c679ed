#include "commands/client_consistency.h"

#include <fmt/format.h>

#include "base/text.h"
#include "server/group.h"
#include "server/server.h"

namespace quoll::commands {

using namespace server;

namespace {

constexpr Bytes kNoGroup = "ERR CLIENT CONSISTENCY is for members of a replica group";

struct Request {
  Consistency asked;
  bool once = false;
  bool any = false;
};

// False: the error was replied.
bool refuse(Call& call, const std::string& error) {
  call.reply.error("ERR " + error);
  return false;
}

// W or R at the argument: not less than the group's, nor more than there are members.
bool parse_quorum(Call& call, size_t argument, const char* name, unsigned least, unsigned& quorum) {
  const auto members = static_cast<unsigned>(call.server.group()->config().members);
  int64_t number = 0;
  if (base::equals_ignoring_case(call.arg(argument), "majority")) {
    number = members / 2 + 1;
  } else if (base::equals_ignoring_case(call.arg(argument), "all")) {
    number = members;
  } else if (!call.integer(
                 argument, number,
                 fmt::format("ERR {} must be a number of members, majority or all", name)))
    return false;
  if (number > members)
    return refuse(call,
                  fmt::format("{} {} is more than the group's {} members", name, number, members));
  if (number < least)
    return refuse(
        call, fmt::format("{} {} is weaker than the group's {}: only more can be asked for", name,
                          number, least));
  quorum = static_cast<unsigned>(number);
  return true;
}

bool parse_durability(Call& call, size_t argument, bool& fsync) {
  fsync = base::equals_ignoring_case(call.arg(argument), "fsync");
  if (fsync) return true;
  if (!base::equals_ignoring_case(call.arg(argument), "memory"))
    return refuse(call, "DURABILITY must be memory or fsync");
  if (call.server.group()->config().durability == cluster::Durability::memory) return true;
  return refuse(call,
                "DURABILITY memory is weaker than the group's fsync: only more can be asked for");
}

bool parse_timeout(Call& call, size_t argument, base::Millis& timeout_ms) {
  constexpr Bytes kWrong = "ERR TIMEOUT must be a number of milliseconds, at least 1";
  int64_t number;
  if (!call.integer(argument, number, kWrong)) return false;
  if (number < 1 || number > INT32_MAX) return call.reply.error(kWrong), false;
  timeout_ms = number;
  return true;
}

bool parse(Call& call, Request& request) {
  const cluster::GroupConfig& group = call.server.group()->config();
  for (size_t i = 2; i < call.argc(); ++i) {
    auto is = [&](Bytes word) { return base::equals_ignoring_case(call.arg(i), word); };
    const bool more = i + 1 < call.argc();
    bool good = true;
    if (is("once")) {
      request.once = true;
      continue;
    }
    if (is("w") && more) {
      good = parse_quorum(call, ++i, "W", group.write_quorum, request.asked.write);
    } else if (is("r") && more) {
      good = parse_quorum(call, ++i, "R", group.read_quorum, request.asked.read);
    } else if (is("durability") && more) {
      good = parse_durability(call, ++i, request.asked.fsync);
    } else if (is("timeout") && more) {
      good = parse_timeout(call, ++i, request.asked.timeout_ms);
    } else {
      call.syntax_error();
      return false;
    }
    if (!good) return false;
    request.any = true;
  }
  if (request.once && !request.any)
    return refuse(call, "ONCE needs something to ask for: R, W, DURABILITY or TIMEOUT");
  return true;
}

// What the connection's commands get, the group's settings included.
void show(Call& call, const Consistency& asked) {
  const cluster::GroupConfig& group = call.server.group()->config();
  const bool fsync = asked.fsync || group.durability == cluster::Durability::fsync;
  call.reply.map(4);
  call.reply.bulk("r");
  if (asked.read == 0 && group.lease)
    call.reply.bulk("lease");
  else
    call.reply.integer(asked.read > 0 ? asked.read : group.read_quorum);
  call.reply.bulk("w");
  call.reply.integer(asked.write > 0 ? asked.write : group.write_quorum);
  call.reply.bulk("durability");
  call.reply.bulk(fsync ? "fsync" : "memory");
  call.reply.bulk("timeout");
  call.reply.integer(asked.timeout_ms > 0 ? asked.timeout_ms
                                          : call.server.settings().cluster_write_timeout_ms);
}

}  // namespace

void client_consistency(Call& call) {
  ReplicaGroup* group = call.server.group();
  if (!group) return call.reply.error(kNoGroup);
  GroupConsistency& consistency = group->consistency();
  Request request{.asked = consistency.of(call.session.id)};
  if (call.argc() == 2) return show(call, request.asked);
  if (!parse(call, request)) return;
  if (request.once)
    consistency.ask_once(call.session.id, request.asked);
  else
    consistency.ask(call.session.id, request.asked);
  call.reply.ok();
}

}  // namespace quoll::commands
