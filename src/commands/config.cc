// CONFIG: the configuration at run time.
#include "commands/config_rewriter.h"
#include "commands/families.h"
#include "commands/help.h"
#include "server/replication.h"
#include "server/script_cache.h"
#include "server/script_host.h"
#include "server/server.h"
#include "server/slot_stats.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr Bytes kConfigHelp[] = {
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
};

void config_get(Call& call) {
  const std::vector<ConfigEntry> entries = call.server.config().get(call.args.subspan(2));
  call.reply.map(entries.size());
  for (const ConfigEntry& entry : entries) {
    call.reply.bulk(entry.name);
    call.reply.bulk(entry.value);
  }
}

void config_set(Call& call) {
  for (size_t i = 2; i + 1 < call.argc(); i += 2)
    if (Config::is_sensitive(call.arg(i))) call.redact(i + 1);
  SetContext context;
  context.local_client = call.session.peer().is_loopback();
  const Persistence& persistence = call.server.persistence();
  context.loading = persistence.loading() || persistence.syncing();
  const base::Result<> done = call.server.config().set(call.args.subspan(2), context);
  if (!done) return call.reply.error(done.error());
  call.reply.ok();
}

void config_resetstat(Call& call) {
  call.server.stats() = Stats{};
  call.server.acl().refusals() = AclRefusals{};
  call.server.store().counters() = store::StoreCounters{};
  call.server.commands().reset_counters();
  call.server.replication().counters = {};
  call.server.persistence().forget_delayed_fsyncs();
  call.server.slot_stats().reset();
  call.server.scripts().cache().reset_evicted();
  call.reply.ok();
}

void config_rewrite(Call& call) { rewrite_config_file(call, false, "ERR Rewriting config file: "); }

void config_help(Call& call) { reply_help(call, kConfigHelp); }

constexpr uint32_t kConfigFlags = kAdmin | kNoScript | kLoading | kStale;

constexpr CommandSpec kConfigCommands[] = {
    {.name = "config",
     .arity = -2,
     .group = "server",
     .since = "2.0.0",
     .summary = "A container for commands about the server's configuration.",
     .complexity = "Depends on subcommand."},
    {.name = "config|get",
     .arity = -3,
     .run = config_get,
     .flags = kConfigFlags,
     .group = "server",
     .since = "2.0.0",
     .summary = "Returns the values of the parameters that match the patterns.",
     .complexity = "O(N) when N is the number of configuration parameters provided",
     .syntax = "{parameter} [{parameter} ...]"},
    {.name = "config|set",
     .arity = -4,
     .run = config_set,
     .flags = kConfigFlags,
     .group = "server",
     .since = "2.0.0",
     .summary = "Changes parameters of the running server: all of them or none.",
     .complexity = "O(N) when N is the number of configuration parameters provided",
     .syntax = "parameter value [parameter value ...]",
     .tips = "request_policy:all_nodes,response_policy:all_succeeded"},
    {.name = "config|resetstat",
     .arity = 2,
     .run = config_resetstat,
     .flags = kConfigFlags,
     .group = "server",
     .since = "2.0.0",
     .summary = "Sets the counters that INFO shows back to zero.",
     .complexity = "O(1)"},
    {.name = "config|rewrite",
     .arity = 2,
     .run = config_rewrite,
     .flags = kConfigFlags,
     .group = "server",
     .since = "2.8.0",
     .summary = "Writes the running configuration back to its file.",
     .complexity = "O(1)"},
    {.name = "config|help",
     .arity = 2,
     .run = config_help,
     .flags = kLoading | kStale,
     .group = "server",
     .since = "5.0.0",
     .summary = "Explains the subcommands.",
     .complexity = "O(1)"},
};
static_assert(well_formed(kConfigCommands));

}  // namespace

Family config_commands() { return kConfigCommands; }

}  // namespace quoll::commands
