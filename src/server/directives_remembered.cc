// Directives of later Redis and of Valkey that tools write into files and this server only
// remembers, so that the file loads and CONFIG GET and SET agree with each other.
#include "server/directive.h"

namespace quoll::server {

namespace {

constexpr Bytes kOtherServer = "it belongs to another server's internals";

constexpr Directive remembered(Bytes name, RememberedType type, Bytes initial) {
  return {.name = name,
          .value = Remembered{type, initial},
          .flags = kHidden,
          .no_effect = kOtherServer};
}

constexpr auto kYesNo = RememberedType::yes_no;
constexpr auto kInteger = RememberedType::integer;
constexpr auto kMemory = RememberedType::memory;
constexpr auto kText = RememberedType::text;

constexpr Directive kRememberedRows[] = {
    remembered("active-defrag-cycle-us", kInteger, "500"),
    remembered("cluster-announce-client-ipv4", kText, ""),
    remembered("cluster-announce-client-ipv6", kText, ""),
    remembered("cluster-announce-client-port", kInteger, "0"),
    remembered("cluster-announce-client-tls-port", kInteger, "0"),
    remembered("cluster-blacklist-ttl", kInteger, "60"),
    remembered("cluster-compatibility-sample-ratio", kInteger, "0"),
    remembered("cluster-config-save-behavior", kText, "sync"),
    remembered("cluster-databases", kInteger, "1"),
    remembered("cluster-manual-failover-timeout", kInteger, "5000"),
    remembered("cluster-slot-migration-handoff-max-lag-bytes", kMemory, "1048576"),
    remembered("cluster-slot-migration-write-pause-timeout", kInteger, "10000"),
    remembered("debug-context", kText, ""),
    remembered("dual-channel-replication-enabled", kYesNo, "no"),
    remembered("events-per-io-thread", kInteger, "2"),
    remembered("extended-redis-compatibility", kYesNo, "no"),
    remembered("hash-seed", kText, ""),
    remembered("import-mode", kYesNo, "no"),
    remembered("io-threads-always-active", kYesNo, "no"),
    remembered("key-memory-histograms", kYesNo, "no"),
    remembered("lookahead", kInteger, "16"),
    remembered("lua-insecure-api", kYesNo, "no"),
    remembered("lua-enable-insecure-api", kYesNo, "no"),
    remembered("min-io-threads-avoid-copy-reply", kInteger, "7"),
    remembered("min-io-threads-value-prefetch-off", kInteger, "10"),
    remembered("min-string-size-avoid-copy-reply", kInteger, "16384"),
    remembered("min-string-size-avoid-copy-reply-threaded", kInteger, "65536"),
    remembered("mptcp", kYesNo, "no"),
    remembered("prefetch-batch-max-size", kInteger, "16"),
    remembered("rdb-version-check", kText, "strict"),
    remembered("rdma-bind", kText, ""),
    remembered("rdma-port", kInteger, "0"),
    remembered("replica-full-sync-buffer-limit", kMemory, "0"),
    remembered("repl-mptcp", kYesNo, "no"),
    remembered("slot-migration-max-failover-repl-bytes", kInteger, "0"),
    remembered("tls-auto-reload-interval", kInteger, "0"),
};

}  // namespace

std::span<const Directive> remembered_directives() { return kRememberedRows; }

}  // namespace quoll::server
