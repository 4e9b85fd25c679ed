// Listening, connections and their buffers.
#include "server/directive.h"
#include "server/directive_special.h"

namespace quoll::server {

namespace {

constexpr int64_t kMebibyte = 1 << 20;
constexpr int64_t kPermissionsMax = 0777;

constexpr Bytes kAllAtOnce = "all connections that wait are taken at once";

constexpr Directive kNetworkRows[] = {
    {.name = "port", .value = Integer{&Settings::port, 0, kPortMax}},
    {.name = "admin-port",
     .value = Integer{&Settings::admin_port, 0, kPortMax},
     .flags = kImmutable | kOwn},
    {.name = "admin-bind", .value = Text{&Settings::admin_bind, false}, .flags = kImmutable | kOwn},
    {.name = "bind", .value = &special::kBind, .flags = kMultiArgument | kUnsetAtDefault},
    {.name = "bind-source-addr", .value = Text{&Settings::bind_source_addr}},
    {.name = "io-uring", .value = Switch{&Settings::io_uring}},
    {.name = "unixsocket", .value = Text{&Settings::unixsocket}, .flags = kImmutable},
    {.name = "unixsocketperm",
     .value = Integer{&Settings::unixsocketperm, 0, kPermissionsMax, Notation::octal},
     .flags = kImmutable},
    {.name = "unixsocketgroup",
     .value = Text{&Settings::unixsocketgroup},
     .flags = kImmutable | kHidden},
    {.name = "tcp-backlog",
     .value = Integer{&Settings::tcp_backlog, 0, kInt32Max},
     .flags = kImmutable},
    {.name = "tcp-keepalive", .value = Integer{&Settings::tcp_keepalive_seconds, 0, kInt32Max}},
    {.name = "timeout", .value = Integer{&Settings::timeout_seconds, 0, kInt32Max}},
    {.name = "socket-mark-id",
     .value = Integer{&Settings::socket_mark_id, 0, kUint32Max},
     .flags = kImmutable,
     .no_effect = "outgoing sockets are not marked"},
    {.name = "protected-mode", .value = Switch{&Settings::protected_mode}},
    {.name = "maxclients", .value = Integer{&Settings::maxclients, 1, kUint32Max}},
    {.name = "max-new-connections-per-cycle",
     .value = Integer{&Settings::max_new_connections_per_cycle, 1, 1000},
     .no_effect = kAllAtOnce},
    {.name = "max-new-tls-connections-per-cycle",
     .value = Integer{&Settings::max_new_tls_connections_per_cycle, 1, 1000},
     .no_effect = kAllAtOnce},
    {.name = "proto-max-bulk-len",
     .value = Integer{&Settings::proto_max_bulk_len, kMebibyte, kInt64Max, Notation::memory}},
    {.name = "client-query-buffer-limit",
     .value =
         Integer{&Settings::client_query_buffer_limit, kMebibyte, kInt64Max, Notation::memory}},
    {.name = "client-output-buffer-limit",
     .value = &special::kOutputLimits,
     .flags = kMultiArgument | kLinesIndependent},
    {.name = "maxmemory-clients", .value = MemoryOrPercent{&Settings::maxmemory_clients}},
};

}  // namespace

std::span<const Directive> network_directives() { return kNetworkRows; }

}  // namespace quoll::server
