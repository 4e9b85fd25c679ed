// What TLS connections are made with; the names are those of the tls-* directives.
#pragma once

#include <cstdint>
#include <string>

namespace quoll::host {

enum class TlsClientAuth : int { no, yes, optional };

struct TlsSettings {
  std::string cert_file;
  std::string key_file;
  std::string key_file_pass;
  std::string client_cert_file;  // for dialing; empty: the same as for listening
  std::string client_key_file;
  std::string client_key_file_pass;
  std::string dh_params_file;
  std::string ca_cert_file;
  std::string ca_cert_dir;
  TlsClientAuth auth_clients = TlsClientAuth::yes;
  bool between_servers = false;  // whose certificates are looked at, whatever auth_clients says
  std::string protocols;         // "TLSv1.2 TLSv1.3"; empty: these two
  std::string ciphers;           // up to TLS 1.2
  std::string ciphersuites;      // TLS 1.3
  bool prefer_server_ciphers = false;
  bool session_caching = true;
  int64_t session_cache_size = 0;
  int64_t session_cache_timeout_seconds = 0;
};

}  // namespace quoll::host
