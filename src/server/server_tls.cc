// Server's TLS: the settings in force, their files, the port.
#include "server/log.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr base::Millis kFailureLogMs = 1000;  // strangers must not fill the log

}  // namespace

base::Result<> Server::listen_tls(Listeners& listeners) {
  if (settings().tls_port == 0) return {};
  return listen_addresses(settings().tls_port, true, listeners);
}

base::Result<> Server::configure_tls() {
  const Settings& now = settings();
  if (now.tls_port == 0 && !now.tls_replication && !now.tls_cluster) return {};
  return tls_.configure({.cert_file = now.tls_cert_file,
                         .key_file = now.tls_key_file,
                         .key_file_pass = now.tls_key_file_pass,
                         .client_cert_file = now.tls_client_cert_file,
                         .client_key_file = now.tls_client_key_file,
                         .client_key_file_pass = now.tls_client_key_file_pass,
                         .dh_params_file = now.tls_dh_params_file,
                         .ca_cert_file = now.tls_ca_cert_file,
                         .ca_cert_dir = now.tls_ca_cert_dir,
                         .auth_clients = now.tls_auth_clients,
                         .between_servers = now.tls_cluster || now.tls_replication,
                         .protocols = now.tls_protocols,
                         .ciphers = now.tls_ciphers,
                         .ciphersuites = now.tls_ciphersuites,
                         .prefer_server_ciphers = now.tls_prefer_server_ciphers,
                         .session_caching = now.tls_session_caching,
                         .session_cache_size = now.tls_session_cache_size,
                         .session_cache_timeout_seconds = now.tls_session_cache_timeout_seconds});
}

void Server::watch_tls_files() {
  if (!tls_.configured() || !tls_.files_changed()) return;
  if (auto done = configure_tls(); done) {
    log::notice("TLS certificates changed and were loaded");
  } else {
    log::warning("TLS certificates changed, but the old ones stay in use: {}", done.error());
  }
}

void Server::note_failed_handshake(const std::string& address, const std::string& error) {
  ++handshake_failures_unlogged_;
  refresh_clock();
  if (now_ - handshake_failure_logged_ms_ < kFailureLogMs) return;
  log::warning("Error accepting a client connection: {} (addr={}; {} failed since the last line)",
               error, address, handshake_failures_unlogged_);
  handshake_failure_logged_ms_ = now_;
  handshake_failures_unlogged_ = 0;
}

void Server::hang_up() {
  if (auto opened = log::reopen(); !opened) log::warning("{}", opened.error());
  if (tls_.configured()) {
    if (auto done = configure_tls(); done) {
      log::notice("TLS configuration was loaded again");
    } else {
      log::warning("TLS configuration stays as it was: {}", done.error());
    }
  }
  if (cluster_secrets_.given()) {
    if (auto done = cluster_secrets_.load(); done) {
      log::notice("The cluster's secret was loaded again");
    } else {
      log::warning("The cluster's secret stays as it was: {}", done.error());
    }
  }
  if (settings().aclfile.empty()) return;
  reload_acl([](const base::Result<>& result) {
    if (result) {
      log::notice("ACL file was loaded again");
    } else {
      log::warning("ACL file was not loaded: {}", result.error());
    }
  });
}

}  // namespace quoll::server
