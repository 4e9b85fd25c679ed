// Where a member of a group sends its clients: the leader of the group changes under a complete
// server, as clients in every state see it.
#include "tests/sim/server_node.h"
#include "tests/sim/sim_client.h"

namespace quoll::sim {
namespace {

// Three members, the last a witness; who leads, and which of them the server is, the test says.
struct Group final : server::ClusterView {
  std::vector<server::ClusterMember> list{3};
  size_t own = 0, leads = 3;
  bool serving = true;
  bool has_slots = true;

  Group() {
    for (size_t i = 0; i < list.size(); ++i) {
      server::ClusterMember& member = list[i];
      member.id = std::string(40, static_cast<char>('a' + i));
      member.host = "10.0.0." + std::to_string(i + 1);
      member.port = static_cast<uint16_t>(7001 + i);
      member.bus_port = static_cast<uint16_t>(17001 + i);
      member.position = 5;
    }
    list[2].witness = true;
  }
  const std::vector<server::ClusterMember>& members() const override { return list; }
  size_t self() const override { return own; }
  size_t leader() const override { return leads; }
  bool serves() const override { return serving && leads == own; }
  uint64_t epoch() const override { return 4; }
  bool has_slot(unsigned) const override { return has_slots; }
};

// The slot of "foo" is 12182, that of "bar" 5061.
const std::string kDown = "-CLUSTERDOWN The cluster is down\r\n";
const std::string kMoved = "-MOVED 12182 10.0.0.2:7002\r\n";
const std::string kCrossing = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
const std::string kReadOnly = "-READONLY You can't write against a read only replica.\r\n";

struct RoutesStage {
  explicit RoutesStage(Run& run) : run(run), world(run.seed, run.plan) {
    world.trace(run.trace);
    run.follow(world);
    auto made = std::make_unique<Group>();
    group = made.get();
    node =
        std::make_unique<ServerNode>(world, std::vector<std::string>{"--cluster-enabled", "yes"},
                                     [&](server::Server& server) { server.join(std::move(made)); });
  }
  ~RoutesStage() { run.unfollow(); }

  void expect(SimClient& client, const std::vector<std::string>& line, const std::string& reply) {
    const std::string got = client.call(line);
    std::string text;
    for (const std::string& word : line) (text += word) += ' ';
    run.check(got == reply, text + "got " + got + " instead of " + reply);
  }
  // As the driver of a group does.
  void lead(size_t member) {
    group->leads = member;
    node->server().redirect_blocked();
  }

