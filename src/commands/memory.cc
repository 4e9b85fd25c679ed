// MEMORY: where the memory goes.
#include <fmt/format.h>

#include "base/allocator.h"
#include "base/text.h"
#include "commands/counted_map.h"
#include "commands/families.h"
#include "commands/help.h"
#include "server/memory_limits.h"
#include "server/memory_overview.h"
#include "server/replication.h"
#include "server/script_cache.h"
#include "server/script_host.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr Bytes kMemoryHelp[] = {
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
};

constexpr int64_t kSamples = 5;  // elements MEMORY USAGE looks at unless told

// From which on MEMORY DOCTOR finds something remarkable.
constexpr size_t kUsedMin = size_t{5} << 20;        // below: too little to judge
constexpr double kPeakRatio = 1.5;                  // peak / used
constexpr double kFragmentationRatio = 1.4;         // resident / used
constexpr int64_t kFragmentationBytes = 10 << 20;   // and at least so much
constexpr double kAllocatorRatio = 1.1;             // pages in use / bytes in use
constexpr size_t kClientBytes = size_t{200} << 10;  // of one connection on average
constexpr size_t kReplicaBytes = size_t{10} << 20;  // of one replica on average
constexpr size_t kCachedScripts = 1000;             // more hint at values inside of their texts

void memory_usage(Call& call) {
  int64_t samples = kSamples;
  for (size_t i = 3; i < call.argc(); i += 2) {
    if (!base::equals_ignoring_case(call.arg(i), "samples") || i + 1 == call.argc())
      return call.syntax_error();
    if (!call.integer(i + 1, samples)) return;
    if (samples < 0) return call.syntax_error();
  }
  const store::Entry* entry = call.peek(2);
  if (!entry) return call.reply.null();
  call.reply.integer(static_cast<int64_t>(key_footprint(*entry, static_cast<size_t>(samples))));
}

class StatsReply : public CountedMap {
 public:
  using CountedMap::CountedMap;
  void size(Bytes name, size_t value) { number(name, static_cast<int64_t>(value)); }
  void real(Bytes name, double value) {
    start(name);
    reply_.real(value);
  }
  void database(const DatabaseMemory& memory) {
    start(fmt::format("db.{}", memory.db));
    reply_.map(3);
    reply_.bulk("overhead.hashtable.main");
    reply_.integer(static_cast<int64_t>(memory.table_bytes));
    reply_.bulk("overhead.hashtable.expires");
    reply_.integer(static_cast<int64_t>(memory.wheel_bytes));
    reply_.bulk("overhead.hashtable.slot-to-keys");
    reply_.integer(0);  // there is no such table
  }
};

void memory_stats(Call& call) {
  const MemoryOverview view = memory_overview(call.server);
  StatsReply reply(call.reply);
  reply.size("peak.allocated", view.peak);
  reply.size("total.allocated", view.used);
  reply.size("startup.allocated", view.startup);
  reply.size("replication.backlog", view.backlog);
  reply.size("clients.slaves", view.replicas);
  reply.size("clients.normal", view.clients);
  reply.size("cluster.links", 0);
  reply.size("aof.buffer", view.unwritten);
  reply.size("lua.caches", view.scripts);
  reply.size("functions.caches", view.functions);
  for (const DatabaseMemory& database : view.databases) reply.database(database);
  reply.size("overhead.total", view.overhead);
  reply.size("keys.count", view.keys);
  reply.number("keys.bytes-per-key", static_cast<int64_t>(view.bytes_per_key()));
  reply.size("dataset.bytes", view.dataset);
  reply.real("dataset.percentage", view.dataset_percent());
  reply.real("peak.percentage", view.peak_percent());
  reply.size("allocator.allocated", view.allocator.allocated);
  reply.size("allocator.active", view.allocator.active);
  reply.size("allocator.resident", view.allocator.resident);
  reply.real("allocator-fragmentation.ratio", view.fragmentation_ratio());
  reply.number("allocator-fragmentation.bytes", view.fragmentation_bytes());
  reply.real("allocator-rss.ratio", view.allocator_rss_ratio());
  reply.number("allocator-rss.bytes", view.allocator_rss_bytes());
  reply.real("rss-overhead.ratio", view.rss_overhead_ratio());
  reply.number("rss-overhead.bytes", view.rss_overhead_bytes());
  reply.real("fragmentation", view.resident_ratio());
  reply.number("fragmentation.bytes", view.resident_excess());
  reply.end();
}

// Of the allocator's and the kernel's pages.
std::string page_findings(const MemoryOverview& view, bool defragmenting) {
  std::string found;
  if (view.fragmentation_ratio() > kAllocatorRatio &&
      view.fragmentation_bytes() > kFragmentationBytes)
    found += fmt::format(
        " * Fragmentation inside the allocator: its pages are {:.2f} times what they hold. {}\n",
        view.fragmentation_ratio(),
        defragmenting ? "Active defragmentation is on." : "Consider CONFIG SET activedefrag yes.");
  if (view.allocator_rss_ratio() > kAllocatorRatio &&
      view.allocator_rss_bytes() > kFragmentationBytes)
    found += fmt::format(
        " * Idle pages: the allocator holds {:.2f} times the pages it uses. It gives them back "
        "with "
        "time; MEMORY PURGE asks it to do so now.\n",
        view.allocator_rss_ratio());
  if (view.rss_overhead_ratio() > kAllocatorRatio &&
      view.rss_overhead_bytes() > kFragmentationBytes)
    found += fmt::format(
        " * Memory outside of the allocator: the process holds {:.2f} times the allocator's "
        "pages.\n",
        view.rss_overhead_ratio());
  return found;
}

