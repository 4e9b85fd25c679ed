// Server's connections: listening, accepting, ending.
#include <fmt/format.h>

#include "server/change_readers.h"
#include "server/cluster_node.h"
#include "server/endpoints.h"
#include "server/group.h"
#include "server/group_settings.h"
#include "server/log.h"
#include "server/replication.h"
#include "server/server.h"

namespace quoll::server {
namespace {

// Whoever makes browsers send requests here shall not fill the log as well.
constexpr base::Millis kCrossProtocolQuietMs = 60 * 1000;
constexpr base::Bytes kMaxClientsReply = "-ERR max number of clients reached\r\n";
constexpr base::Bytes kProtectedReply =
    "-DENIED Redis is running in protected mode because protected mode is enabled and no password "
    "is set for the default user. In this mode connections are only accepted from the loopback "
    "interface. If you want to connect from external computers to Redis you may adopt one of the "
    "following solutions: 1) Just disable protected mode sending the command 'CONFIG SET "
    "protected-mode no' from the loopback interface by connecting to Redis from the same host the "
    "server is running, however MAKE SURE Redis is not publicly accessible from internet if you do "
    "so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable "
    "the protected mode by editing the Redis configuration file, and setting the protected mode "
    "option to 'no', and then restarting the server. 3) If you started the server manually just "
    "for testing, restart it with the '--protected-mode no' option. 4) Setup a an authentication "
    "password for the default user. NOTE: You only need to do one of the above things in order for "
    "the server to start accepting connections from the outside.\r\n";

}  // namespace

base::Result<> Server::start(host::OnDone ready) {
  if (settings().cluster_enabled && settings().cluster_group.empty() && !cluster_) {
    auto node = std::make_unique<ClusterNode>(*this);
    node_ = node.get();
    publications_.set_route(node_);
    cluster_ = std::move(node);
  }
  if (auto done = cluster_secrets_.load(); !done) return done;
  if (settings().cluster_enabled && !cluster_) {
    auto config = group_config(settings());
    if (!config) return base::Error{config.error()};
    auto group = std::make_unique<ReplicaGroup>(*this, config.value());
    group_ = group.get();
    publications_.set_route(group_);
    cluster_ = std::move(group);
  }
  if (auto done = acl_.start(); !done) return done;
  if (auto done = listen_tcp(listeners_); !done) return done;
  if (auto done = listen_unix(listeners_); !done) return done;
  if (auto done = configure_tls(); !done) {
    log::warning("{}", done.error());
    return base::Error{"Failed to configure TLS. Check logs for more info."};
  }
  if (auto done = listen_tls(tls_listeners_); !done) return done;
  if (listeners_.empty() && tls_listeners_.empty())
    return base::Error{"Configured to not listen anywhere, exiting."};
  for (auto& listener : listeners_) listener->pause(true);
  for (auto& listener : tls_listeners_) listener->pause(true);
  refresh_clock();
  started_ms_ = now_;
  startup_memory_ = base::memory_used();
  host_.loop.after(0, [this] { tick(); });
  persistence_.start([this, ready = std::move(ready)](base::Result<> loaded) {
    if (loaded) loaded = check_databases();
    if (loaded) replication_->start();
    ready(std::move(loaded));
  });
  return {};
}

// Clients of a cluster cannot reach any other database.
base::Result<> Server::check_databases() const {
  if (!cluster_) return {};
  for (store::DbIndex db = 1; db < store_.databases(); ++db) {
    if (store_.keys(db) == 0) continue;
    const std::string error = fmt::format(
        "database {} holds {} keys, but a cluster has database 0 only: move them there before "
        "cluster-enabled",
        db, store_.keys(db));
    log::warning("{}", error);
    return base::Error{error};
  }
  return {};
}

void Server::admit_connections() {
  for (auto& listener : listeners_) listener->pause(false);
  for (auto& listener : tls_listeners_) listener->pause(false);
}

base::Result<> Server::listen_tcp(Listeners& listeners) {
  if (settings().port == 0) return {};
  return listen_addresses(settings().port, false, listeners);
}

base::Result<std::unique_ptr<host::Listener>> Server::listen_at(const host::Endpoint& at,
                                                                bool tls) {
  host::ListenOptions options;
  options.backlog = static_cast<int>(settings().tcp_backlog);
  options.heard_nested = true;
  if (tls)
    return tls_.listen_named(
        at, options,
        [this](std::unique_ptr<host::Peer> peer, const std::string& common_name) {
          accept(std::move(peer), common_name);
        },
        [this](const std::string& address, const std::string& error) {
          note_failed_handshake(address, error);
        });
  return host_.transport.listen(
      at, options, [this](std::unique_ptr<host::Peer> peer) { accept(std::move(peer), {}); });
}

base::Result<> Server::listen_addresses(int64_t port, bool tls, Listeners& listeners) {
  for (base::Bytes address : settings().bind) {
    bool optional = address.starts_with('-');
    if (optional) address.remove_prefix(1);
    auto listener = listen_at(tcp_endpoint(address, port), tls);
    if (listener) {
      listeners.push_back(std::move(listener.value()));
      continue;
    }
    log::warning("Could not create server {} listening socket {}:{}: {}", tls ? "TLS" : "TCP",
                 address, port, listener.error());
    bool no_such_address =
        listener.error().find("Cannot assign requested address") != std::string::npos ||
        listener.error().find("not supported") != std::string::npos;
    if (!optional || !no_such_address)
      return base::Error{
          fmt::format("Failed listening on port {} ({}), aborting.", port, tls ? "TLS" : "TCP")};
  }
  return {};
}

base::Result<> Server::listen_again() {
  if (auto done = reopen(listeners_, false); !done) return done;
  return reopen(tls_listeners_, true);
}

// CONFIG SET port or bind. The old sockets must go first, for a wildcard and an address of the same
// port exclude each other; when the new ones fail, the old ones are opened again.
base::Result<> Server::reopen(Listeners& listeners, bool tls) {
  Listeners kept;
  std::vector<host::Endpoint> old;
  for (auto& listener : listeners) {
    if (listener->endpoint().family == host::Endpoint::Family::unix_path) {
      kept.push_back(std::move(listener));
    } else {
      old.push_back(listener->endpoint());
    }
  }
  listeners = std::move(kept);
  Listeners fresh;
  auto done = tls ? listen_tls(fresh) : listen_tcp(fresh);
  if (!done) {
    fresh.clear();
    for (const host::Endpoint& endpoint : old) {
      auto listener = listen_at(endpoint, tls);
      if (listener) fresh.push_back(std::move(listener.value()));
    }
    done = base::Error{"Unable to listen on this port. Check server logs."};
  }
  for (auto& listener : fresh) listeners.push_back(std::move(listener));
  return done;
}

base::Result<> Server::listen_unix(Listeners& listeners) {
  if (settings().unixsocket.empty()) return {};
  host::ListenOptions options;
  options.backlog = static_cast<int>(settings().tcp_backlog);
  options.heard_nested = true;
  options.unix_mode = static_cast<unsigned>(settings().unixsocketperm);
  options.unix_group = settings().unixsocketgroup;
  auto listener = host_.transport.listen(
      {host::Endpoint::Family::unix_path, settings().unixsocket, 0}, options,
      [this](std::unique_ptr<host::Peer> peer) { accept(std::move(peer), {}); });
  if (!listener)
    return base::Error{fmt::format("Failed opening Unix socket: {}", listener.error())};
  listeners.push_back(std::move(listener.value()));
  return {};
}

uint16_t Server::port() const {
  for (const Listeners* group : {&listeners_, &tls_listeners_})
    for (const auto& listener : *group)
      if (listener->endpoint().family != host::Endpoint::Family::unix_path)
        return listener->endpoint().port;
  return 0;
}

bool Server::refuse_connection(host::Peer& peer) {
  base::Bytes reply;
  if (sessions_.size() >= static_cast<size_t>(settings().maxclients)) {
    reply = kMaxClientsReply;
  } else if (settings().protected_mode && acl_.default_user().is(AclUser::kNoPass) &&
             !peer.is_loopback()) {
    reply = kProtectedReply;
  } else {
    return false;
  }
  peer.send({&reply, 1});  // best effort: the connection ends either way
  ++stats_.connections_rejected;
  return true;
}

void Server::accept(std::unique_ptr<host::Peer> peer, const std::string& user) {
  refresh_clock();
  if (stopping_ || refuse_connection(*peer)) return;
  ++stats_.connections_received;
  Session& placed = add_session(std::move(peer));
  if (!user.empty()) acl_.log_in_by_certificate(placed, user);
  log::verbose("Accepted {}", placed.peer().remote_address());
  placed.start();
}

Session& Server::add_session(std::unique_ptr<host::Peer> peer) {
  const SessionId id = next_session_++;
  return *sessions_.emplace(id, std::make_unique<Session>(*this, id, std::move(peer)))
              .first->second;
}

Session* Server::find_session(SessionId id) {
  auto at = sessions_.find(id);
  return at == sessions_.end() ? nullptr : at->second.get();
}

// The session may be running a command now, so it is freed at the end of the turn.
void Server::forget(Session& session) {
  pubsub_.drop(session);
  watches_.unwatch(session);
  tracking_.forget(session);
  drop_monitor(session);
  replication_->forget(session);
  if (group_) group_->consistency().forget(session.id);
  changes_->forget(session);
  std::erase(flush_queue_, &session);
  auto at = sessions_.find(session.id);
  QUOLL_CHECK(at != sessions_.end());
  buried_.push_back(std::move(at->second));
  sessions_.erase(at);
  host_.loop.post([] {});  // a turn end to bury it
}

void Server::refuse_cross_protocol(Session& session) {
  bool told =
      cross_protocol_told_ms_ != 0 && now_ - cross_protocol_told_ms_ <= kCrossProtocolQuietMs;
  if (told) return session.close_soon();
  cross_protocol_told_ms_ = now_;
  log::warning(
      "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands "
      "to Redis. This is likely due to an attacker attempting to use Cross Protocol Scripting to "
      "compromise your Redis instance. Connection from {} aborted.",
      session.peer().remote_address());
  session.close_soon();
}

void Server::shut_down(const std::string& reason, Ending how) {
  if (stopping_) return;
  if (how.failed) ending_failed_.push_back(std::move(how.failed));
  if (ending_) {
    // Asked again, and now without waiting for replicas.
    if (replicas_until_ != 0 && how.now) prepare_end();
    return;
  }
  ending_ = true;
  if (on_ending_) on_ending_();
  ending_how_ = std::move(how);
  log::warning("{}", reason);
  const base::Millis patience = settings().shutdown_timeout_seconds * 1000;
  if (ending_how_.now || patience == 0 || replication_->replicas_caught_up()) return prepare_end();
  replicas_until_ = now_ + patience;
  hold_writes(HoldWrites::ending, true);
  log::notice("{} of {} replicas are in sync when shutting down. Waiting up to {} seconds.",
              replication_->replicas_in_sync(), replication_->replicas_online(), patience / 1000);
}

bool Server::abort_shut_down() {
  if (replicas_until_ == 0) return false;
  replicas_until_ = 0;
  ending_ = false;
  hold_writes(HoldWrites::ending, false);
  log::notice("Shutdown manually aborted.");
  tell_ending_failed();
  return true;
}

// To everybody who asked for it.
void Server::tell_ending_failed() {
  for (const host::Task& failed : std::exchange(ending_failed_, {})) failed();
}

base::Millis Server::shut_down_in() const {
  return replicas_until_ == 0 ? 0 : std::max<base::Millis>(replicas_until_ - now_, 1);
}

void Server::prepare_end() {
  if (replicas_until_ != 0) {
    replication_->tell_lagging();
    replicas_until_ = 0;
  }
  freeze(Freeze::ending, true);  // what is acknowledged from now on would not be saved
  const auto stay = [this](const char* why) {
    log::warning("{}", why);
    log::warning("Errors trying to shut down the server. Check the logs for more information.");
    ending_ = false;
    freeze(Freeze::ending, false);
    hold_writes(HoldWrites::ending, false);
    tell_ending_failed();
  };
  // Switched on a moment ago: what was acknowledged since is in no file yet.
  if (settings().appendonly && persistence_.rewriting() && !persistence_.durable_seq()) {
    if (!ending_how_.force) return stay("Writing initial AOF, can't exit.");
    log::warning("Writing initial AOF. Exit anyway.");
  }
  persistence_.prepare_exit(ending_how_.save, ending_how_.force,
                            [this, stay](base::Result<> saved) {
                              if (!saved && !ending_how_.force)
                                return stay("Error trying to save the DB, can't exit.");
                              auto closed = [this, stay](base::Result<> closed) {
                                if (closed || ending_how_.force) return end_now();
                                stay("Error writing the group's log, can't exit.");
                              };
                              if (node_) return node_->end(std::move(closed));
                              if (group_) return group_->end(std::move(closed));
                              end_now();
                            });
}

void Server::end_now() {
  stopping_ = true;
  listeners_.clear();
  tls_listeners_.clear();
  flush_all();
  log::warning("Quoll is now ready to exit, bye bye...");
  if (on_stop_) on_stop_(0);
}

}  // namespace quoll::server
