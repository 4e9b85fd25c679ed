#include "server/replicas.h"

#include <fmt/format.h>

#include "cluster/replica_dialect.h"
#include "persist/rdb_save.h"
#include "server/group.h"
#include "server/log.h"
#include "server/replication.h"
#include "server/script_host.h"
#include "server/script_libraries.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr unsigned kRdbVersionNewest = 12;

std::string mark_of(host::Random& random) {
  std::string mark;
  while (mark.size() < cluster::kEofMarkBytes) mark += fmt::format("{:016x}", random.draw());
  mark.resize(cluster::kEofMarkBytes);
  return mark;
}

std::string name_of(const Replica& replica) {
  std::string address = replica.announced_ip;
  if (address.empty()) {
    address = replica.session.peer().remote_address();
    address = address.substr(0, address.rfind(':'));
  }
  return fmt::format("{}:{}", address, replica.listening_port);
}

}  // namespace

// --- one replica -------------------------------------------------------------------------------

Replica::~Replica() {
  if (transfer) transfer->remove(reader);
}

size_t Replica::gather(std::span<base::Bytes> parts) {
  part_ = Part::none;
  size_t count = 0;
  if (!text.empty()) {
    part_ = Part::text;
    parts[0] = text;
    return 1;
  }
  end_rdb();
  if (state == State::transfer && transfer) {
    part_ = Part::rdb;
    count = transfer->gather(reader, parts);
  } else if (state == State::online) {
    part_ = Part::stream;
    count = server.replication().feed().backlog().gather(sent, parts);
  }
  return count;
}

void Replica::consumed(size_t bytes) {
  if (bytes == 0) return;
  progress_ms = server.now();
  server.replication().counters.bytes_out += bytes;
  switch (part_) {
    case Part::text:
      text.erase(0, bytes);
      return;
    case Part::stream:
      sent += bytes;
      return;
    case Part::rdb:
      break;
    case Part::none:
      return;
  }
  transfer->consumed(reader, bytes);
  end_rdb();
}

// All of the RDB was sent, if it was.
void Replica::end_rdb() {
  if (!transfer || !transfer->finished(reader)) return;
  const bool streamed = transfer->streamed();
  transfer->remove(reader);
  transfer.reset();
  // One that finds the mark by looking at the end of what came must not get anything behind it
  // before it says that it is done.
  state = streamed || only_rdb ? State::settling : State::online;
  if (only_rdb) {
    log::notice("RDB transfer completed, rdb only replica ({}) should be disconnected asap",
                name_of(*this));
    return session.close_after_reply();
  }
  if (state != State::online) return;
  ack_ms = server.now();  // from here on it is due to acknowledge
  log::notice("Synchronization with replica {} succeeded", name_of(*this));
}

void Replica::say(base::Bytes line) {
  text += line;
  session.output_written();
}

bool Replica::awaits_bytes() const {
  return state == State::transfer && transfer && transfer->waiting(reader) == 0;
}

size_t Replica::lag_bytes() const {
  size_t lag = text.size() + (transfer ? transfer->waiting(reader) : 0);
  if (state != State::none && state != State::waiting)
    lag += server.replication().feed().offset() - sent;
  return lag;
}

// --- all of them -------------------------------------------------------------------------------

Replica& Replicas::of(Session& session) {
  auto at = replicas_.find(session.id);
  if (at == replicas_.end())
    at = replicas_.emplace(session.id, std::make_unique<Replica>(server_, session)).first;
  return *at->second;
}

Replica* Replicas::find(const Session& session) {
  auto at = replicas_.find(session.id);
  return at == replicas_.end() ? nullptr : at->second.get();
}

void Replicas::forget(const Session& session) {
  auto at = replicas_.find(session.id);
  if (at == replicas_.end()) return;
  at->second->session.set_source(nullptr);
  if (at->second->state != Replica::State::none)
    log::notice("Connection with replica {} lost.", name_of(*at->second));
  replicas_.erase(at);
}

