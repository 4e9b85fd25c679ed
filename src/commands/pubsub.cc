// Publish and subscribe. Confirmations are pushes in RESP3 and are sent even to clients that asked
// for no replies. Names in replies about "all" come sorted.
#include "commands/families.h"
#include "server/call.h"
#include "server/replication.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;
using Kind = PubSub::Kind;

void confirm(Call& call, Bytes word, const Bytes* name, Kind kind) {
  call.session.begin_push();
  call.reply.push(3);
  call.reply.bulk(word);
  if (name) {
    call.reply.bulk(*name);
  } else {
    call.reply.null();
  }
  call.reply.integer(static_cast<int64_t>(call.server.pubsub().count(call.session, kind)));
  call.session.end_push();
}

void subscribe_to(Call& call, Kind kind, Bytes word) {
  for (size_t i = 1; i < call.argc(); ++i) {
    Bytes name = call.arg(i);
    call.server.pubsub().subscribe(call.session, kind, name);
    confirm(call, word, &name, kind);
  }
}

void unsubscribe_from(Call& call, Kind kind, Bytes word) {
  PubSub& pubsub = call.server.pubsub();
  if (call.argc() > 1) {
    for (size_t i = 1; i < call.argc(); ++i) {
      Bytes name = call.arg(i);
      pubsub.unsubscribe(call.session, kind, name);
      confirm(call, word, &name, kind);
    }
    return;
  }
  std::vector<std::string> all = pubsub.names(call.session, kind);
  for (Bytes name : all) {
    pubsub.unsubscribe(call.session, kind, name);
    confirm(call, word, &name, kind);
  }
  if (all.empty()) confirm(call, word, nullptr, kind);
}

void subscribe(Call& call) { subscribe_to(call, Kind::channel, "subscribe"); }
void psubscribe(Call& call) { subscribe_to(call, Kind::pattern, "psubscribe"); }

