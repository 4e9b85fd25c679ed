// MIGRATE: keys go to another server, and here they are no more.
#include "base/numbers.h"
#include "commands/families.h"
#include "commands/words.h"
#include "server/migrations.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr size_t kKeyAt = 3;               // "": the keys follow the word KEYS
constexpr base::Millis kTimeoutMs = 1000;  // where the client states none

struct Request {
  MigrationOrder order;
  Args keys;
  bool copy = false;
};

// False: an error was replied.
bool parse(Call& call, Request& request) {
  MigrationOrder& order = request.order;
  request.keys = call.args.subspan(kKeyAt, 1);
  for (size_t i = 6; i < call.argc(); ++i) {
    const size_t more = call.argc() - i - 1;
    if (same_word(call.arg(i), "copy")) {
      request.copy = true;
    } else if (same_word(call.arg(i), "replace")) {
      order.replace = true;
    } else if (same_word(call.arg(i), "auth") && more >= 1) {
      call.redact(i + 1);
      order.login = {"AUTH", std::string(call.arg(i + 1))};
      i += 1;
    } else if (same_word(call.arg(i), "auth2") && more >= 2) {
      call.redact(i + 1);
      call.redact(i + 2);
      order.login = {"AUTH", std::string(call.arg(i + 1)), std::string(call.arg(i + 2))};
      i += 2;
    } else if (same_word(call.arg(i), "keys")) {
      if (!call.arg(kKeyAt).empty()) {
        call.reply.error(
            "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string");
        return false;
      }
      request.keys = call.args.subspan(i + 1);
      break;
    } else {
      call.syntax_error();
      return false;
    }
  }
  if (!call.integer(5, order.timeout_ms) || !call.integer(4, order.to)) return false;
  if (order.timeout_ms <= 0) order.timeout_ms = kTimeoutMs;
  order.host = call.arg(1);
  uint64_t port;
  if (base::parse_uint(call.arg(2), port) && port <= UINT16_MAX)
    order.port = static_cast<uint16_t>(port);
  return true;
}

void conclude(Call& call, const MigrationOutcome& outcome, bool copy) {
  if (!copy) {
    std::vector<Bytes> gone = {"DEL"};
    for (const std::string& key : outcome.arrived) {
      store::Edit edit = call.edit_key(key);
      if (!edit.found()) continue;
      edit.erase();
      edit.done(store::kEventDel);
      gone.push_back(key);
    }
    if (gone.size() > 1) call.effect(gone);
  }
  if (!outcome.error.empty()) return call.reply.error(outcome.error);
  if (outcome.arrived.empty()) return call.reply.simple("NOKEY");
  call.reply.ok();
}

void migrate(Call& call) {
  Request request;
  if (!parse(call, request)) return;
  const WaitFor wait{.keys = {}, .give_up = [](Session& session) {
                       session.server().migrations().cancel(session.id);
                       session.reply().error("IOERR error or timeout reading to target instance");
                     }};
  Migrations& migrations = call.server.migrations();
  if (call.resumed()) {
    std::optional<MigrationOutcome> outcome = migrations.take(call.session.id);
    return outcome ? conclude(call, *outcome, request.copy) : call.block(wait);
  }
  for (Bytes key : request.keys)
    if (call.find_key(call.store.ref(key))) request.order.keys.emplace_back(key);
  if (request.order.keys.empty()) return call.reply.simple("NOKEY");
  if (!call.may_block())
    return call.reply.error(
        "ERR MIGRATE waits for the other server: not in transactions and scripts");
  request.order.from = call.db;
  migrations.begin(call.session, std::move(request.order));
  call.block(wait);
}

constexpr CommandSpec kMigrateCommands[] = {
    {.name = "migrate",
     .arity = -6,
     .run = migrate,
     .access = Access::write,
     .journal = Journal::rewritten,
     .keys = {{keys::at(3, kKeyRw | kKeyAccess | kKeyDelete),
               {.flags = kKeyRw | kKeyAccess | kKeyDelete | kKeyIncomplete,
                .find = KeySpec::Find::range,
                .begin = -2,
                .keyword = "KEYS",
                .last = -1}}},
     .flags = kMovableKeys,
     .categories = kCatKeyspace | kCatDangerous,
     .group = "generic",
     .since = "2.6.0",
     .summary = "Moves keys to another server.",
     .complexity =
         "This command actually executes a DUMP+DEL in the source instance, and a RESTORE in the "
         "target instance. See the pages of these commands for time complexity. Also an O(N) data "
         "transfer between the two instances is performed.",
     .syntax = "host port <key | \"\"> destination-db timeout [COPY] [REPLACE] "
               "[[AUTH password] | [AUTH2 {username password}]] [KEYS key [key ...]]",
     .tips = "nondeterministic_output"},
};
static_assert(well_formed(kMigrateCommands));

}  // namespace

Family migrate_commands() { return kMigrateCommands; }

}  // namespace quoll::commands
