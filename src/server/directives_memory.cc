// Memory limit, eviction, freeing, defragmentation; threads, which other servers need and this one
// does not.
#include "server/directive.h"
#include "server/directive_special.h"

namespace quoll::server {

namespace {

constexpr Bytes kOneThread = "commands run on one thread";
constexpr Bytes kNoPinning = "there is no separate thread or process to pin";
constexpr Bytes kNoFieldLimit = "values are defragmented in steps, whatever their size";

constexpr ChoiceName kEvictionPolicies[] = {
    {"volatile-lru", number(EvictionPolicy::volatile_lru)},
    {"volatile-lfu", number(EvictionPolicy::volatile_lfu)},
    {"volatile-random", number(EvictionPolicy::volatile_random)},
    {"volatile-ttl", number(EvictionPolicy::volatile_ttl)},
    {"allkeys-lru", number(EvictionPolicy::allkeys_lru)},
    {"allkeys-lfu", number(EvictionPolicy::allkeys_lfu)},
    {"allkeys-random", number(EvictionPolicy::allkeys_random)},
    {"noeviction", number(EvictionPolicy::noeviction)}};

constexpr Directive kMemoryRows[] = {
    {.name = "maxmemory", .value = &special::kMaxmemory},
    {.name = "maxmemory-policy", .value = choice<&Settings::maxmemory_policy>(kEvictionPolicies)},
    {.name = "maxmemory-samples", .value = Integer{&Settings::maxmemory_samples, 1, kInt32Max}},
    {.name = "script-memory-max", .value = Memory{&Settings::script_memory_max}},
    {.name = "maxmemory-eviction-tenacity",
     .value = Integer{&Settings::maxmemory_eviction_tenacity, 0, 100}},
    {.name = "lfu-log-factor", .value = Integer{&Settings::lfu_log_factor, 0, kInt32Max}},
    {.name = "lfu-decay-time", .value = Integer{&Settings::lfu_decay_time_minutes, 0, kInt32Max}},
    {.name = "active-expire-effort",
     .value = Integer{&Settings::active_expire_effort, 1, 10},
     .no_effect = "every key expires at its deadline"},
    {.name = "lazyfree-lazy-eviction", .value = Switch{&Settings::lazyfree_lazy_eviction}},
    {.name = "lazyfree-lazy-expire", .value = Switch{&Settings::lazyfree_lazy_expire}},
    {.name = "lazyfree-lazy-server-del", .value = Switch{&Settings::lazyfree_lazy_server_del}},
    {.name = "lazyfree-lazy-user-del", .value = Switch{&Settings::lazyfree_lazy_user_del}},
    {.name = "lazyfree-lazy-user-flush", .value = Switch{&Settings::lazyfree_lazy_user_flush}},
    {.name = "tracking-table-max-keys",
     .value = Integer{&Settings::tracking_table_max_keys, 0, kInt64Max}},
    {.name = "activerehashing",
     .value = Switch{&Settings::activerehashing},
     .no_effect = "tables grow in place, there is no rehashing"},
    {.name = "activedefrag", .value = Switch{&Settings::activedefrag}},
    {.name = "active-defrag-ignore-bytes",
     .value = Integer{&Settings::active_defrag_ignore_bytes, 1, kInt64Max, Notation::memory}},
    {.name = "active-defrag-threshold-lower",
     .value = Integer{&Settings::active_defrag_threshold_lower, 0, 1000}},
    {.name = "active-defrag-threshold-upper",
     .value = Integer{&Settings::active_defrag_threshold_upper, 0, 1000}},
    {.name = "active-defrag-cycle-min",
     .value = Integer{&Settings::active_defrag_cycle_min, 1, 99}},
    {.name = "active-defrag-cycle-max",
     .value = Integer{&Settings::active_defrag_cycle_max, 1, 99}},
    {.name = "active-defrag-max-scan-fields",
     .value = Integer{&Settings::active_defrag_max_scan_fields, 1, kInt64Max},
     .no_effect = kNoFieldLimit},
    {.name = "jemalloc-bg-thread", .value = Switch{&Settings::jemalloc_bg_thread}},
    {.name = "io-threads",
     .value = Integer{&Settings::io_threads, 1, 128},
     .flags = kImmutable,
     .no_effect = kOneThread},
    {.name = "io-threads-do-reads",
     .value = Switch{&Settings::io_threads_do_reads},
     .flags = kImmutable,
     .no_effect = kOneThread},
    {.name = "server_cpulist",
     .value = Text{&Settings::server_cpulist},
     .flags = kImmutable,
     .no_effect = kNoPinning},
    {.name = "bio_cpulist",
     .value = Text{&Settings::bio_cpulist},
     .flags = kImmutable,
     .no_effect = kNoPinning},
    {.name = "aof_rewrite_cpulist",
     .value = Text{&Settings::aof_rewrite_cpulist},
     .flags = kImmutable,
     .no_effect = kNoPinning},
    {.name = "bgsave_cpulist",
     .value = Text{&Settings::bgsave_cpulist},
     .flags = kImmutable,
     .no_effect = kNoPinning},
};

}  // namespace

std::span<const Directive> memory_directives() { return kMemoryRows; }

}  // namespace quoll::server
