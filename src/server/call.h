// Call: one command being run. What a handler may do, in one place: read its arguments, look keys
// up, open an Edit, state effects, reply. Everything else (journal, watchers, notifications,
// statistics) follows from the commit.
#pragma once

#include <initializer_list>

#include "server/command_table.h"
#include "server/errors.h"
#include "server/session.h"
#include "store/store.h"

namespace quoll::server {

class Server;
struct WaitFor;

class Call {
 public:
  Args args;
  Server& server;
  Session& session;
  Command& command;
  wire::ReplyWriter& reply;
  store::Store& store;
  base::Millis now;
  store::DbIndex db;
  uint64_t first_hash = 0;  // of args[command.first_key], when has_hash
  bool has_hash = false;
  // Finds the Blob of a large argument; nullptr function when there is none.
  base::Blob* (*blob_of)(void* owner, size_t argument) = nullptr;
  void* blob_owner = nullptr;

  size_t argc() const { return args.size(); }
  Bytes arg(size_t i) const { return args[i]; }
  // The owned bytes of a large argument, to be moved into the keyspace; nullptr when borrowed.
  base::Blob* blob(size_t i) { return blob_of ? blob_of(blob_owner, i) : nullptr; }

  store::KeyRef key(size_t i) const {
    if (has_hash && static_cast<int>(i) == command.first_key) return {args[i], first_hash};
    return store.ref(args[i]);
  }

  // The live entry of the key at argument i, counting hit or miss and the access; or nullptr.
  const store::Entry* find(size_t i) { return find_key(key(i)); }
  const store::Entry* find_key(const store::KeyRef& key);
  // The same without recording an access: TYPE, TTL, EXISTS, OBJECT.
  const store::Entry* look(size_t i, bool tell_miss = true);
  // Without statistics or access clock: conditions of writes.
  const store::Entry* peek(size_t i) const { return store.find(db, key(i), now); }
  store::Edit edit(size_t i) { return store.edit(db, key(i), now, !session.no_touch); }
  store::Edit edit_key(Bytes bytes) {
    return store.edit(db, store.ref(bytes), now, !session.no_touch);
  }

  // One deterministic line of the journal (Journal::rewritten handlers).
  void effect(Args line) { store.commits().effect(db, line); }
  void effect(std::initializer_list<Bytes> line) { effect(Args(line.begin(), line.size())); }
  // The command's own argv as the effect.
  void effect_verbatim() { effect(args); }

  // Runs the handler. What a Journal::verbatim one changed is journaled here, and only here: beside
  // it, it states nothing but what it found expired.
  void run() {
    store::CommitBuilder& commits = store.commits();
    const size_t changes = commits.changes();
    [[maybe_unused]] const size_t stated = commits.effects() - commits.expired();
    command.spec->run(*this);
    if (command.spec->journal != Journal::verbatim) return;
    QUOLL_DCHECK(commits.effects() - commits.expired() == stated);
    if (commits.changes() > changes) effect_verbatim();
  }

  // Waiting for keys; see blocked_keys.h. In a transaction or script a command never waits.
  bool may_block() const { return !session.in_exec; }
  void block(const WaitFor& wait) { session.park(*this, wait); }
  // The command waited and is run again, for a key it waits for changed.
  bool resumed() const { return session.resumed(); }
  // A timeout argument, 0 meaning for ever; replies the error and returns false when it is none.
  bool timeout_seconds(size_t i, base::Millis& timeout_ms);
  bool timeout_millis(size_t i, base::Millis& timeout_ms);

  // The argument is a secret: the slow log does not show it. Defined where Server is known.
  void redact(size_t i);

  // Arguments that fit no form of a subcommand: "... Try CLIENT HELP."
  void subcommand_error();
  void syntax_error() { reply.error(errors::kSyntax); }
  void wrong_type() { reply.error(errors::kWrongType); }
  // Parses an integer argument; replies the error and returns false when it is none.
  bool integer(size_t i, int64_t& value, Bytes error = errors::kNotInteger);
};

}  // namespace quoll::server
