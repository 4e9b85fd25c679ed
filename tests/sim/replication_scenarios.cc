// Two and three complete servers, one of which is followed, and a network that loses, delays and
// cuts: in the end all hold the same data, and nobody was given all data twice without need.
#include "server/replication.h"
#include "tests/sim/command_stream.h"
#include "tests/sim/server_node.h"
#include "tests/sim/sim_client.h"

namespace quoll::sim {
namespace {

const std::vector<std::string> kArguments = {
    "--enable-debug-command", "yes",  "--repl-diskless-sync-delay", "0", "--repl-timeout", "20",
    "--repl-backlog-size",    "64mb", "--repl-ping-replica-period", "1", "--save",         ""};

// The reply to a command that may be sent twice: again on a new connection when one was lost.
std::string ask(SimClient& client, const std::vector<std::string>& args) {
  constexpr int kTries = 20;
  std::string reply;
  for (int i = 0; i < kTries && reply.empty(); ++i) {
    if (client.lost()) client.connect();
    reply = client.call(args);
  }
  return reply;
}

bool follows(SimWorld& world, SimClient& client, NodeId primary) {
  const std::string reply = ask(client, {"REPLICAOF", SimWorld::address_of(primary), "6379"});
  return reply.starts_with("+OK") && world.running(primary);
}

bool equal_offsets(const ServerNode& primary, const ServerNode& replica) {
  const server::Replication& one = primary.server().replication();
  const server::Replication& other = replica.server().replication();
  return other.link().connected() && one.id() == other.id() && one.offset() == other.offset();
}

// A client that writes whatever comes to mind, and begins again when its connection is lost.
struct Writer {
  Writer(SimWorld& world, const ServerNode& node)
      : node(node), client(world, node.id()), stream(world.chance().draw(), {.messages = false}) {}
  void write(int count) {
    if (client.lost()) {
      client.connect();
      stream.begin_again();
    }
    for (int i = 0; i < count; ++i) client.command(stream.next(node.wall()));
  }
  const ServerNode& node;
  SimClient client;
  CommandStream stream;
};

std::string digest(SimClient& client) { return client.call({"DEBUG", "DIGEST"}); }

}  // namespace

// A key may expire between two looks; then another one follows.
bool alike(SimWorld& world, SimClient& one, SimClient& other) {
  constexpr int kLooks = 5;
  for (int i = 0; i < kLooks; ++i) {
    if (digest(one) == digest(other)) return true;
    world.run_for(kSecond);
  }
  return false;
}

// The link breaks at any byte: of the handshake, of all data, of the stream.
void replication_through_cuts(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode primary(world, kArguments);
  ServerNode replica(world, kArguments);
  SimClient at_primary(world, primary.id()), at_replica(world, replica.id());
  run.check(ask(at_primary, {"DEBUG", "POPULATE", "2000", "key", "200"}) == "+OK\r\n", "no keys");
  run.check(follows(world, at_replica, primary.id()), "no REPLICAOF");
  Writer writer(world, primary);
  for (int round = 0; round < 40; ++round) {
    writer.write(static_cast<int>(world.chance().between(0, 40)));
    world.run_for(world.chance().between(1, 400) * kMilli);
    if (world.chance().between(0, 2) == 0)
      world.network().reset_streams(primary.id(), replica.id());
  }
  world.calm_down();
  writer.client.disconnect();
  run.check(world.run_until([&] { return equal_offsets(primary, replica); }, 300 * kSecond),
            "the replica never caught up");
  SimClient one(world, primary.id()), other(world, replica.id());
  run.check(alike(world, one, other), "primary and replica differ");
  run.check(other.call({"SET", "a", "1"}).starts_with("-READONLY"), "a write to a replica");
  run.unfollow();
}

// A chain of three; the middle one becomes the primary, the first its replica.
void replication_changes_parts(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  // Without pings: one on its way while the middle one is promoted is history that only the first
  // has.
  std::vector<std::string> arguments = kArguments;
  arguments.insert(arguments.end(),
                   {"--repl-ping-replica-period", "3600", "--repl-timeout", "7200"});
  ServerNode first(world, arguments), middle(world, arguments), last(world, arguments);
  SimClient at_middle(world, middle.id()), at_last(world, last.id());
  Writer writer(world, first);
  writer.write(300);
  run.check(follows(world, at_middle, first.id()), "no REPLICAOF");
  run.check(follows(world, at_last, middle.id()), "no REPLICAOF");
  writer.write(300);
  run.check(world.run_until([&] { return writer.client.outstanding() == 0; }, 300 * kSecond),
            "writes without an end");
  // What expires from now on is not history that only the first has.
  SimClient demoter(world, first.id());
  run.check(ask(demoter, {"CLIENT", "PAUSE", "1000000000", "WRITE"}) == "+OK\r\n", "no pause");
  run.check(
      world.run_until([&] { return equal_offsets(first, middle) && equal_offsets(first, last); },
                      300 * kSecond),
      "the chain never caught up");
  writer.client.disconnect();
  const uint64_t full = middle.server().replication().counters.full;

  SimClient promoter(world, middle.id());
  run.check(ask(promoter, {"REPLICAOF", "NO", "ONE"}) == "+OK\r\n", "no promotion");
  run.check(follows(world, demoter, middle.id()), "no REPLICAOF");
  run.check(ask(demoter, {"CLIENT", "UNPAUSE"}) == "+OK\r\n", "no end of the pause");
  Writer second(world, middle);
  second.write(300);
  run.check(world.run_until(
                [&] {
                  return second.client.outstanding() == 0 && equal_offsets(middle, first) &&
                         equal_offsets(middle, last);
                },
                300 * kSecond),
            "the others never followed the new primary");
  run.check(middle.server().replication().counters.full == full,
            "the new primary had to send all data");
  world.calm_down();
  run.check(
      world.run_until([&] { return equal_offsets(middle, first) && equal_offsets(middle, last); },
                      300 * kSecond),
      "the others never followed the new primary");
  SimClient a(world, first.id()), b(world, middle.id()), c(world, last.id());
  run.check(alike(world, b, a), "the old primary differs");
  run.check(alike(world, b, c), "the last one differs");
  run.unfollow();
}

}  // namespace quoll::sim
