// Transactions: MULTI queues, EXEC runs the queue as one commit, WATCH makes EXEC conditional. The
// queueing itself and the running are the dispatcher's.
#include "commands/families.h"
#include "server/call.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

void end_transaction(Call& call) {
  call.server.watches().unwatch(call.session);
  call.session.transaction.reset();
}

void multi(Call& call) {
  if (call.session.transaction.open) return call.reply.error("ERR MULTI calls can not be nested");
  call.session.transaction.open = true;
  call.reply.ok();
}

void discard(Call& call) {
  if (!call.session.transaction.open) return call.reply.error("ERR DISCARD without MULTI");
  end_transaction(call);
  call.reply.ok();
}

void exec(Call& call) {
  Transaction& transaction = call.session.transaction;
  if (!transaction.open) return call.reply.error("ERR EXEC without MULTI");
  bool changed = transaction.dirty || call.server.watches().expired(call.session, call.now);
  if (transaction.aborted) {
    call.reply.error(errors::kExecAbort);
  } else if (changed) {
    const uint64_t reply_start = call.session.out().end_offset();
    call.reply.null_array();
    call.server.dispatcher().hold_view(call.session, reply_start);
  } else {
    call.server.watches().unwatch(call.session);  // its own writes are no news
    call.server.dispatcher().execute_queue(call.session);
  }
  end_transaction(call);
}

void watch(Call& call) {
  Transaction& transaction = call.session.transaction;
  if (transaction.open) return call.reply.error("ERR WATCH inside MULTI is not allowed");
  if (!transaction.dirty)  // else nothing can make it clean but UNWATCH
    for (size_t i = 1; i < call.argc(); ++i)
      call.server.watches().watch(call.session, call.arg(i), call.now);
  call.reply.ok();
}

void unwatch(Call& call) {
  call.server.watches().unwatch(call.session);
  call.session.transaction.dirty = false;
  call.reply.ok();
}

constexpr uint32_t kTransactionFlags = kNoScript | kLoading | kStale | kFast | kAllowBusy;

constexpr CommandSpec kTransactionCommands[] = {
    {.name = "multi",
     .arity = 1,
     .run = multi,
     .flags = kTransactionFlags,
     .group = "transactions",
     .since = "1.2.0",
     .summary = "Begins a transaction: the commands that follow are queued.",
     .complexity = "O(1)"},
    {.name = "exec",
     .arity = 1,
     .run = exec,
     .flags = kNoScript | kLoading | kStale | kSkipSlowLog,
     .group = "transactions",
     .since = "1.2.0",
     .summary = "Runs the queued commands of the transaction.",
     .complexity = "Depends on commands in the transaction"},
    {.name = "discard",
     .arity = 1,
     .run = discard,
     .flags = kTransactionFlags,
     .group = "transactions",
     .since = "2.0.0",
     .summary = "Ends the transaction without running its commands.",
     .complexity = "O(N), when N is the number of queued commands"},
    {.name = "watch",
     .arity = -2,
     .run = watch,
     .keys = keys::rest(1, kKeyRo),
     .flags = kTransactionFlags,
     .group = "transactions",
     .since = "2.2.0",
     .summary = "Makes the next EXEC fail if one of the keys changes before it.",
     .complexity = "O(1) for every key.",
     .syntax = "key [key ...]"},
    {.name = "unwatch",
     .arity = 1,
     .run = unwatch,
     .flags = kTransactionFlags,
     .group = "transactions",
     .since = "2.2.0",
     .summary = "Forgets the watched keys.",
     .complexity = "O(1)"},
};
static_assert(well_formed(kTransactionCommands));

}  // namespace

Family transaction_commands() { return kTransactionCommands; }

}  // namespace quoll::commands
