#include "server/migrations.h"

#include "cluster/replica_dialect.h"
#include "persist/aof_encoder.h"
#include "persist/dump_payload.h"
#include "server/server.h"
#include "wire/reply_parser.h"

namespace quoll::server {
namespace {

constexpr base::Bytes kNotConnected = "IOERR error or timeout connecting to the client";
constexpr base::Bytes kNotWritten = "IOERR error or timeout writing to target instance";
constexpr base::Bytes kNotRead = "IOERR error or timeout reading to target instance";

}  // namespace

class Migrations::Transfer final : public host::PeerEvents,
                                   public std::enable_shared_from_this<Transfer> {
 public:
  enum class State : uint8_t { dialing, holding, over };

  Transfer(Migrations& owner, const Session& session, MigrationOrder order)
      : owner_(owner),
        server_(owner.server_),
        session_(session.id),
        turn_(session.commands_run + 1),
        order_(std::move(order)) {}
  ~Transfer() override {
    if (state_ != State::over) stop();
  }

  void start();
  // Nothing more is done or told.
  void stop();

  State state() const { return state_; }
  // Until it is forgotten, so that the command that removes the keys comes before all others.
  bool holds_writes() const { return held_; }
  SessionId session() const { return session_; }
  // The client's command that began it is still the one it waits for.
  bool awaited_by(const Session& session) const { return session.commands_run == turn_; }
  MigrationOutcome& outcome() { return outcome_; }

  // host::PeerEvents
  std::span<char> receive_buffer() override { return server_.scratch(); }
  void received(size_t bytes) override;
  void writable() override { send_more(); }
  void closed(const std::string&) override { fail(out_.empty() ? kNotRead : kNotWritten); }

 private:
  void dialed(base::Result<std::unique_ptr<host::Peer>> peer);
  void write_requests();
  void send_more();
  void take(const wire::Reply& reply);
  void await_progress();
  void fail(base::Bytes error);
  void end();

  Migrations& owner_;
  Server& server_;
  const SessionId session_;
  const uint64_t turn_;
  MigrationOrder order_;
  MigrationOutcome outcome_;
  State state_ = State::dialing;
  bool held_ = false;
  std::unique_ptr<host::Peer> peer_;
  host::TimerId timer_ = 0;
  std::string out_;       // requests; freed when all are taken
  size_t out_taken_ = 0;  // of them, by the transport
  wire::ReplyParser parser_;
  std::vector<std::string> sent_;  // keys, in the order of their replies
  size_t preamble_ = 0;            // replies in front of those of the keys
  size_t replies_ = 0;
};

void Migrations::Transfer::start() {
  await_progress();
  if (order_.port == 0) return fail(kNotConnected);
  using Family = host::Endpoint::Family;
  const Family family = order_.host.find(':') != std::string::npos ? Family::ipv6 : Family::ipv4;
  host::Transport& plain = server_.host().transport;
  host::Transport& transport = server_.settings().tls_cluster ? server_.tls() : plain;
  transport.dial({family, order_.host, order_.port},
                 [weak = weak_from_this()](base::Result<std::unique_ptr<host::Peer>> peer) {
                   auto self = weak.lock();
                   if (!self || self->state_ == State::over) return;
                   self->server_.refresh_clock();
                   self->dialed(std::move(peer));
                 });
}

void Migrations::Transfer::stop() {
  state_ = State::over;
  server_.host().loop.cancel(std::exchange(timer_, 0));
  if (peer_) peer_->close();
}

void Migrations::Transfer::dialed(base::Result<std::unique_ptr<host::Peer>> peer) {
  if (!peer) return fail(kNotWritten);  // Redis finds out when it writes
  peer_ = std::move(peer.value());
  // Others may have stopped the writes meanwhile: removing the keys would be one.
  if (server_.paused() != PauseKind::none || server_.follows()) return fail(kNotWritten);
  state_ = State::holding;
  held_ = true;
  owner_.update_hold();
  write_requests();
  if (sent_.empty()) return end();
  await_progress();
  peer_->start(*this);
  send_more();
}

void Migrations::Transfer::write_requests() {
  auto write = [&](std::vector<base::Bytes> line) {
    persist::AofEncoder::append_command(line, out_);
  };
  if (!order_.login.empty()) {
    write({order_.login.begin(), order_.login.end()});
    ++preamble_;
  }
  const std::string database = std::to_string(order_.to);
  write({"SELECT", database});
  ++preamble_;
  // A node of a cluster takes a key that is not its own yet only by this name.
  const base::Bytes restore = server_.cluster() ? "RESTORE-ASKING" : "RESTORE";
  const base::Millis now = server_.now();
  for (std::string& key : order_.keys) {
    const store::Store& store = server_.store();
    const store::Entry* entry = store.find(order_.from, store.ref(key), now);
    if (!entry) continue;
    const std::string ttl =
        std::to_string(entry->has_ttl() ? std::max<base::Millis>(entry->deadline() - now, 1) : 0);
    const std::string payload = persist::dump_payload(*entry, cluster::kReplicaRdbVersion,
                                                      server_.settings().rdbcompression);
    std::vector<base::Bytes> line = {restore, key, ttl, payload};
    if (order_.replace) line.push_back("REPLACE");
    write(std::move(line));
    sent_.push_back(std::move(key));
  }
}

void Migrations::Transfer::send_more() {
  while (state_ == State::holding && !out_.empty()) {
    const base::Bytes part = base::Bytes(out_).substr(out_taken_);
    const size_t taken = peer_->send({&part, 1});
    if (state_ != State::holding) return;  // the transport found it broken
    if (taken > 0) await_progress();
    server_.stats().net_output_bytes += taken;
    out_taken_ += taken;
    if (taken < part.size()) return;
    std::string().swap(out_);
  }
}

void Migrations::Transfer::received(size_t bytes) {
  auto self = shared_from_this();
  server_.refresh_clock();
  await_progress();
  server_.stats().net_input_bytes += bytes;
  parser_.feed({server_.scratch().data(), bytes});
  wire::Reply reply;
  while (state_ == State::holding) {
    const auto status = parser_.next(reply);
    if (status == wire::ReplyParser::Status::incomplete) return;
    if (status == wire::ReplyParser::Status::error) return fail(kNotRead);
    take(reply);
  }
}

// A refused AUTH or SELECT spoils all: what RESTORE did then was not what was meant.
void Migrations::Transfer::take(const wire::Reply& reply) {
  const size_t index = replies_++;
  if (reply.is_error()) {
    if (outcome_.error.empty())
      outcome_.error = "ERR Target instance replied with error: " + reply.text;
    if (index < preamble_) return end();
  } else if (index >= preamble_) {
    outcome_.arrived.push_back(std::move(sent_[index - preamble_]));
  }
  if (replies_ == preamble_ + sent_.size()) end();
}

void Migrations::Transfer::await_progress() {
  host::Loop& loop = server_.host().loop;
  loop.cancel(timer_);
  timer_ = loop.after(order_.timeout_ms * base::kNanosPerMilli, [this] {
    timer_ = 0;
    server_.refresh_clock();
    fail(state_ == State::dialing ? kNotConnected : out_.empty() ? kNotRead : kNotWritten);
  });
}

void Migrations::Transfer::fail(base::Bytes error) {
  outcome_.error = error;
  end();
}

void Migrations::Transfer::end() {
  if (state_ == State::over) return;
  auto self = shared_from_this();
  stop();
  // Not from inside the command that began it.
  server_.host().loop.post([self] {
    self->server_.refresh_clock();
    self->owner_.ended(*self);
  });
}

Migrations::Migrations(Server& server) : server_(server) {}

Migrations::~Migrations() {
  for (auto& [session, transfer] : transfers_) transfer->stop();
}

void Migrations::begin(const Session& session, MigrationOrder order) {
  cancel(session.id);
  auto transfer = std::make_shared<Transfer>(*this, session, std::move(order));
  transfers_[session.id] = transfer;
  transfer->start();
}

// Runs the command again that began it, still before anybody else may write.
void Migrations::ended(Transfer& transfer) {
  const SessionId id = transfer.session();
  auto at = transfers_.find(id);
  if (at == transfers_.end() || at->second.get() != &transfer) return;
  Session* session = server_.find_session(id);
  if (session && session->parked() && transfer.awaited_by(*session)) {
    // Where nothing may change any more the keys stay on both servers.
    if (server_.frozen() || server_.follows())
      session->unblock(kNotRead);
    else
      session->run_again();
  }
  cancel(id);
}

std::optional<MigrationOutcome> Migrations::take(SessionId session) {
  auto at = transfers_.find(session);
  if (at == transfers_.end()) return MigrationOutcome{std::string(kNotRead), {}};
  if (at->second->state() != Transfer::State::over) return std::nullopt;
  return std::move(at->second->outcome());
}

void Migrations::cancel(SessionId session) {
  auto at = transfers_.find(session);
  if (at == transfers_.end()) return;
  at->second->stop();
  // This may run inside one of its own calls.
  server_.host().loop.post([dead = std::move(at->second)] {});
  transfers_.erase(at);
  update_hold();
}

void Migrations::update_hold() {
  bool holds = false;
  for (const auto& [session, transfer] : transfers_) holds |= transfer->holds_writes();
  server_.hold_writes(HoldWrites::migration, holds);
}

}  // namespace quoll::server
