#include "host/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/text.h"

namespace quoll::host {
namespace {

using base::Error;
using base::Result;

// Two sides that resume a session must agree on what it is for.
constexpr unsigned char kSessionContext[] = "quoll";

constexpr int64_t kNanosPerSecond = 1'000'000'000;

constexpr struct {
  base::Bytes name;
  uint64_t without;
} kProtocols[] = {{"TLSv1", SSL_OP_NO_TLSv1},
                  {"TLSv1.1", SSL_OP_NO_TLSv1_1},
                  {"TLSv1.2", SSL_OP_NO_TLSv1_2},
                  {"TLSv1.3", SSL_OP_NO_TLSv1_3}};

Error failed(const std::string& what) { return Error{what + ": " + tls_error_text()}; }

// The options that leave the named protocols. Nothing named: TLS 1.2 and 1.3.
Result<uint64_t> protocol_options(base::Bytes names) {
  if (base::trimmed(names).empty()) names = "TLSv1.2 TLSv1.3";
  uint64_t options = SSL_OP_NO_SSLv2 | SSL_OP_NO_SSLv3;
  for (const auto& row : kProtocols) options |= row.without;
  std::vector<std::string> words;
  bool known = base::split_args(names, words) && !words.empty();
  for (const std::string& word : words) {
    auto row = std::ranges::find_if(
        kProtocols, [&](const auto& one) { return base::equals_ignoring_case(one.name, word); });
    if (row == std::end(kProtocols)) {
      known = false;
    } else {
      options &= ~row->without;
    }
  }
  if (!known)
    return Error{
        "Invalid tls-protocols specified. Use a combination of 'TLSv1', 'TLSv1.1', 'TLSv1.2' and "
        "'TLSv1.3'."};
  return options;
}

int give_password(char* buffer, int size, int, void* password) {
  const auto& text = *static_cast<const std::string*>(password);
  if (text.size() > static_cast<size_t>(size)) return -1;
  std::ranges::copy(text, buffer);
  return static_cast<int>(text.size());
}

Result<> use_certificate(SSL_CTX* context, const std::string& cert, const std::string& key,
                         const std::string& password) {
  if (SSL_CTX_use_certificate_chain_file(context, cert.c_str()) <= 0)
    return failed("Failed to load certificate: " + cert);
  SSL_CTX_set_default_passwd_cb(context, give_password);
  SSL_CTX_set_default_passwd_cb_userdata(context, const_cast<std::string*>(&password));
  const bool read = SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) > 0;
  SSL_CTX_set_default_passwd_cb_userdata(context, nullptr);
  SSL_CTX_set_default_passwd_cb(context, nullptr);
  if (!read) return failed("Failed to load private key: " + key);
  if (SSL_CTX_check_private_key(context) <= 0)
    return failed("The private key does not belong to the certificate: " + key);
  return {};
}

Result<> use_authorities(SSL_CTX* context, const TlsSettings& settings) {
  const char* file = settings.ca_cert_file.empty() ? nullptr : settings.ca_cert_file.c_str();
  const char* dir = settings.ca_cert_dir.empty() ? nullptr : settings.ca_cert_dir.c_str();
  if (!file && !dir) return {};
  if (SSL_CTX_load_verify_locations(context, file, dir) <= 0)
    return failed("Failed to configure CA certificate(s) file/directory");
  return {};
}

Result<> use_ciphers(SSL_CTX* context, const TlsSettings& settings) {
  if (!settings.ciphers.empty() && !SSL_CTX_set_cipher_list(context, settings.ciphers.c_str()))
    return failed("Failed to configure ciphers");
  if (!settings.ciphersuites.empty() &&
      !SSL_CTX_set_ciphersuites(context, settings.ciphersuites.c_str()))
    return failed("Failed to configure ciphersuites");
  return {};
}

Result<> use_dh_params(SSL_CTX* context, const std::string& path) {
  if (path.empty()) {
    SSL_CTX_set_dh_auto(context, 1);
    return {};
  }
  BIO* file = BIO_new_file(path.c_str(), "r");
  if (!file) return failed("Failed loading DH params from " + path);
  EVP_PKEY* params = PEM_read_bio_Parameters(file, nullptr);
  BIO_free(file);
  if (!params) return failed("Failed to read DH params from " + path);
  if (SSL_CTX_set0_tmp_dh_pkey(context, params) > 0) return {};
  EVP_PKEY_free(params);
  return failed("Failed to use the DH params of " + path);
}

void use_session_cache(SSL_CTX* context, const TlsSettings& settings) {
  SSL_CTX_set_session_id_context(context, kSessionContext, sizeof kSessionContext - 1);
  if (!settings.session_caching) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    return;
  }
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER);
  SSL_CTX_sess_set_cache_size(context, static_cast<long>(settings.session_cache_size));
  SSL_CTX_set_timeout(context, static_cast<long>(settings.session_cache_timeout_seconds));
}

