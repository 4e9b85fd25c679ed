#include "server/replication.h"

#include <fmt/format.h>

#include "base/numbers.h"
#include "server/call.h"
#include "server/change_readers.h"
#include "server/log.h"
#include "server/script_flags.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr Bytes kMasterDown =
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
constexpr Bytes kNoReplicas = "NOREPLICAS Not enough good replicas to write.";
constexpr size_t kMarksMax = 100'000;  // commits the append-only file may be behind and be told of
constexpr size_t kIdDigits = 40;

std::string new_id(host::Random& random) {
  std::string id;
  while (id.size() < kIdDigits) id += fmt::format("{:016x}", random.draw());
  id.resize(kIdDigits);
  return id;
}

}  // namespace

Replication::Replication(Server& server)
    : server_(server),
      id_(new_id(server.host().random)),
      replicas_(server, *this),
      following_(server, *this),
      waits_(server, *this),
      own_keys_(server.store()),
      failover_(server, *this) {}

// --- history -----------------------------------------------------------------------------------

void Replication::change_id() { id_ = new_id(server_.host().random); }

void Replication::restore(const std::vector<std::pair<std::string, std::string>>& aux) {
  if (started_ || feed_.is_open()) return;
  std::string id;
  int64_t offset = -1, database = 0;
  for (const auto& [name, value] : aux) {
    if (name == "repl-id") id = value;
    if (name == "repl-offset" && !base::parse_int(value, offset)) offset = -1;
    if (name == "repl-stream-db" && !base::parse_int(value, database)) database = 0;
  }
  if (id.size() != kIdDigits || offset < 0) return;
  if (server_.settings().replicaof.host.empty()) {
    // The replicas we had can go on: what they know is where our new history begins.
    second_id_ = id;
    second_offset_ = offset + 1;
    feed_.open(static_cast<uint64_t>(offset));
    alone_since_ms_ = server_.now();
  } else {
    id_ = id;
    feed_.set_encoding(false);
    feed_.open(static_cast<uint64_t>(offset));
    following_.set_database(static_cast<store::DbIndex>(std::max<int64_t>(database, 0)));
  }
}

void Replication::add_position(std::vector<std::pair<std::string, std::string>>& aux) const {
  if (!feed_.is_open() || !has_history_) return;
  const store::DbIndex database =
      following() ? following_.database() : feed_.database().value_or(0);
  aux.emplace_back("repl-stream-db", std::to_string(database));
  aux.emplace_back("repl-id", id_);
  aux.emplace_back("repl-offset", std::to_string(offset()));
}

void Replication::adopt_history(const std::string& id, uint64_t offset) {
  id_ = id;
  second_id_.clear();
  second_offset_ = -1;
  has_history_ = true;
  feed_.set_encoding(false);
  feed_.open(offset);
  marks_.clear();
  durable_ = 0;
}

void Replication::rename_history(const std::string& id) {
  second_id_ = id_;
  second_offset_ = static_cast<int64_t>(offset()) + 1;
  id_ = id;
  replicas_.disconnect_all();  // they connect again and learn the new id
}

void Replication::keep_backlog() {
  if (!feed_.is_open()) feed_.open(offset());
}

void Replication::lose_replicas() {
  replicas_.disconnect_all();
  feed_.close();
}

void Replication::empty_store() {
  store::Store& store = server_.store();
  store::CommitBuilder& commits = store.commits();
  commits.begin(store::Origin::load, server_.now(), true);
  for (store::DbIndex db = 0; db < store.databases(); ++db) {
    if (store.keys(db) == 0) continue;
    store.flush(db);
    commits.touch(db, {}, store::kEventFlushDb, store::Change::keyless);
  }
  // Also where there was nothing: what was not there may be there now.
  if (commits.close() == 0) server_.tracking().flushed();
  server_.changes().stream().restart();
}

// --- roles -------------------------------------------------------------------------------------

void Replication::start() {
  started_ = true;
  const ReplicaOf& primary = server_.settings().replicaof;
  if (primary.host.empty()) return;
  feed_.set_encoding(false);
  following_.follow(primary.host, static_cast<uint16_t>(primary.port));
  part_changed();
}

void Replication::part_changed() { own_keys_.begin(following() && !read_only()); }

void Replication::follow(const std::string& host, uint16_t port) {
  server_.config().replicaof = {.host = host, .port = port};
  const bool was_primary = !following();
  if (was_primary) {
    log::notice(
        "Before turning into a replica, using my own master parameters to synthesize a "
        "cached master: I may be able to synchronize with the new master with just a "
        "partial transfer.");
    unblock_all();
    following_.set_database(0);  // its stream begins with SELECT
  }
  feed_.set_encoding(false);
  following_.follow(host, port);
  part_changed();
}

