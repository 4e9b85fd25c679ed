#include "server/following.h"

#include "base/numbers.h"
#include "server/log.h"
#include "server/replication.h"
#include "server/script_host.h"
#include "server/script_libraries.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr base::Millis kRetryMinMs = 1000;  // between attempts, as in Redis; grows to
constexpr base::Millis kRetryMaxMs = 5000;
constexpr base::Millis kAckEveryMs = 1000;

}  // namespace

Following::Following(Server& server, Replication& replication)
    : server_(server), replication_(replication) {}

Following::~Following() = default;

void Following::follow(const std::string& host, uint16_t port, bool failover) {
  disconnect();
  host_ = host;
  port_ = port;
  failover_ = failover;
  state_ = State::connect;
  pause_ms_ = 0;
  down_since_ms_ = server_.now();
  log::notice("Connecting to MASTER {}:{}", host_, port_);
  connect();
}

void Following::stop() {
  disconnect();
  state_ = State::none;
  host_.clear();
  port_ = 0;
}

void Following::drop_link() {
  const bool was_connected = state_ == State::connected;
  if (was_connected) down_since_ms_ = server_.now();
  disconnect();
  retry_later();
  if (was_connected) retry_at_ms_ = server_.now();  // it mostly is a passing trouble
}

// --- the connection ----------------------------------------------------------------------------

void Following::connect() {
  state_ = State::connecting;
  io_ms_ = server_.now();
  using Family = host::Endpoint::Family;
  const Family family = host_.find(':') != std::string::npos ? Family::ipv6 : Family::ipv4;
  host::Transport& plain = server_.host().transport;
  host::Transport& transport = server_.settings().tls_replication ? server_.tls() : plain;
  transport.dial({family, host_, port_},
                 [this, attempt = ++attempt_](base::Result<std::unique_ptr<host::Peer>> peer) {
                   if (attempt != attempt_ || state_ != State::connecting) return;
                   server_.refresh_clock();
                   dialed(std::move(peer));
                 });
}

void Following::dialed(base::Result<std::unique_ptr<host::Peer>> peer) {
  if (!peer) {
    log::warning("Error condition on socket for SYNC: {}", peer.error());
    return retry_later();
  }
  log::notice("MASTER <-> REPLICA sync started");
  peer_ = std::move(peer.value());
  link_ = std::make_unique<cluster::PrimaryLink>(*this, hello());
  state_ = State::handshake;
  io_ms_ = connected_ms_ = server_.now();
  bytes_in_ = 0;
  peer_->set_keepalive(static_cast<int>(server_.settings().tcp_keepalive_seconds));
  peer_->start(*this);
  pause_reads(server_.frozen());
  link_->start();
}

cluster::LinkHello Following::hello() const {
  const Settings& settings = server_.settings();
  cluster::LinkHello hello;
  hello.user = settings.masteruser;
  hello.password = settings.masterauth;
  hello.listening_port = settings.replica_announce_port != 0
                             ? static_cast<uint16_t>(settings.replica_announce_port)
                             : server_.port();
  hello.announce_ip = settings.replica_announce_ip;
  if (replication_.has_history()) {
    hello.replid = replication_.id();
    hello.offset = replication_.offset();
    log::notice("Trying a partial resynchronization (request {}:{}).", hello.replid,
                hello.offset + 1);
  } else {
    log::notice("Partial resynchronization not possible (no cached master)");
  }
  hello.failover = failover_;
  return hello;
}

void Following::link_send(std::string bytes) {
  out_ += bytes;
  send_more();
}

void Following::send_more() {
  while (peer_ && !out_.empty()) {
    const base::Bytes part = out_;
    const size_t taken = peer_->send({&part, 1});
    if (!peer_) return;  // the transport found it broken
    out_.erase(0, taken);
    replication_.counters.bytes_out += taken;
    server_.stats().net_output_bytes += taken;
    if (taken < part.size()) return;
  }
}

std::span<char> Following::receive_buffer() { return server_.scratch(); }

void Following::received(size_t bytes) {
  server_.refresh_clock();
  io_ms_ = server_.now();
  bytes_in_ += bytes;
  replication_.counters.bytes_in += bytes;
  server_.stats().net_input_bytes += bytes;
  link_->feed({server_.scratch().data(), bytes});
}