void Replicas::go_on(Replica& replica, uint64_t offset, const std::string& replid) {
  replica.session.set_source(&replica);
  replica.session.set_reply_flags(kReplyOff);
  replica.state = Replica::State::online;
  replica.sent = replica.acked = offset;
  replica.progress_ms = replica.ack_ms = server_.now();
  replica.say(replica.psync2 ? "+CONTINUE " + replid + "\r\n" : "+CONTINUE\r\n");
  log::notice(
      "Partial resynchronization request from {} accepted. Sending {} bytes of backlog starting "
      "from offset {}.",
      name_of(replica), replication_.offset() - offset, offset + 1);
}

void Replicas::synchronize(Replica& replica) {
  replica.session.set_source(&replica);
  replica.session.set_reply_flags(kReplyOff);
  replica.state = Replica::State::waiting;
  replica.since_ms = replica.progress_ms = server_.now();
  if (replica.no_data) return send_without_data(replica);
  if (sync_due()) request_snapshot();
}

// Whether those who wait need not wait for others any longer. Replicas come together, after a
// restart of theirs or ours; tools do not.
bool Replicas::sync_due() const {
  if (requested_) return false;
  const Settings& settings = server_.settings();
  int64_t waiting = 0;
  bool hurry = false;
  base::Millis since = server_.now();
  each([&](const Replica& replica) {
    if (replica.state != Replica::State::waiting) return;
    ++waiting;
    hurry |= replica.only_rdb || !replica.takes_mark;
    since = std::min(since, replica.since_ms);
  });
  if (waiting == 0) return false;
  const int64_t enough = settings.repl_diskless_sync_max_replicas;
  return !settings.repl_diskless_sync || hurry || (enough > 0 && waiting >= enough) ||
         server_.now() - since >= settings.repl_diskless_sync_delay_seconds * 1000;
}

void Replicas::request_snapshot() {
  requested_ = true;
  server_.persistence().stream([this] { return begin_transfer(); },
                               [this](base::Result<> result) { end_transfer(result); });
}

// The snapshot begins: all who wait get it, in the oldest form one of them needs.
Persistence::Stream Replicas::begin_transfer() {
  transfer_ = std::make_shared<RdbTransfer>(server_.persistence().storage().disk);
  Persistence::Stream stream;
  bool marked = server_.settings().repl_diskless_sync;
  stream.rdb_version = kRdbVersionNewest;
  each([&](Replica& replica) {
    if (replica.state != Replica::State::waiting) return;
    marked = marked && replica.takes_mark;
    stream.rdb_version = std::min(stream.rdb_version, rdb_version_for(replica));
    replica.transfer = transfer_;
    replica.reader.wake = [&replica] { replica.session.output_written(); };
    transfer_->add(replica.reader);
    greet(replica);
  });
  if (!transfer_->has_readers()) {
    requested_ = false;
    transfer_.reset();
    return {};
  }
  hold_back(transfer_);
  replication_.feed().forget_database();  // the replicas' streams begin in database 0
  log::notice("Starting BGSAVE for SYNC with target: {}, offset {}, RDB version {}",
              marked ? "replicas sockets" : "disk", replication_.offset(), stream.rdb_version);
  log::notice("Background {} started by pid {}", marked ? "RDB transfer" : "saving",
              server_.host().process.pid());
  if (marked) {
    stream.output = transfer_->stream(mark_of(server_.host().random));
  } else {
    const std::string path =
        fmt::format("temp-repl-{}.{}.rdb", server_.host().process.pid(), ++spools_);
    stream.output =
        transfer_->spool(path, [this, transfer = transfer_.get()](const std::string& error) {
          fail_transfer(transfer, "its file cannot be read: " + error);
        });
  }
  return stream;
}

// A tool writes a file, which must hold everything; what will read it, it does not know.
unsigned Replicas::rdb_version_for(const Replica& replica) const {
  const bool needs_newest = replica.only_rdb && server_.store().has_field_deadlines();
  return needs_newest ? kRdbVersionNewest : replica.rdb_version;
}

// In a group: until the data as of now may be seen. Who waits for them in vain is dropped.
void Replicas::hold_back(const std::shared_ptr<RdbTransfer>& transfer) {
  ReplicaGroup* group = server_.group();
  if (!group) return;
  transfer->hold_back();
  group->when_settled([this, transfer](const base::Result<>& settled) {
    if (settled) return transfer->let_go();
    fail_transfer(transfer.get(), settled.error());
  });
}

