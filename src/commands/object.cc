// OBJECT: how a value is kept.
#include "commands/families.h"
#include "commands/words.h"
#include "server/call.h"
#include "server/group.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr Bytes kNotByFrequency =
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that "
    "when switching between policies at runtime LRU and LFU data will take some time to adjust.";
constexpr Bytes kByFrequency =
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when "
    "switching between policies at runtime LRU and LFU data will take some time to adjust.";

constexpr Bytes kNoVersions =
    "ERR OBJECT VERSION is for members of a replica group: only its log orders changes for good";

constexpr Bytes kObjectHelp[] = {
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "VERSION <key>",
    "    Return a token that grows whenever the <key> changes, whoever leads the group.",
    "HELP",
    "    Prints this help.",
};

void object_help(Call& call) {
  call.reply.array(std::size(kObjectHelp));
  for (Bytes line : kObjectHelp) call.reply.simple(line);
}

// The entry of argument 2, looked at without recording an access; replies null when there is none.
const store::Entry* looked_at(Call& call) {
  const store::Entry* entry = call.look(2, false);
  if (!entry) call.reply.null();
  return entry;
}

void object_encoding(Call& call) {
  if (const store::Entry* entry = looked_at(call)) call.reply.bulk(entry->encoding_name());
}

// Redis shares no integers while maxmemory comes with a policy that looks at access times.
bool shares_integers(const Settings& settings) {
  using enum EvictionPolicy;
  EvictionPolicy policy = settings.maxmemory_policy;
  return settings.maxmemory == 0 || !(policy == volatile_lru || policy == volatile_lfu ||
                                      policy == allkeys_lru || policy == allkeys_lfu);
}

void object_refcount(Call& call) {
  const store::Entry* entry = looked_at(call);
  if (!entry) return;
  bool shared = entry->form() == data::Form::integer && !entry->raw() && entry->integer() >= 0 &&
                entry->integer() < kSharedIntegers && shares_integers(call.server.settings());
  call.reply.integer(shared ? kSharedReferences : 1);
}

void object_idletime(Call& call) {
  const store::Entry* entry = looked_at(call);
  if (!entry) return;
  if (call.store.access().by_frequency()) return call.reply.error(kByFrequency);
  call.reply.integer(store::Store::idle_seconds(entry, call.now));
}

void object_freq(Call& call) {
  const store::Entry* entry = looked_at(call);
  if (!entry) return;
  if (!call.store.access().by_frequency()) return call.reply.error(kNotByFrequency);
  call.reply.integer(call.store.frequency(entry, call.now));
}

// See server/key_versions.h. Followers have other indexes in mind: the leader tells.
void object_version(Call& call) {
  ReplicaGroup* group = call.server.group();
  if (!group) return call.reply.error(kNoVersions);
  if (!group->serves()) {
    const SlotRoutes& routes = call.server.routes();
    const bool led = group->leader() < group->members().size() && group->leader() != group->self();
    return call.reply.error(routes.error(call.session, led ? Route::moved : Route::down,
                                         routes.use_of(call.command, call.args)));
  }
  if (looked_at(call))
    call.reply.integer(static_cast<int64_t>(group->version(call.db, call.arg(2))));
}

constexpr CommandSpec about_key(Bytes name, Handler run, Bytes since, Bytes summary) {
  return {.name = name,
          .arity = 3,
          .run = run,
          .access = Access::read,
          .keys = {{keys::at(2, kKeyRo)}},
          .group = "generic",
          .since = since,
          .summary = summary,
          .complexity = "O(1)",
          .syntax = "key",
          .tips = "nondeterministic_output"};
}

constexpr CommandSpec kObjectCommands[] = {
    {.name = "object",
     .arity = -2,
     .group = "generic",
     .since = "2.2.3",
     .summary = "Looks at how values are kept.",
     .complexity = "Depends on subcommand."},
    about_key("object|encoding", object_encoding, "2.2.3", "Tells how a value is represented."),
    about_key("object|freq", object_freq, "4.0.0",
              "Tells the logarithmic access frequency of a key."),
    about_key("object|idletime", object_idletime, "2.2.3",
              "Tells the seconds since a key was last accessed."),
    about_key("object|refcount", object_refcount, "2.2.3",
              "Tells how many references a value has."),
    about_key("object|version", object_version, "1.0.0",
              "Returns a fencing token: it grows whenever the key changes, and never goes down."),
    {.name = "object|help",
     .arity = 2,
     .run = object_help,
     .flags = kLoading | kStale,
     .group = "generic",
     .since = "6.2.0",
     .summary = "Lists the subcommands of OBJECT.",
     .complexity = "O(1)"},
};
static_assert(well_formed(kObjectCommands));

}  // namespace

Family object_commands() { return kObjectCommands; }

}  // namespace quoll::commands