void Following::writable() { send_more(); }

void Following::closed(const std::string& reason) {
  if (state_ == State::connected)
    log::warning("Connection with master lost.");
  else
    log::warning("The connection to the master ended during synchronization: {}",
                 reason.empty() ? "closed by the other side" : reason);
  drop_link();
}

void Following::link_failed(const std::string& reason, bool later) {
  if (later)
    log::notice("{}", reason);
  else
    log::warning("{}", reason);
  const bool handing_over = failover_;
  drop_link();
  if (handing_over) replication_.failover_refused(reason);  // follows nobody from here on
}

// Nothing of the link is heard any more; what came whole stays.
void Following::disconnect() {
  ++attempt_;
  give_up_load("the link to the master broke");
  if (link_) link_->stop();
  if (peer_) peer_->close();
  // This may run inside one of their own calls.
  if (link_) old_link_ = std::move(link_);
  if (peer_) old_peer_ = std::move(peer_);
  if (stream_) {
    database_ = stream_->database();
    old_stream_ = std::move(stream_);
  }
  out_.clear();
  server_.host().loop.post([] {});  // a turn end to free them
}

void Following::retry_later() {
  state_ = State::connect;
  pause_ms_ = pause_ms_ == 0 ? kRetryMinMs : std::min(pause_ms_ * 3 / 2, kRetryMaxMs);
  retry_at_ms_ = server_.now() + pause_ms_;
}

void Following::tick() {
  if (state_ == State::none) return;
  if (state_ == State::connect) {
    if (server_.now() >= retry_at_ms_) {
      log::notice("Connecting to MASTER {}:{}", host_, port_);
      connect();
    }
    return;
  }
  if (!server_.frozen() &&
      server_.now() - io_ms_ > server_.settings().repl_timeout_seconds * 1000) {
    log::warning("{}", state_ == State::connected
                           ? "MASTER timeout: no data nor PING received..."
                           : "Timeout connecting to the MASTER, or receiving data from it...");
    return drop_link();
  }
  if (server_.now() - told_ms_ < kAckEveryMs) return;
  if (state_ == State::connected) acknowledge();
  if (state_ == State::transfer) {
    told_ms_ = server_.now();
    link_send("\n");  // a sign of life
  }
}

void Following::end_turn() {
  old_link_.reset();
  old_peer_.reset();
  old_stream_.reset();
}

void Following::pause_reads(bool paused) {
  if (!peer_) return;
  peer_->pause_reads(paused);
  if (!paused) io_ms_ = server_.now();
}

void Following::acknowledge() {
  told_ms_ = server_.now();
  const std::string offset = std::to_string(replication_.offset());
  std::vector<base::Bytes> line = {"REPLCONF", "ACK", offset};
  std::string durable;
  if (std::optional<uint64_t> at = replication_.durable_offset()) {
    durable = std::to_string(*at);
    line.insert(line.end(), {"FACK", durable});
  }
  std::string bytes;
  persist::AofEncoder::append_command(line, bytes);
  link_send(std::move(bytes));
}

// --- all data ----------------------------------------------------------------------------------

void Following::link_full_sync(const std::string& replid, uint64_t offset) {
  log::notice("Full resync from master: {}:{}", replid, offset);
  sync_id_ = replid;
  sync_offset_ = offset;
  sync_total_ = sync_read_ = 0;
  state_ = State::transfer;
}

void Following::link_rdb_begins(uint64_t bytes) {
  sync_total_ = bytes;
  const bool aside = server_.settings().repl_diskless_load == DisklessLoad::swapdb;
  // The old data is another point of the same history: it may be shown meanwhile.
  const bool serving = aside && replication_.id() == sync_id_;
  log::notice("MASTER <-> REPLICA sync: receiving {} from master{}",
              bytes > 0 ? std::to_string(bytes) + " bytes" : "streamed RDB",
              aside ? " into a second set of databases" : "");
  replication_.lose_replicas();
  store::Store& store = server_.store();
  if (aside) {
    staging_ = std::make_unique<store::Store>(store.databases(), store.placement());
    staging_->access() = store.access();
  } else {
    log::notice("MASTER <-> REPLICA sync: Flushing old data");
    replication_.empty_store();
  }
  server_.persistence().begin_sync(serving);
  persist::LoadOptions options;
  options.decode.packing = server_.packing();
  options.decode.now = server_.now();
  options.checksum = server_.settings().rdbchecksum;
  options.keep_expired = true;
  load_ = std::make_unique<persist::RdbLoad>(staging_ ? *staging_ : store, std::move(options));
  log::notice("MASTER <-> REPLICA sync: Loading DB in memory");
}