  Run& run;
  SimWorld world;
  std::unique_ptr<ServerNode> node;
  Group* group;
};

}  // namespace

void cluster_routes(Run& run) {
  RoutesStage it(run);
  SimClient client(it.world, it.node->id());
  // Nobody leads.
  it.expect(client, {"GET", "foo"}, kDown);
  it.expect(client, {"READONLY"}, "+OK\r\n");
  it.expect(client, {"GET", "foo"}, kDown);
  it.expect(client, {"MGET", "foo", "bar"}, kCrossing);
  it.expect(client, {"FLUSHALL"}, kDown);
  it.expect(client, {"PING"}, "+PONG\r\n");
  it.expect(client, {"CLUSTER", "SLOTS"}, "*0\r\n");
  it.expect(client, {"READWRITE"}, "+OK\r\n");
  // We lead, but our log is not complete.
  it.group->serving = false;
  it.lead(0);
  it.expect(client, {"SET", "foo", "1"}, kDown);
  it.group->serving = true;
  it.expect(client, {"SET", "foo", "1"}, "+OK\r\n");
  it.expect(client, {"MSET", "foo", "1", "bar", "2"}, kCrossing);
  // Another one leads: what only reads may be answered here to those who ask for it.
  it.lead(1);
  it.expect(client, {"GET", "foo"}, kMoved);
  it.expect(client, {"SET", "foo", "2"}, kMoved);
  it.expect(client, {"FLUSHALL"}, kReadOnly);
  it.expect(client, {"EVAL", "return redis.call('get', KEYS[1])", "1", "foo"}, kMoved);
  it.expect(client, {"SPUBLISH", "foo", "x"}, ":0\r\n");  // every member takes it
  it.expect(client, {"READONLY"}, "+OK\r\n");
  it.expect(client, {"GET", "foo"}, "$1\r\n1\r\n");
  it.expect(client, {"SET", "foo", "2"}, kMoved);
  it.expect(client, {"EVAL", "return redis.call('get', KEYS[1])", "1", "foo"}, "$1\r\n1\r\n");
  run.check(client.call({"EVAL", "return redis.call('set', KEYS[1], 2)", "1", "foo"})
                .starts_with("-ERR Script attempted to access a non local key in a cluster node"),
            "a script wrote on a follower");
  it.expect(client, {"SPUBLISH", "foo", "x"}, ":0\r\n");  // every member takes it
  // A witness has nothing to read.
  it.group->own = 2;
  it.expect(client, {"GET", "foo"}, kMoved);
}

void cluster_routes_transactions(Run& run) {
  RoutesStage it(run);
  SimClient client(it.world, it.node->id());
  it.lead(1);
  it.expect(client, {"MULTI"}, "+OK\r\n");
  it.expect(client, {"SET", "foo", "1"}, kMoved);
  it.expect(client, {"EXEC"}, "-EXECABORT Transaction discarded because of previous errors.\r\n");
  // Leadership leaves between the commands and EXEC.
  it.lead(0);
  it.expect(client, {"MULTI"}, "+OK\r\n");
  it.expect(client, {"SET", "foo", "1"}, "+QUEUED\r\n");
  it.lead(1);
  it.expect(client, {"EXEC"}, kMoved);
  it.expect(client, {"EXEC"}, "-ERR EXEC without MULTI\r\n");
  it.lead(0);
  it.expect(client, {"GET", "foo"}, "$-1\r\n");
  it.expect(client, {"MULTI"}, "+OK\r\n");
  it.expect(client, {"FLUSHALL"}, "+QUEUED\r\n");
  it.lead(1);
  it.expect(client, {"EXEC"}, kReadOnly);
  it.expect(client, {"READONLY"}, "+OK\r\n");
  it.expect(client, {"MULTI"}, "+OK\r\n");
  it.expect(client, {"GET", "foo"}, "+QUEUED\r\n");
  it.expect(client, {"EXEC"}, "*1\r\n$-1\r\n");
}

// Whoever waits for a key is told where it is now, and goes on; those who hear a shard channel are
// told when its slot is no more here, whoever leads.
void cluster_routes_blocked(Run& run) {
  RoutesStage it(run);
  SimClient pops(it.world, it.node->id()), reads(it.world, it.node->id());
  SimClient waits(it.world, it.node->id()), hears(it.world, it.node->id());
  it.lead(0);
  it.expect(reads, {"READONLY"}, "+OK\r\n");
  it.expect(waits, {"SET", "other", "1"}, "+OK\r\n");
  std::string popped, read, waited, heard;
  pops.command({"BLPOP", "foo:list", "{foo:list}2", "0"},
               [&](const std::string& raw) { popped = raw; });
  reads.command({"XREAD", "BLOCK", "0", "STREAMS", "foo", "0"},
                [&](const std::string& raw) { read = raw; });
  waits.command({"WAIT", "1", "0"}, [&](const std::string& raw) { waited = raw; });
  hears.on_push = [&](const std::string& raw) { heard += raw; };
  it.expect(hears, {"SSUBSCRIBE", "foo"}, "*3\r\n$10\r\nssubscribe\r\n$3\r\nfoo\r\n:1\r\n");
  it.world.run_for(kSecond);
  it.lead(1);
  it.world.run_for(kSecond);
  run.check(popped.starts_with("-MOVED ") && popped.ends_with(" 10.0.0.2:7002\r\n"),
            "BLPOP: " + popped);
  run.check(waited.starts_with("-UNBLOCKED "), "WAIT: " + waited);
  run.check(heard.empty(), "a follower that has the slot sends listeners away: " + heard);
  run.check(read.empty(), "a reader of a follower was sent away: " + read);
  it.expect(pops, {"PING"}, "+PONG\r\n");
  it.lead(3);
  it.world.run_for(kSecond);
  run.check(read == kDown, "XREAD: " + read);
  it.group->has_slots = false;
  it.lead(1);
  it.world.run_for(kSecond);
  run.check(heard == "*3\r\n$12\r\nsunsubscribe\r\n$3\r\nfoo\r\n:0\r\n", "no farewell: " + heard);
}

// The group as CLUSTER shows it.
void cluster_describes_group(Run& run) {
  RoutesStage it(run);
  SimClient client(it.world, it.node->id());
  it.lead(1);
  const std::string a(40, 'a'), b(40, 'b'), c(40, 'c');
  auto line = [](std::string text) {
    return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
  };
  it.expect(client, {"CLUSTER", "NODES"},
            line(a + " 10.0.0.1:7001@17001 myself,slave " + b + " 0 0 4 connected\n" +  //
                 b + " 10.0.0.2:7002@17002 master - 0 0 4 connected 0-16383\n" +        //
                 c + " 10.0.0.3:7003@17003 slave,nofailover " + b + " 0 0 4 connected\n"));
  it.expect(client, {"CLUSTER", "SLOTS"},
            "*1\r\n*4\r\n:0\r\n:16383\r\n"
            "*4\r\n$8\r\n10.0.0.2\r\n:7002\r\n" +
                line(b) + "*0\r\n" + "*4\r\n$8\r\n10.0.0.1\r\n:7001\r\n" + line(a) + "*0\r\n");
  it.expect(client, {"CLUSTER", "REPLICAS", a}, "-ERR The specified node is not a master\r\n");
  run.check(client.call({"CLUSTER", "REPLICAS", b}).starts_with("*2\r\n"), "two replicas");
  run.check(client.call({"CLUSTER", "INFO"}).find("cluster_state:ok") != std::string::npos, "ok");
  // One that nobody has heard of, and one that is gone.
  it.group->list[0].connected = true;
  it.group->list[1].connected = false;
  it.group->list[2].id.clear();
  it.lead(3);
  const std::string nodes = client.call({"CLUSTER", "NODES"});
  run.check(
      nodes.find(b + " 10.0.0.2:7002@17002 slave,fail - 0 0 4 disconnected\n") != std::string::npos,
      "a failed member: " + nodes);
  run.check(nodes.find(std::string(39, '0') +
                       "2 10.0.0.3:7003@17003 slave,handshake,nofailover - ") != std::string::npos,
            "an unknown member: " + nodes);
  const std::string info = client.call({"CLUSTER", "INFO"});
  run.check(info.find("cluster_state:fail") != std::string::npos, info);
  const std::string shard = client.call({"CLUSTER", "MYSHARDID"});
  it.group->own = 1;
  run.check(shard.size() == 47 && client.call({"CLUSTER", "MYSHARDID"}) == shard,
            "members name the shard differently");
}

}  // namespace quoll::sim