void Replication::hand_over_to(const std::string& host, uint16_t port) {
  server_.config().replicaof = {.host = host, .port = port};
  unblock_all();
  following_.set_database(0);
  feed_.set_encoding(false);
  following_.follow(host, port, true);
  part_changed();
}

void Replication::promote() {
  if (!following()) return;
  following_.stop();
  server_.config().replicaof = {};
  if (has_history_) {
    second_id_ = id_;
    second_offset_ = static_cast<int64_t>(offset()) + 1;
    keep_backlog();
  } else {
    second_id_.clear();
    second_offset_ = -1;
    feed_.close();
  }
  has_history_ = true;
  change_id();
  feed_.set_encoding(true);
  part_changed();
  log::notice(
      "Setting secondary replication ID to {}, valid up to offset: {}. New replication ID "
      "is {}",
      second_id_, second_offset_, id_);
  replicas_.disconnect_all();  // they connect again and learn the new id
  alone_since_ms_ = server_.now();
  server_.host().loop.post([] {});  // expiry begins
}

void Replication::followed() { failover_.done(); }

// Whoever waits for a write waits in vain on a replica.
void Replication::unblock_all() {
  std::vector<Session*> blocked;
  for (auto& [id, session] : server_.sessions())
    if (session->postponed() == Postponed::blocked) blocked.push_back(session.get());
  for (Session* session : blocked) {
    session->unblock(errors::kUnblocked);
    session->close_after_reply();
  }
}

bool Replication::read_only() const { return following() && server_.settings().replica_read_only; }

bool Replication::ignores_maxmemory() const {
  return following() && server_.settings().replica_ignore_maxmemory;
}

bool Replication::restricts() const {
  return following() || server_.settings().min_replicas_to_write > 0;
}

bool Replication::stale() const {
  return following() && !following_.connected() && !server_.settings().replica_serve_stale_data;
}

bool Replication::enough_replicas() const {
  const Settings& settings = server_.settings();
  return following() || replicas_.good(settings.min_replicas_max_lag_seconds * 1000) >=
                            static_cast<size_t>(settings.min_replicas_to_write);
}

Bytes Replication::refusal_of(const Command& command, const Session& session) const {
  const Settings& settings = server_.settings();
  const CommandSpec& spec = *command.spec;
  bool writes = spec.access == Access::write;
  bool answers_stale = spec.flags & kStale;
  if (session.transaction.open && spec.name == "exec") {
    for (const QueuedCommand& queued : session.transaction.queue) {
      writes |= queued.command->spec->access == Access::write;
      answers_stale &= (queued.command->spec->flags & kStale) != 0;
    }
  }
  if (!following()) {
    return writes && !enough_replicas() ? kNoReplicas : Bytes();
  }
  if (writes && settings.replica_read_only) return errors::kReadOnly;
  return stale() && !answers_stale ? kMasterDown : Bytes();
}

Bytes Replication::refusal_of_script(uint32_t flags) const {
  const bool writes = !(flags & (kScriptCompatible | kScriptNoWrites));
  if (writes && read_only()) return errors::kReadOnly;
  if (writes && !enough_replicas()) return kNoReplicas;
  return stale() && !(flags & kScriptAllowStale) ? kMasterDown : Bytes();
}

// --- serving replicas --------------------------------------------------------------------------

// The first replica: from now on the stream is counted, under an id nobody knows yet.
void Replication::open_feed() {
  if (feed_.is_open()) return;
  change_id();
  second_id_.clear();
  second_offset_ = -1;
  log::notice("Replication backlog created, my new replication IDs are '{}' and '{}'", id_,
              std::string(kIdDigits, '0'));
  feed_.set_encoding(true);
  feed_.open(offset());
}

bool Replication::go_on(Replica& replica, Bytes id, int64_t next) {
  const bool same = id == id_;
  const bool grown = !second_id_.empty() && id == second_id_ && next <= second_offset_;
  if (!same && !grown) {
    if (id != "?")
      log::notice(
          "Partial resynchronization not accepted: Replication ID mismatch (Replica asked "
          "for '{}', my replication IDs are '{}' and '{}')",
          id, id_, second_id_);
    return false;
  }
  const auto offset = static_cast<uint64_t>(next) - 1;
  if (next < 1 || !feed_.is_open() || !feed_.backlog().holds(offset)) {
    log::notice(
        "Unable to partial resync with replica for lack of backlog (Replica request was: "
        "{}).",
        next);
    return false;
  }
  if (!replica.quoll && offset < feed_.foreign_end()) {
    log::notice(
        "Unable to partial resync with replica: the backlog holds {}, for which Redis 7.0 "
        "has no words.",
        feed_.foreign_command());
    return false;
  }
  replicas_.go_on(replica, offset, id_);
  return true;
}