void ssubscribe(Call& call) {
  // Unlike the older two, it was never allowed where one reply per command is expected.
  if (call.session.in_exec)
    return call.reply.error("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
  subscribe_to(call, Kind::shard, "ssubscribe");
}

void unsubscribe(Call& call) { unsubscribe_from(call, Kind::channel, "unsubscribe"); }
void punsubscribe(Call& call) { unsubscribe_from(call, Kind::pattern, "punsubscribe"); }
void sunsubscribe(Call& call) { unsubscribe_from(call, Kind::shard, "sunsubscribe"); }

void publish(Call& call) {
  size_t receivers =
      call.server.notifier().publish(Kind::channel, call.arg(1), call.arg(2), call.store.commits());
  call.server.replication().publish(call.args);
  call.reply.integer(static_cast<int64_t>(receivers));
}

void spublish(Call& call) {
  size_t receivers =
      call.server.notifier().publish(Kind::shard, call.arg(1), call.arg(2), call.store.commits());
  call.server.replication().publish(call.args);
  call.reply.integer(static_cast<int64_t>(receivers));
}

void reply_channels(Call& call, Kind kind) {
  if (call.argc() > 3) return call.subcommand_error();
  std::vector<std::string> names =
      call.server.pubsub().channels(kind, call.argc() == 3 ? call.arg(2) : "*");
  call.reply.array(names.size());
  for (Bytes name : names) call.reply.bulk(name);
}

void reply_subscribers(Call& call, Kind kind) {
  call.reply.array((call.argc() - 2) * 2);
  for (size_t i = 2; i < call.argc(); ++i) {
    call.reply.bulk(call.arg(i));
    call.reply.integer(static_cast<int64_t>(call.server.pubsub().subscribers(kind, call.arg(i))));
  }
}

void pubsub_channels(Call& call) { reply_channels(call, Kind::channel); }
void pubsub_shardchannels(Call& call) { reply_channels(call, Kind::shard); }
void pubsub_numsub(Call& call) { reply_subscribers(call, Kind::channel); }
void pubsub_shardnumsub(Call& call) { reply_subscribers(call, Kind::shard); }

void pubsub_numpat(Call& call) {
  call.reply.integer(static_cast<int64_t>(call.server.pubsub().patterns()));
}

void pubsub_help(Call& call) {
  constexpr Bytes kLines[] = {
      "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
      "CHANNELS [<pattern>]",
      "    Return the currently active channels matching a <pattern> (default: '*').",
      "NUMPAT",
      "    Return number of subscriptions to patterns.",
      "NUMSUB [<channel> ...]",
      "    Return the number of subscribers for the specified channels, excluding",
      "    pattern subscriptions(default: no channels).",
      "SHARDCHANNELS [<pattern>]",
      "    Return the currently active shard level channels matching a <pattern> (default: '*').",
      "SHARDNUMSUB [<shardchannel> ...]",
      "    Return the number of subscribers for the specified shard level channel(s)",
      "HELP",
      "    Prints this help.",
  };
  call.reply.array(std::size(kLines));
  for (Bytes line : kLines) call.reply.simple(line);
}

constexpr uint32_t kSubscribeFlags = kPubSub | kNoScript | kLoading | kStale;
constexpr uint32_t kPublishFlags = kPubSub | kLoading | kStale | kFast | kMayReplicate;
constexpr uint32_t kAskFlags = kPubSub | kLoading | kStale;

constexpr CommandSpec kPubSubCommands[] = {
    {.name = "subscribe",
     .arity = -2,
     .run = subscribe,
     .flags = kSubscribeFlags,
     .group = "pubsub",
     .since = "2.0.0",
     .summary = "Receives the messages that are published to the channels.",
     .complexity = "O(N) where N is the number of channels to subscribe to.",
     .syntax = "channel [channel ...]"},
    {.name = "unsubscribe",
     .arity = -1,
     .run = unsubscribe,
     .flags = kSubscribeFlags,
     .group = "pubsub",
     .since = "2.0.0",
     .summary = "Ends the subscription of the channels, or of all.",
     .complexity = "O(N) where N is the number of clients already subscribed to a channel.",
     .syntax = "[channel [channel ...]]"},
    {.name = "psubscribe",
     .arity = -2,
     .run = psubscribe,
     .flags = kSubscribeFlags,
     .group = "pubsub",
     .since = "2.0.0",
     .summary = "Receives the messages of all channels that match the patterns.",
     .complexity = "O(N) where N is the number of patterns the client is already subscribed to.",
     .syntax = "{pattern} [{pattern} ...]"},
    {.name = "punsubscribe",
     .arity = -1,
     .run = punsubscribe,
     .flags = kSubscribeFlags,
     .group = "pubsub",
     .since = "2.0.0",
     .summary = "Ends the subscription of the patterns, or of all.",
     .complexity =
         "O(N+M) where N is the number of patterns the client is already subscribed and M "
         "is the number of total patterns subscribed in the system (by any client).",
     .syntax = "[pattern [pattern ...]]"},
    {.name = "publish",
     .arity = 3,
     .run = publish,
     .flags = kPublishFlags,
     .group = "pubsub",
     .since = "2.0.0",
     .summary = "Sends a message to everybody who listens to the channel.",
     .complexity =
         "O(N+M) where N is the number of clients subscribed to the receiving channel and "
         "M is the total number of subscribed patterns (by any client).",
     .syntax = "channel message"},
    {.name = "ssubscribe",
     .arity = -2,
     .run = ssubscribe,
     .keys = keys::rest(1, kKeyNotKey),
     .flags = kSubscribeFlags,
     .group = "pubsub",
     .since = "7.0.0",
     .summary = "Receives the messages that are published to the shard channels.",
     .complexity = "O(N) where N is the number of shard channels to subscribe to.",
     .syntax = "shardchannel [shardchannel ...]"},
    {.name = "sunsubscribe",
     .arity = -1,
     .run = sunsubscribe,
     .keys = keys::rest(1, kKeyNotKey),
     .flags = kSubscribeFlags,
     .group = "pubsub",
     .since = "7.0.0",
     .summary = "Ends the subscription of the shard channels, or of all.",
     .complexity = "O(N) where N is the number of clients already subscribed to a shard channel.",
     .syntax = "[shardchannel [shardchannel ...]]"},
    {.name = "spublish",
     .arity = 3,
     .run = spublish,
     .keys = keys::first(kKeyNotKey),
     .flags = kPublishFlags,
     .group = "pubsub",
     .since = "7.0.0",
     .summary = "Sends a message to everybody who listens to the shard channel.",
     .complexity =
         "O(N) where N is the number of clients subscribed to the receiving shard channel.",
     .syntax = "shardchannel message"},
    {.name = "pubsub",
     .arity = -2,
     .group = "pubsub",
     .since = "2.8.0",
     .summary = "Tells who listens to what.",
     .complexity = "Depends on subcommand."},
    {.name = "pubsub|channels",
     .arity = -2,
     .run = pubsub_channels,
     .flags = kAskFlags,
     .group = "pubsub",
     .since = "2.8.0",
     .summary = "Lists the channels that have subscribers.",
     .complexity = "O(N) where N is the number of active channels, and assuming constant time "
                   "pattern matching (relatively short channels and patterns)",
     .syntax = "[pattern]"},
    {.name = "pubsub|numpat",
     .arity = 2,
     .run = pubsub_numpat,
     .flags = kAskFlags,
     .group = "pubsub",
     .since = "2.8.0",
     .summary = "Counts the different patterns that are subscribed to.",
     .complexity = "O(1)"},
    {.name = "pubsub|numsub",
     .arity = -2,
     .run = pubsub_numsub,
     .flags = kAskFlags,
     .group = "pubsub",
     .since = "2.8.0",
     .summary = "Counts the subscribers of channels.",
     .complexity = "O(N) for the NUMSUB subcommand, where N is the number of requested channels",
     .syntax = "[channel [channel ...]]"},
    {.name = "pubsub|shardchannels",
     .arity = -2,
     .run = pubsub_shardchannels,
     .flags = kAskFlags,
     .group = "pubsub",
     .since = "7.0.0",
     .summary = "Lists the shard channels that have subscribers.",
     .complexity =
         "O(N) where N is the number of active shard channels, and assuming constant time "
         "pattern matching (relatively short shard channels).",
     .syntax = "[pattern]"},
    {.name = "pubsub|shardnumsub",
     .arity = -2,
     .run = pubsub_shardnumsub,
     .flags = kAskFlags,
     .group = "pubsub",
     .since = "7.0.0",
     .summary = "Counts the subscribers of shard channels.",
     .complexity = "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard "
                   "channels",
     .syntax = "[shardchannel [shardchannel ...]]"},
    {.name = "pubsub|help",
     .arity = 2,
     .run = pubsub_help,
     .flags = kLoading | kStale,
     .group = "pubsub",
     .since = "6.2.0",
     .summary = "Explains the subcommands.",
     .complexity = "O(1)"},
};
static_assert(well_formed(kPubSubCommands));

}  // namespace

Family pubsub_commands() { return kPubSubCommands; }

}  // namespace quoll::commands
