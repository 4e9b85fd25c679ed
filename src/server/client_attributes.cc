#include "server/client_attributes.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "server/replication.h"
#include "server/server.h"

namespace quoll::server {

bool parse_client_type(Bytes name, ClientType& type) {
  constexpr struct {
    Bytes name;
    ClientType type;
  } kTypes[] = {{"normal", ClientType::normal},
                {"slave", ClientType::replica},
                {"replica", ClientType::replica},
                {"pubsub", ClientType::pubsub},
                {"master", ClientType::master}};
  for (const auto& row : kTypes) {
    if (!base::equals_ignoring_case(name, row.name)) continue;
    type = row.type;
    return true;
  }
  return false;
}

ClientType client_type(const Session& session) {
  if (session.is_replica()) return ClientType::replica;
  return session.subscribed() ? ClientType::pubsub : ClientType::normal;
}

namespace {

std::string flags_of(const Call& call, const Session& session) {
  std::string flags;
  if (call.server.monitors().has(session)) flags += 'O';
  if (session.is_replica()) flags += 'S';
  if (session.subscribed()) flags += 'P';
  if (session.transaction.open) flags += 'x';
  if (session.postponed() != Postponed::no) flags += 'b';
  if (session.replica_reads) flags += 'r';
  if (session.tracking & kTrackingOn) flags += 't';
  if (session.tracking & kTrackingRedirectBroken) flags += 'R';
  if (session.tracking & kTrackingBroadcast) flags += 'B';
  if (session.transaction.dirty) flags += 'd';
  if (session.close_requested()) flags += 'c';
  if (session.peer().is_unix()) flags += 'U';
  if (session.no_evict) flags += 'e';
  if (session.no_touch) flags += 'T';
  return flags.empty() ? "N" : flags;
}

// Output in Redis's terms: a fixed buffer (our first chunk) and a list of further ones.
struct Output {
  size_t buffer_size;
  size_t buffer_used;
  size_t list_length;
  size_t list_bytes;
};

Output output_of(const Session& session) {
  size_t held = session.out().footprint();
  size_t first = std::min(held, wire::kChunkBytes);
  size_t rest = held - first;
  return {first, std::min(session.out().size(), first),
          (rest + wire::kChunkBytes - 1) / wire::kChunkBytes, rest};
}

// As clients send it: "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".
size_t request_bytes(Args args) {
  constexpr size_t kMarks = 3;  // "*", "$" and the end of line
  auto digits = [](size_t number) { return std::to_string(number).size(); };
  size_t bytes = kMarks + digits(args.size());
  for (Bytes argument : args) bytes += kMarks + digits(argument.size()) + argument.size() + 2;
  return bytes;
}

}  // namespace

void append_client_line(std::string& out, const Call& call, const Session& session) {
  const PubSub& pubsub = call.server.pubsub();
  const Transaction& transaction = session.transaction;
  size_t pending = session.parser().pending_bytes();
  size_t own = session.parser().own_bytes();
  size_t argv_bytes = 0;
  if (&session == &call.session) {
    for (Bytes argument : call.args) argv_bytes += argument.size();
    // In Redis the request that runs is still in the buffer.
    pending += request_bytes(call.args);
  }
  Output output = output_of(session);
  auto place = std::back_inserter(out);
  fmt::format_to(place, "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={}",
                 session.id, session.peer().remote_address(), session.peer().local_address(),
                 session.peer().descriptor(), session.name, (call.now - session.created_ms) / 1000,
                 (call.now - session.last_command_ms) / 1000, flags_of(call, session), session.db);
  fmt::format_to(place, " sub={} psub={} ssub={} multi={}",
                 pubsub.names(session, PubSub::Kind::channel).size(),
                 pubsub.names(session, PubSub::Kind::pattern).size(),
                 pubsub.count(session, PubSub::Kind::shard),
                 transaction.open ? static_cast<int64_t>(transaction.queue.size()) : -1);
  fmt::format_to(place, " qbuf={} qbuf-free={} argv-mem={} multi-mem={} rbs={} rbp={}", pending,
                 own > pending ? own - pending : 0, argv_bytes, transaction.bytes,
                 output.buffer_size, output.buffer_used);
  fmt::format_to(place, " obl={} oll={} omem={} tot-mem={} events={} cmd={} user={}",
                 output.buffer_used, output.list_length, output.list_bytes, session.footprint(),
                 session.waits_to_send() ? "rw" : "r",
                 session.last_command ? session.last_command->spec->name : "NULL",
                 session.user->name());
  const int64_t redirect =
      session.tracking ? static_cast<int64_t>(call.server.tracking().redirect(session)) : -1;
  fmt::format_to(place, " redir={} resp={} lib-name={} lib-ver={}", redirect, session.protocol(),
                 session.library_name, session.library_version);
}

void append_primary_line(std::string& out, const Call& call) {
  const Following& link = call.server.replication().link();
  const Following::Info info = link.info();
  if (info.address.empty()) return;
  fmt::format_to(
      std::back_inserter(out),
      "id=0 addr={} laddr={} fd=-1 name= age={} idle={} flags=M db={} sub=0 psub=0 ssub=0 multi=-1 "
      "qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r "
      "cmd=replconf user=(superuser) redir=-1 resp=2 lib-name= lib-ver=",
      info.address, info.local_address, (call.now - info.since_ms) / 1000,
      std::max<int64_t>(info.last_io_seconds, 0), link.database());
}

}  // namespace quoll::server
