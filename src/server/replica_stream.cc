#include "server/replica_stream.h"

#include <cstdlib>

#include "base/text.h"
#include "cluster/absolute_ttl.h"
#include "cluster/replica_dialect.h"
#include "server/log.h"
#include "server/replication.h"
#include "server/server.h"

namespace quoll::server {
namespace {

persist::AofReaderOptions reader_options(const Server& server, store::DbIndex database) {
  persist::AofReaderOptions options;
  options.bulk_bytes_max =
      std::max(persist::kAofBulkBytesMax, server.settings().proto_max_bulk_len);
  options.database = database;
  return options;
}

// Of buffers, in bytes: what a large value took is given back.
constexpr size_t kRoomKeptMax = 1024 * 1024;

// Primaries older than 7 send scripts as they came.
bool runs_script(const CommandSpec& spec) {
  return spec.name == "eval" || spec.name == "evalsha" || spec.name == "fcall";
}

}  // namespace

ReplicaStream::ReplicaStream(Server& server, store::DbIndex database)
    : server_(server), replay_(server), reader_(reader_options(server, database)) {}

base::Result<> ReplicaStream::apply(Bytes bytes) {
  replay_.set_time(server_.now());
  const uint64_t before = reader_.valid_bytes();
  reader_.feed(std::string(bytes));
  persist::AofCommand command;
  persist::AofReader::Step step;
  const auto next = [&] {
    replay_.look_ahead(reader_);
    return reader_.next(command);
  };
  while ((step = next()) == persist::AofReader::Step::command) run(command);
  pass_on(bytes, reader_.valid_bytes() - before);
  if (!foreign_.empty()) server_.replication().feed().relayed_foreign(std::exchange(foreign_, {}));
  if (step != persist::AofReader::Step::damaged) return {};
  return base::Error{"Protocol error from the primary: " + reader_.finish().reason};
}

void ReplicaStream::run(const persist::AofCommand& command) {
  store::CommitBuilder& commits = server_.store().commits();
  if (command.in_block) {
    if (!commits.open()) commits.begin(store::Origin::replica, server_.now(), true);
    run_effect(command.database, command.args);
    if (command.last_of_block) commits.close();
    return;
  }
  const Command* known = replay_.command(command.args);
  const bool script = known && runs_script(*known->spec);
  if (script || (known && known->spec->access == Access::write)) {
    commits.begin(store::Origin::replica, server_.now(), script);
    run_effect(command.database, command.args);
    commits.close();
    return;
  }
  const Bytes name = command.args[0];
  if (base::equals_ignoring_case(name, "ping")) return;
  if (base::equals_ignoring_case(name, "replconf")) {
    ack_asked_ |= command.args.size() > 1 && base::equals_ignoring_case(command.args[1], "getack");
    return;
  }
  run_effect(command.database, command.args);
}

void ReplicaStream::run_effect(store::DbIndex database, Args args) {
  const Command* known = replay_.command(args);
  if (known && known->spec->access != Access::write && !(known->spec->flags & kMayReplicate))
    return complain(args, "not a command for a replication stream");
  if (cluster::dialect_of(args) == cluster::Dialect::foreign) foreign_ = args[0];
  std::vector<std::string> words;
  std::vector<Bytes> views;
  // Primaries older than 7 tell how long a key has left, not until when.
  if (cluster::absolute_ttl(args, server_.now(), words)) {
    views.assign(words.begin(), words.end());
    args = views;
  }
  if (auto done = replay_.run_in_commit(database, args); !done) complain(args, done.error());
}

// What fails here did not fail there: the data differ from now on.
void ReplicaStream::complain(Args args, const std::string& error) {
  log::warning(
      "== CRITICAL == This replica is sending an error to its master: '{}' after processing the "
      "command '{}'",
      error, args[0]);
  if (server_.settings().propagation_error_behavior == PropagationError::ignore) return;
  log::warning("propagation-error-behavior asks to stop here.");
  std::abort();
}

// `applied`: of what was held and what came.
void ReplicaStream::pass_on(Bytes bytes, uint64_t applied) {
  cluster::ReplicaFeed& feed = server_.replication().feed();
  if (applied < held_.size()) {
    feed.relay(Bytes(held_).substr(0, applied));
    held_.erase(0, applied);
    held_ += bytes;
    return;
  }
  feed.relay(held_);
  const uint64_t fresh = applied - held_.size();
  feed.relay(bytes.substr(0, fresh));
  held_ = bytes.substr(fresh);
  if (held_.capacity() > kRoomKeptMax && held_.size() < kRoomKeptMax) held_.shrink_to_fit();
}

}  // namespace quoll::server
