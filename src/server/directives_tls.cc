// TLS for clients, replication and the cluster bus.
#include "server/directive.h"

namespace quoll::server {

namespace {

constexpr ChoiceName kClientAuth[] = {{"no", number(TlsClientAuth::no)},
                                      {"yes", number(TlsClientAuth::yes)},
                                      {"optional", number(TlsClientAuth::optional)}};

constexpr ChoiceName kClientUser[] = {{"off", number(TlsClientUser::off)},
                                      {"CN", number(TlsClientUser::common_name)}};

constexpr Directive kTlsRows[] = {
    {.name = "tls-port", .value = Integer{&Settings::tls_port, 0, kPortMax}},
    {.name = "tls-cert-file", .value = Text{&Settings::tls_cert_file}},
    {.name = "tls-key-file", .value = Text{&Settings::tls_key_file}},
    {.name = "tls-key-file-pass", .value = Text{&Settings::tls_key_file_pass}, .flags = kSensitive},
    {.name = "tls-client-cert-file", .value = Text{&Settings::tls_client_cert_file}},
    {.name = "tls-client-key-file", .value = Text{&Settings::tls_client_key_file}},
    {.name = "tls-client-key-file-pass",
     .value = Text{&Settings::tls_client_key_file_pass},
     .flags = kSensitive},
    {.name = "tls-dh-params-file", .value = Text{&Settings::tls_dh_params_file}},
    {.name = "tls-ca-cert-file", .value = Text{&Settings::tls_ca_cert_file}},
    {.name = "tls-ca-cert-dir", .value = Text{&Settings::tls_ca_cert_dir}},
    {.name = "tls-auth-clients", .value = choice<&Settings::tls_auth_clients>(kClientAuth)},
    {.name = "tls-auth-clients-user",
     .value = choice<&Settings::tls_auth_clients_user>(kClientUser)},
    {.name = "tls-replication", .value = Switch{&Settings::tls_replication}},
    {.name = "tls-cluster", .value = Switch{&Settings::tls_cluster}},
    {.name = "tls-protocols", .value = Text{&Settings::tls_protocols}},
    {.name = "tls-ciphers", .value = Text{&Settings::tls_ciphers}},
    {.name = "tls-ciphersuites", .value = Text{&Settings::tls_ciphersuites}},
    {.name = "tls-prefer-server-ciphers", .value = Switch{&Settings::tls_prefer_server_ciphers}},
    {.name = "tls-session-caching", .value = Switch{&Settings::tls_session_caching}},
    {.name = "tls-session-cache-size",
     .value = Integer{&Settings::tls_session_cache_size, 0, kInt32Max}},
    {.name = "tls-session-cache-timeout",
     .value = Integer{&Settings::tls_session_cache_timeout_seconds, 0, kInt32Max}},
};

}  // namespace

std::span<const Directive> tls_directives() { return kTlsRows; }

}  // namespace quoll::server