std::string limit_findings(Server& server) {
  const Settings& settings = server.settings();
  std::string found;
  if (server.memory_limits().exceeded_ms() > 0)
    found += fmt::format(
        " * Above maxmemory for {} ms: {}.\n", server.memory_limits().exceeded_ms(),
        settings.maxmemory_policy == EvictionPolicy::noeviction
            ? "the policy is noeviction, so commands that need memory are refused"
            : "either eviction is under way, or the policy finds no key that it may evict");
  if (settings.maxmemory > server.host().process.machine_memory_bytes())
    found += " * maxmemory is more than the machine has.\n";
  if (server.scripts().cache().scripts() > kCachedScripts)
    found += fmt::format(
        " * {} scripts are cached: a script should take what changes as KEYS and ARGV.\n",
        server.scripts().cache().scripts());
  return found;
}

std::string diagnosis(Server& server) {
  const MemoryOverview view = memory_overview(server);
  const size_t replicas = server.replication().replicas().count();
  const size_t sessions = server.sessions().size() - std::min(server.sessions().size(), replicas);
  if (view.used < kUsedMin)
    return "This server holds very little data; there is nothing to judge yet.\n";
  std::string found;
  const auto used = static_cast<double>(view.used);
  if (static_cast<double>(view.peak) > used * kPeakRatio)
    found += fmt::format(
        " * Peak memory: the server once used {}, now {}. The allocator may keep pages of that "
        "time; MEMORY PURGE asks it to give them back.\n",
        base::format_memory_human(view.peak), base::format_memory_human(view.used));
  if (view.resident_ratio() > kFragmentationRatio && view.resident_excess() > kFragmentationBytes)
    found +=
        fmt::format(" * High resident memory: the process holds {:.2f} times the memory in use.\n",
                    view.resident_ratio());
  found += page_findings(view, server.settings().activedefrag);
  if (sessions > 0 && view.clients / sessions > kClientBytes)
    found += fmt::format(
        " * Big client buffers: {} per connection on average. Look at CLIENT LIST for clients that "
        "read slowly or send much.\n",
        base::format_memory_human(view.clients / sessions));
  if (replicas > 0 && view.replicas / replicas > kReplicaBytes)
    found += fmt::format(" * Big replica buffers: {} per replica on average.\n",
                         base::format_memory_human(view.replicas / replicas));
  found += limit_findings(server);
  if (found.empty()) return "No memory problem was found in this server.\n";
  return "Memory problems found in this server:\n\n" + found;
}

void memory_doctor(Call& call) { call.reply.verbatim(diagnosis(call.server)); }

void memory_malloc_stats(Call& call) {
  const std::string report = base::allocator_report();
  call.reply.verbatim(report.empty() ? "Stats not supported for the current allocator" : report);
}

void memory_purge(Call& call) {
  base::allocator_purge();
  call.reply.ok();
}

void memory_help(Call& call) { reply_help(call, kMemoryHelp); }

constexpr Bytes kShardTips =
    "nondeterministic_output,request_policy:all_shards,"
    "response_policy:special";

constexpr CommandSpec kMemoryCommands[] = {
    {.name = "memory",
     .arity = -2,
     .group = "server",
     .since = "4.0.0",
     .summary = "A container for commands about memory.",
     .complexity = "Depends on subcommand."},
    {.name = "memory|usage",
     .arity = -3,
     .run = memory_usage,
     .access = Access::read,
     .keys = {{keys::at(2, kKeyRo)}},
     .group = "server",
     .since = "4.0.0",
     .summary = "Returns the bytes that a key costs with its value.",
     .complexity = "O(N) where N is the number of samples.",
     .syntax = "key [SAMPLES count]"},
    {.name = "memory|stats",
     .arity = 2,
     .run = memory_stats,
     .group = "server",
     .since = "4.0.0",
     .summary = "Returns how the memory in use divides.",
     .complexity = "O(1)",
     .tips = kShardTips},
    {.name = "memory|doctor",
     .arity = 2,
     .run = memory_doctor,
     .group = "server",
     .since = "4.0.0",
     .summary = "Reports memory problems in words.",
     .complexity = "O(1)",
     .tips = kShardTips},
    {.name = "memory|malloc-stats",
     .arity = 2,
     .run = memory_malloc_stats,
     .group = "server",
     .since = "4.0.0",
     .summary = "Returns the allocator's own report.",
     .complexity = "Depends on how much memory is allocated, could be slow",
     .tips = kShardTips},
    {.name = "memory|purge",
     .arity = 2,
     .run = memory_purge,
     .group = "server",
     .since = "4.0.0",
     .summary = "Asks the allocator to give unused pages back.",
     .complexity = "Depends on how much memory is allocated, could be slow",
     .tips = "request_policy:all_shards,response_policy:all_succeeded"},
    {.name = "memory|help",
     .arity = 2,
     .run = memory_help,
     .flags = kLoading | kStale,
     .group = "server",
     .since = "4.0.0",
     .summary = "Explains the subcommands.",
     .complexity = "O(1)"},
};
static_assert(well_formed(kMemoryCommands));

}  // namespace

Family memory_commands() { return kMemoryCommands; }

}  // namespace quoll::commands