// Where the data that follows stand in the stream.
void Replicas::greet(Replica& replica) {
  replica.state = Replica::State::transfer;
  replica.sent = replica.acked = replication_.offset();
  replica.progress_ms = server_.now();
  if (!replica.old_sync)
    replica.say(fmt::format("+FULLRESYNC {} {}\r\n", replication_.id(), replication_.offset()));
}

void Replicas::send_without_data(Replica& replica) {
  auto transfer = std::make_shared<RdbTransfer>(server_.persistence().storage().disk);
  replica.transfer = transfer;
  replica.reader.wake = [&replica] { replica.session.output_written(); };
  transfer->add(replica.reader);
  greet(replica);
  hold_back(transfer);
  replication_.feed().forget_database();
  persist::SaveOptions options;
  options.version = cluster::kReplicaRdbVersion;
  if (!replica.no_functions) options.functions = server_.scripts().libraries().codes();
  persist::RdbSave rdb(std::move(options), server_.now());
  rdb.finish();
  std::unique_ptr<persist::SnapshotOutput> output =
      transfer->stream(mark_of(server_.host().random));
  output->append(rdb.take());
  output->finish([](base::Result<>) {});
}

void Replicas::end_transfer(const base::Result<>& result) {
  requested_ = false;
  std::shared_ptr<RdbTransfer> ended = std::exchange(transfer_, nullptr);
  if (!ended) return;  // the snapshot never began: who waits is asked for again
  if (result && ended->streamed())
    return log::notice("Diskless rdb transfer, done reading from pipe, {} replicas still up.",
                       ended->readers());
  if (result) return log::notice("Background saving terminated with success");
  if (!ended->has_readers())
    return log::notice("Diskless rdb transfer, last replica dropped, killing fork child.");
  fail_transfer(ended.get(), result.error());
}

void Replicas::fail_transfer(const RdbTransfer* transfer, const std::string& reason) {
  log::warning("The transfer of all data to replicas failed: {}", reason);
  std::vector<Session*> failed;
  each([&](Replica& replica) {
    if (replica.transfer && replica.transfer.get() == transfer) failed.push_back(&replica.session);
  });
  for (Session* session : failed) session->end();
}

void Replicas::disconnect_all() {
  std::vector<Session*> all;
  each([&](Replica& replica) { all.push_back(&replica.session); });
  for (Session* session : all) session->close_soon();
}

void Replicas::disconnect_foreign(const std::string& command) {
  std::vector<Session*> foreign;
  each([&](Replica& replica) {
    if (!replica.quoll) foreign.push_back(&replica.session);
  });
  if (foreign.empty()) return;
  log::warning(
      "{} replicas are disconnected: the effect {} has no words in Redis 7.0, and they would no "
      "longer be equal to this server.",
      foreign.size(), command);
  for (Session* session : foreign) session->close_soon();
}

void Replicas::acknowledge(Replica& replica, uint64_t offset, uint64_t durable) {
  replica.progress_ms = replica.ack_ms = server_.now();
  replica.acked = std::max(replica.acked, std::min(offset, replication_.offset()));
  replica.durable = std::max(replica.durable, durable);
  if (replica.state != Replica::State::settling) return;
  replica.state = Replica::State::online;
  replica.session.output_written();
  log::notice("Synchronization with replica {} succeeded", name_of(replica));
}

// --- what there is -----------------------------------------------------------------------------

bool Replicas::any() const { return count() > 0; }

size_t Replicas::count() const {
  size_t count = 0;
  each([&](const Replica&) { ++count; });
  return count;
}

size_t Replicas::online() const {
  size_t count = 0;
  each([&](const Replica& replica) { count += replica.state == Replica::State::online; });
  return count;
}

size_t Replicas::shown_online() const {
  size_t count = 0;
  each([&](const Replica& replica) { count += replica.shown_online(); });
  return count;
}

size_t Replicas::shown_in_sync(uint64_t offset) const {
  size_t count = 0;
  each([&](const Replica& replica) { count += replica.shown_online() && replica.acked >= offset; });
  return count;
}

