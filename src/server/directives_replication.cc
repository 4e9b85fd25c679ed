// Following and feeding another server.
#include "server/directive.h"
#include "server/directive_special.h"

namespace quoll::server {

namespace {

constexpr int64_t kBacklogMin = 16 << 10;  // bytes; smaller values are raised to it, as in Redis

constexpr ChoiceName kDisklessLoad[] = {{"disabled", number(DisklessLoad::disabled)},
                                        {"on-empty-db", number(DisklessLoad::on_empty_db)},
                                        {"swapdb", number(DisklessLoad::swapdb)}};
constexpr ChoiceName kPropagationErrors[] = {
    {"ignore", number(PropagationError::ignore)},
    {"panic", number(PropagationError::panic)},
    {"panic-on-replicas", number(PropagationError::panic_on_replicas)}};

constexpr Directive kReplicationRows[] = {
    {.name = "replicaof",
     .alias = "slaveof",
     .value = &special::kReplicaOf,
     .flags = kImmutable | kMultiArgument},
    {.name = "masterauth",
     .hidden_alias = "primaryauth",
     .value = Text{&Settings::masterauth},
     .flags = kSensitive},
    {.name = "masteruser",
     .hidden_alias = "primaryuser",
     .value = Text{&Settings::masteruser},
     .flags = kSensitive},
    {.name = "replica-serve-stale-data",
     .alias = "slave-serve-stale-data",
     .value = Switch{&Settings::replica_serve_stale_data}},
    {.name = "replica-read-only",
     .alias = "slave-read-only",
     .value = Switch{&Settings::replica_read_only}},
    {.name = "replica-announced", .value = Switch{&Settings::replica_announced}},
    {.name = "replica-announce-ip",
     .alias = "slave-announce-ip",
     .value = Text{&Settings::replica_announce_ip}},
    {.name = "replica-announce-port",
     .alias = "slave-announce-port",
     .value = Integer{&Settings::replica_announce_port, 0, kPortMax}},
    {.name = "replica-priority",
     .alias = "slave-priority",
     .value = Integer{&Settings::replica_priority, 0, kInt32Max}},
    {.name = "replica-lazy-flush",
     .alias = "slave-lazy-flush",
     .value = Switch{&Settings::replica_lazy_flush}},
    {.name = "replica-ignore-maxmemory",
     .alias = "slave-ignore-maxmemory",
     .value = Switch{&Settings::replica_ignore_maxmemory}},
    {.name = "replica-ignore-disk-write-errors",
     .value = Switch{&Settings::replica_ignore_disk_write_errors}},
    {.name = "propagation-error-behavior",
     .value = choice<&Settings::propagation_error_behavior>(kPropagationErrors)},
    {.name = "repl-diskless-sync", .value = Switch{&Settings::repl_diskless_sync}},
    {.name = "repl-diskless-sync-delay",
     .value = Integer{&Settings::repl_diskless_sync_delay_seconds, 0, kInt32Max}},
    {.name = "repl-diskless-sync-max-replicas",
     .value = Integer{&Settings::repl_diskless_sync_max_replicas, 0, kInt32Max}},
    {.name = "repl-diskless-load",
     .value = choice<&Settings::repl_diskless_load>(kDisklessLoad),
     .flags = kDenyLoading},
    {.name = "repl-disable-tcp-nodelay",
     .value = Switch{&Settings::repl_disable_tcp_nodelay},
     .no_effect = "what a turn wrote is sent to replicas at once"},
    {.name = "repl-ping-replica-period",
     .alias = "repl-ping-slave-period",
     .value = Integer{&Settings::repl_ping_replica_period_seconds, 1, kInt32Max}},
    {.name = "repl-timeout", .value = Integer{&Settings::repl_timeout_seconds, 1, kInt32Max}},
    {.name = "repl-backlog-size",
     .value = Integer{&Settings::repl_backlog_size, 1, kInt64Max, Notation::memory, kBacklogMin}},
    {.name = "repl-backlog-ttl",
     .value = Integer{&Settings::repl_backlog_ttl_seconds, 0, kInt64Max}},
    {.name = "min-replicas-to-write",
     .alias = "min-slaves-to-write",
     .value = Integer{&Settings::min_replicas_to_write, 0, kInt32Max}},
    {.name = "min-replicas-max-lag",
     .alias = "min-slaves-max-lag",
     .value = Integer{&Settings::min_replicas_max_lag_seconds, 0, kInt32Max}},
};

}  // namespace

std::span<const Directive> replication_directives() { return kReplicationRows; }

}  // namespace quoll::server