// Servers connect seldom, and look at each other's certificate every time.
void use_no_sessions(SSL_CTX* context) {
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context, 0);
}

// What both sides need.
Result<TlsContext> make_context(const TlsSettings& settings, const std::string& cert,
                                const std::string& key, const std::string& password) {
  auto options = protocol_options(settings.protocols);
  if (!options) return Error{options.error()};
  TlsContext context(SSL_CTX_new(TLS_method()), SSL_CTX_free);
  if (!context) return failed("Failed to make a TLS context");
  SSL_CTX_set_options(context.get(), options.value() | SSL_OP_NO_COMPRESSION |
                                         SSL_OP_NO_RENEGOTIATION | SSL_OP_SINGLE_DH_USE |
                                         SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
  if (auto done = use_certificate(context.get(), cert, key, password); !done)
    return Error{done.error()};
  if (auto done = use_authorities(context.get(), settings); !done) return Error{done.error()};
  if (auto done = use_ciphers(context.get(), settings); !done) return Error{done.error()};
  return context;
}

Result<TlsContext> make_server_context(const TlsSettings& settings, TlsClientAuth auth,
                                       bool sessions) {
  auto made = make_context(settings, settings.cert_file, settings.key_file, settings.key_file_pass);
  if (!made) return made;
  SSL_CTX* context = made.value().get();
  int verify = SSL_VERIFY_NONE;
  if (auth != TlsClientAuth::no) verify = SSL_VERIFY_PEER;
  if (auth == TlsClientAuth::yes) verify |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  SSL_CTX_set_verify(context, verify, nullptr);
  if (settings.prefer_server_ciphers) SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  sessions ? use_session_cache(context, settings) : use_no_sessions(context);
  if (auto done = use_dh_params(context, settings.dh_params_file); !done)
    return Error{done.error()};
  return made;
}

Result<TlsContext> make_client_context(const TlsSettings& settings) {
  const bool own = !settings.client_cert_file.empty();
  auto made = make_context(settings, own ? settings.client_cert_file : settings.cert_file,
                           own ? settings.client_key_file : settings.key_file,
                           own ? settings.client_key_file_pass : settings.key_file_pass);
  if (made) SSL_CTX_set_verify(made.value().get(), SSL_VERIFY_PEER, nullptr);
  return made;
}

}  // namespace

std::string tls_error_text() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  if (code == 0) return "unknown error";
  char text[256];
  ERR_error_string_n(code, text, sizeof text);
  return text;
}

Result<> TlsContexts::configure(const TlsSettings& settings) {
  files_ = {settings.cert_file,       settings.key_file,       settings.client_cert_file,
            settings.client_key_file, settings.dh_params_file, settings.ca_cert_file,
            settings.ca_cert_dir};
  std::erase(files_, std::string());
  seen_ = stamps();
  if (settings.cert_file.empty()) return Error{"No tls-cert-file configured!"};
  if (settings.key_file.empty()) return Error{"No tls-key-file configured!"};
  const bool verifies = settings.auth_clients != TlsClientAuth::no || settings.between_servers;
  if (verifies && settings.ca_cert_file.empty() && settings.ca_cert_dir.empty())
    return Error{
        "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, "
        "tls-replication or tls-auth-clients are enabled!"};
  ERR_clear_error();
  auto server = make_server_context(settings, settings.auth_clients, true);
  if (!server) return Error{server.error()};
  TlsContext mutual;
  if (settings.between_servers) {
    auto made = make_server_context(settings, TlsClientAuth::yes, false);
    if (!made) return Error{made.error()};
    mutual = made.value();
  }
  auto client = make_client_context(settings);
  if (!client) return Error{client.error()};
  server_ = server.value();
  client_ = client.value();
  mutual_ = std::move(mutual);
  return {};
}

std::vector<TlsContexts::Stamp> TlsContexts::stamps() const {
  std::vector<Stamp> found;
  for (const std::string& path : files_) {
    struct stat info {};
    if (stat(path.c_str(), &info) != 0) info = {};
    found.push_back({info.st_mtim.tv_sec * kNanosPerSecond + info.st_mtim.tv_nsec,
                     static_cast<uint64_t>(info.st_size), info.st_ino});
  }
  return found;
}

bool TlsContexts::files_changed() {
  std::vector<Stamp> now = stamps();
  if (now == seen_) return false;
  seen_ = std::move(now);
  return true;
}

}  // namespace quoll::host
