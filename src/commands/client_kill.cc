#include "commands/client_kill.h"

#include <optional>

#include "base/numbers.h"
#include "base/text.h"
#include "server/client_attributes.h"
#include "server/replication.h"
#include "server/server.h"

namespace quoll::commands {

using namespace server;

namespace {

// Which sessions are meant: all filters must fit. What is absent or 0 means any.
struct Filter {
  std::optional<Bytes> address;
  std::optional<Bytes> local_address;
  std::optional<ClientType> type;
  SessionId id = 0;
  const AclUser* user = nullptr;
  base::Millis age_min_ms = 0;
  bool skip_caller = true;

  bool fits(const Call& call, const Session& session) const {
    if (address && session.peer().remote_address() != *address) return false;
    if (local_address && session.peer().local_address() != *local_address) return false;
    if (type && client_type(session) != *type) return false;
    if (id != 0 && session.id != id) return false;
    if (user && session.user != user) return false;
    if (age_min_ms != 0 && call.now - session.created_ms < age_min_ms) return false;
    return !(skip_caller && &session == &call.session);
  }

  // The link to our primary, which is no session.
  bool fits(const Call& call, const Following::Info& link) const {
    if (link.address.empty() || id != 0 || user) return false;
    if (address && link.address != *address) return false;
    if (local_address && link.local_address != *local_address) return false;
    if (type && *type != ClientType::master) return false;
    return age_min_ms == 0 || call.now - link.since_ms >= age_min_ms;
  }
};

bool fail(Call& call, Bytes error) {
  call.reply.error(error);
  return false;
}

bool parse_age(Call& call, size_t argument, Filter& filter) {
  int64_t seconds;
  if (!call.integer(argument, seconds, "ERR maxage is not an integer or out of range"))
    return false;
  if (seconds <= 0) return fail(call, "ERR maxage should be greater than 0");
  filter.age_min_ms = seconds > INT64_MAX / 1000 ? INT64_MAX : seconds * 1000;
  return true;
}

// One "word value" pair at `i`.
bool parse_option(Call& call, size_t i, Filter& filter) {
  Bytes word = call.arg(i);
  Bytes value = call.arg(i + 1);
  if (base::equals_ignoring_case(word, "id")) {
    int64_t id;
    if (!base::parse_int(value, id) || id < 1)
      return fail(call, "ERR client-id should be greater than 0");
    filter.id = static_cast<SessionId>(id);
  } else if (base::equals_ignoring_case(word, "type")) {
    ClientType type;
    if (!parse_client_type(value, type)) {
      unknown_client_type(call, i + 1);
      return false;
    }
    filter.type = type;
  } else if (base::equals_ignoring_case(word, "addr")) {
    filter.address = value;
  } else if (base::equals_ignoring_case(word, "laddr")) {
    filter.local_address = value;
  } else if (base::equals_ignoring_case(word, "user")) {
    filter.user = call.server.acl().find(value);
    if (!filter.user)
      return fail(call, "ERR No such user '" + std::string(errors::shown(value)) + "'");
  } else if (base::equals_ignoring_case(word, "maxage")) {
    return parse_age(call, i + 1, filter);
  } else if (base::equals_ignoring_case(word, "skipme")) {
    filter.skip_caller = base::equals_ignoring_case(value, "yes");
    if (!filter.skip_caller && !base::equals_ignoring_case(value, "no"))
      return fail(call, errors::kSyntax);
  } else {
    return fail(call, errors::kSyntax);
  }
  return true;
}

bool parse_filter(Call& call, Filter& filter) {
  for (size_t i = 2; i < call.argc(); i += 2) {
    if (i + 1 == call.argc()) return fail(call, errors::kSyntax);
    if (!parse_option(call, i, filter)) return false;
  }
  return true;
}

// Ends the sessions that fit; the caller's own only after the reply. Returns how many.
size_t kill(Call& call, const Filter& filter, bool& caller) {
  std::vector<Session*> meant;
  for (const auto& [id, session] : call.server.sessions())
    if (filter.fits(call, *session)) meant.push_back(session.get());
  for (Session* session : meant) {
    if (session == &call.session) {
      caller = true;
    } else {
      session->close_soon();
    }
  }
  Following& link = call.server.replication().link();
  if (!filter.fits(call, link.info())) return meant.size();
  link.drop_link();
  return meant.size() + 1;
}

}  // namespace

void unknown_client_type(Call& call, size_t argument) {
  call.reply.error("ERR Unknown client type '" + std::string(errors::shown(call.arg(argument))) +
                   "'");
}

void client_kill(Call& call) {
  Filter filter;
  bool old_form = call.argc() == 3;
  if (old_form) {
    filter.address = call.arg(2);
    filter.skip_caller = false;
  } else if (!parse_filter(call, filter)) {
    return;
  }
  bool caller = false;
  size_t killed = kill(call, filter, caller);
  if (!old_form) {
    call.reply.integer(static_cast<int64_t>(killed));
  } else if (killed == 0) {
    call.reply.error("ERR No such client");
  } else {
    call.reply.ok();
  }
  if (caller) call.session.close_after_reply();
}

}  // namespace quoll::commands