void Replication::serve(Session& session, Bytes id, int64_t next) {
  Replica& replica = replicas_.of(session);
  if (replica.state != Replica::State::none) return;
  log::notice("Replica {} asks for synchronization", session.peer().remote_address());
  if (!id.empty() && go_on(replica, id, next)) {
    ++counters.partial;
    return;
  }
  if (!id.empty() && id != "?") ++counters.partial_refused;
  if (id.empty()) replica.old_sync = true;
  ++counters.full;
  if (!server_.group()) open_feed();
  replicas_.synchronize(replica);
}

void Replication::publish(base::Args line) {
  if (feed_.listening()) feed_.publish(line, server_.store().commits().open());
}

void Replication::ask_for_acks() { acks_wanted_ = true; }

bool Replication::replicas_caught_up() const {
  return replicas_online() == replicas_in_sync();
}

void Replication::tell_lagging() const {
  replicas_.each([&](const Replica& replica) {
    if (replica.shown_online() && replica.acked < offset())
      log::warning("Lagging replica {} reported offset {} behind master, lag={}, state=online.",
                   replica.session.peer().remote_address(), offset() - replica.acked,
                   (server_.now() - replica.ack_ms) / 1000);
  });
  log::notice("{} of {} replicas are in sync when shutting down.", replicas_in_sync(),
              replicas_online());
}

std::optional<uint64_t> Replication::durable_offset() {
  std::optional<store::Seq> durable = server_.persistence().durable_seq();
  if (!durable) return std::nullopt;
  while (!marks_.empty() && marks_.front().seq <= *durable) {
    durable_ = marks_.front().offset;
    marks_.pop_front();
  }
  return durable_;
}

void Replication::forget(Session& session) {
  waits_.forget(session);
  const bool had = replicas_.any();
  replicas_.forget(session);
  if (had && !replicas_.any()) alone_since_ms_ = server_.now();
}

// --- time --------------------------------------------------------------------------------------

void Replication::begin_turn_end() {
  feed_.flush_messages();
  if (acks_wanted_ && !following() && !failover_.holds_stream()) {
    acks_wanted_ = false;
    if (replicas_.online() > 0) feed_.ask_for_acks();
  }
  if (feed_.is_open() && feed_.foreign_end() != foreign_seen_) {
    foreign_seen_ = feed_.foreign_end();
    if (foreign_seen_ != 0) replicas_.disconnect_foreign(feed_.foreign_command());
  }
  replicas_.begin_turn_end();
  waits_.check();
  // What a replica's own file holds is counted in commits; its primary wants to know the offset.
  const store::Seq seq = server_.store().commits().last_seq();
  if (following() && server_.persistence().durable_seq() &&
      (marks_.empty() ? durable_ < offset() : marks_.back().seq < seq)) {
    if (marks_.size() == kMarksMax) marks_.pop_back();
    marks_.push_back({seq, offset()});
  }
  trim_backlog();
}

void Replication::end_turn() { following_.end_turn(); }

void Replication::trim_backlog() {
  if (!feed_.is_open()) return;
  feed_.backlog().trim(static_cast<uint64_t>(server_.settings().repl_backlog_size),
                       replicas_.needed_from());
}

void Replication::tick() {
  following_.tick();
  replicas_.tick();
  failover_.tick();
  own_keys_.expire(server_.now());
  const base::Millis now = server_.now();
  if (now - second_ms_ < 1000) return;
  second_ms_ = now;
  replicas_.keep_alive();
  if (!replicas_.any()) ping_ms_ = now;  // who comes is sent the first one a period later
  if (following() || !feed_.is_open()) return;
  const Settings& settings = server_.settings();
  if (replicas_.any()) {
    if (now - ping_ms_ < settings.repl_ping_replica_period_seconds * 1000) return;
    ping_ms_ = now;
    if (!failover_.holds_stream() && server_.paused() == PauseKind::none) feed_.ping();
    return;
  }
  const int64_t ttl = settings.repl_backlog_ttl_seconds;
  if (ttl == 0 || now - alone_since_ms_ <= ttl * 1000) return;
  // From here on the offset stands still while the data change: the id must not mean them.
  change_id();
  second_id_.clear();
  second_offset_ = -1;
  feed_.close();
  log::notice("Replication backlog freed after {} seconds without connected replicas.", ttl);
}

}  // namespace quoll::server