void Following::link_rdb(base::Bytes bytes) {
  sync_read_ += bytes.size();
  loads([&] { return load_->feed(bytes); });
}

// One step of the load, inside a commit. False: it failed and the link is dropped.
template <class Step>
bool Following::loads(Step&& step) {
  store::CommitBuilder& commits = (staging_ ? *staging_ : server_.store()).commits();
  commits.begin(store::Origin::load, server_.now());
  base::Result<> stepped = step();
  commits.close();
  if (stepped) return true;
  log::warning("Failed trying to load the MASTER synchronization DB: {}", stepped.error());
  drop_link();
  return false;
}

void Following::link_rdb_ends() {
  ScriptLibraries& libraries = server_.scripts().libraries();
  if (!loads([&] { return load_->finish(); }) || !loads([&] {
        return libraries.load_all(load_->functions(), ScriptLibraries::OnPresent::replace, true);
      }))
    return;
  if (staging_) {
    replication_.empty_store();
    server_.store().adopt(*staging_);
    staging_.reset();
  }
  database_ = 0;
  for (const auto& [name, value] : load_->aux()) {
    int64_t database;
    if (name == "repl-stream-db" && base::parse_int(value, database) && database >= 0)
      database_ = static_cast<store::DbIndex>(database);
  }
  log::notice("Done loading RDB, keys loaded: {}, keys expired: {}.", load_->keys_loaded(),
              load_->keys_expired());
  load_.reset();
  replication_.adopt_history(sync_id_, sync_offset_);
  server_.persistence().end_sync();
  log::notice("MASTER <-> REPLICA sync: Finished with success");
  stream_begins();
}

// What came so far of all data is worth nothing.
void Following::give_up_load(const std::string& reason) {
  if (!load_) return;
  log::warning("The synchronization is given up: {}", reason);
  load_.reset();
  if (staging_) {
    server_.store().discard(*staging_);
    staging_.reset();
    server_.persistence().end_sync();
    return;
  }
  replication_.empty_store();
  replication_.lose_history();
  server_.persistence().end_sync();
}

// --- the stream --------------------------------------------------------------------------------

void Following::link_continues(const std::string& replid) {
  if (replid.empty() || replid == replication_.id()) {
    log::notice("Successful partial resynchronization with master.");
  } else {
    log::notice(
        "Successful partial resynchronization with master. Master replication ID changed "
        "to {}",
        replid);
    replication_.rename_history(replid);
  }
  replication_.keep_backlog();
  stream_begins();
}

void Following::stream_begins() {
  state_ = State::connected;
  pause_ms_ = 0;
  failover_ = false;
  stream_ = std::make_unique<ReplicaStream>(server_, database_);
  replication_.followed();
  acknowledge();
}

void Following::link_stream(base::Bytes bytes) {
  base::Result<> applied = stream_->apply(bytes);
  if (!applied) {
    log::warning("{}", applied.error());
    replication_.lose_history();
    return drop_link();
  }
  if (stream_ && stream_->take_ack_request()) acknowledge();
}

Following::Info Following::info() const {
  Info info;
  const base::Millis now = server_.now();
  if (connected() || state_ == State::transfer) info.last_io_seconds = (now - io_ms_) / 1000;
  if (!connected()) info.down_seconds = (now - down_since_ms_) / 1000;
  info.loading = state_ == State::transfer;
  info.sync_total = sync_total_;
  info.sync_read = sync_read_;
  info.sync_io_ms = io_ms_;
  info.since_ms = connected_ms_;
  info.bytes_in = bytes_in_;
  if (peer_) {
    info.address = peer_->remote_address();
    info.local_address = peer_->local_address();
  }
  return info;
}

}  // namespace quoll::server