size_t Replicas::acked(uint64_t offset) const {
  size_t count = 0;
  each([&](const Replica& replica) {
    count += replica.state == Replica::State::online && replica.acked >= offset;
  });
  return count;
}

size_t Replicas::durable(uint64_t offset) const {
  size_t count = 0;
  each([&](const Replica& replica) {
    count += replica.state == Replica::State::online && replica.durable >= offset;
  });
  return count;
}

size_t Replicas::good(base::Millis max_lag_ms) const {
  size_t count = 0;
  each([&](const Replica& replica) {
    count +=
        replica.state == Replica::State::online && server_.now() - replica.ack_ms <= max_lag_ms;
  });
  return count;
}

uint64_t Replicas::needed_from() const {
  uint64_t needed = UINT64_MAX;
  each([&](const Replica& replica) {
    if (replica.state != Replica::State::waiting) needed = std::min(needed, replica.sent);
  });
  return needed;
}

size_t Replicas::buffer_bytes() const { return transfer_ ? transfer_->held() : 0; }

// --- time --------------------------------------------------------------------------------------

void Replicas::begin_turn_end() {
  const uint64_t offset = replication_.offset();
  if (offset == sent_offset_ || replicas_.empty()) return;
  sent_offset_ = offset;
  each([&](Replica& replica) {
    if (replica.state == Replica::State::online && replica.sent < offset)
      replica.session.output_written();
  });
  drop_lagging();
}

void Replicas::tick() {
  if (replicas_.empty()) return;
  if (sync_due()) request_snapshot();
  drop_lagging();
  std::vector<Replica*> all;
  each([&](Replica& replica) { all.push_back(&replica); });
  for (Replica* replica : all) check_timeout(*replica);
}

void Replicas::drop_lagging() {
  std::vector<Session*> over;
  each([&](Replica& replica) {
    if (over_limits(replica)) over.push_back(&replica.session);
  });
  for (Session* session : over) session->close_soon();
}

// client-output-buffer-limit replica.
bool Replicas::over_limits(Replica& replica) {
  const Settings& settings = server_.settings();
  const OutputLimit& limits = settings.client_output_buffer_limit[ClientClass::replica];
  const size_t lag = replica.lag_bytes();
  // A replica that lags by less than the backlog costs nothing more.
  const auto least = static_cast<size_t>(settings.repl_backlog_size);
  const bool hard = limits.hard != 0 && lag > std::max<size_t>(limits.hard, least);
  const bool soft = limits.soft != 0 && lag > std::max<size_t>(limits.soft, least);
  if (!soft) replica.soft_since_ms = 0;
  if (soft && replica.soft_since_ms == 0) replica.soft_since_ms = server_.now();
  const bool soft_due = soft && server_.now() - replica.soft_since_ms > limits.soft_seconds * 1000;
  if (!hard && !soft_due) return false;
  ++server_.stats().output_buffer_limit_disconnections;
  log::warning(
      "Client id={} addr={} scheduled to be closed ASAP for overcoming of output buffer limits.",
      replica.session.id, replica.session.peer().remote_address());
  return true;
}

void Replicas::check_timeout(Replica& replica) {
  using State = Replica::State;
  base::Millis heard = replica.state == State::online ? replica.ack_ms : replica.progress_ms;
  // One that loads sends empty lines, which are a sign of life.
  if (replica.state != State::transfer) heard = std::max(heard, replica.session.received_ms);
  const base::Millis idle = server_.now() - heard;
  const base::Millis patience = server_.settings().repl_timeout_seconds * 1000;
  // While it waits for the snapshot to begin, or for its next bytes, the delay is ours. One that
  // came by SYNC never acknowledges.
  const bool waits = replica.state == State::waiting || replica.awaits_bytes() ||
                     (replica.old_sync && replica.state == State::online);
  if (waits || idle <= patience) return;
  log::warning("Disconnecting timedout replica ({}): {}",
               replica.state == State::online ? "streaming sync" : "full sync", name_of(replica));
  replica.session.close_soon();
}

void Replicas::keep_alive() {
  each([&](Replica& replica) {
    const bool silent = replica.state == Replica::State::waiting ||
                        (replica.reader.at == 0 && replica.awaits_bytes());
    if (silent) replica.say("\n");
  });
}

}  // namespace quoll::server
