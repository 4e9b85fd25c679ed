// Clients that behave badly, and what the server owes the others: slow readers, broken and
// half-closed connections, pauses, kills, limits. Afterwards no session is left behind.
#include <algorithm>

#include "tests/sim/command_stream.h"
#include "tests/sim/server_node.h"
#include "tests/sim/sim_client.h"

namespace quoll::sim {
namespace {

using Clients = std::vector<std::unique_ptr<SimClient>>;

size_t sessions(const ServerNode& node) { return node.server().sessions().size(); }

bool serves(SimWorld& world, NodeId node) {
  SimClient client(world, node);
  return client.call({"SET", "probe", "alive"}) == "+OK\r\n" &&
         client.call({"GET", "probe"}) == "$5\r\nalive\r\n" &&
         client.call({"DEL", "probe"}) == ":1\r\n";
}

// What the sessions still hold: none may keep the buffers of a burst.
size_t footprint(const ServerNode& node) {
  size_t bytes = 0;
  for (const auto& [id, session] : node.server().sessions()) bytes += session->footprint();
  return bytes;
}

size_t lines_of(const std::string& reply) {
  return static_cast<size_t>(std::count(reply.begin(), reply.end(), '\n')) - 2;
}

}  // namespace

// Clients that ask for much and do not read. Others are served; the limits end the connection.
void server_slow_reader(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world, {"--client-output-buffer-limit", "normal", "3mb", "1mb", "5",
                          "--client-output-buffer-limit", "pubsub", "1mb", "0", "0"});
  SimClient writer(world, node.id());
  run.check(writer.call({"SET", "big", std::string(100'000, 'b')}) == "+OK\r\n", "no SET");

  // Below the limits nothing happens, however long it takes to read.
  SimClient patient(world, node.id());
  run.check(patient.call({"PING"}) == "+PONG\r\n", "no PONG");
  size_t heard = 0;
  patient.pause_reads(true);
  for (int i = 0; i < 8; ++i)
    patient.command({"GET", "big"}, [&](const std::string& raw) { heard += raw.size(); });
  world.run_for(30 * kSecond);
  run.check(!patient.lost(), "a patient reader was cut off");
  run.check(node.server().sessions().size() == 2, "a session came or went");
  patient.pause_reads(false);
  run.check(world.run_until([&] { return patient.outstanding() == 0; }, 600 * kSecond),
            "the patient reader never got everything");
  run.check(heard == 8 * (100'000 + 11), "the patient reader got something else");

  SimClient hard(world, node.id());
  run.check(hard.call({"PING"}) == "+PONG\r\n", "no PONG");
  hard.pause_reads(true);
  for (int i = 0; i < 60; ++i) hard.command({"GET", "big"});
  run.check(world.run_until([&] { return sessions(node) == 2; }, 60 * kSecond),
            "the hard limit did not end the connection");

  SimClient soft(world, node.id());
  run.check(soft.call({"PING"}) == "+PONG\r\n", "no PONG");
  soft.pause_reads(true);
  Nanos begin = world.now();
  for (int i = 0; i < 18; ++i) soft.command({"GET", "big"});
  world.run_for(3 * kSecond);
  run.check(sessions(node) == 3, "the soft limit struck too early");
  run.check(world.run_until([&] { return sessions(node) == 2; }, 60 * kSecond),
            "the soft limit did not end the connection");
  run.check(world.now() - begin < 60 * kSecond, "the soft limit struck too late");

  SimClient listener(world, node.id());
  run.check(!listener.call({"SUBSCRIBE", "news"}).empty(), "no SUBSCRIBE");
  listener.pause_reads(true);
  for (int i = 0; i < 40 && sessions(node) == 3; ++i) {
    writer.call({"PUBLISH", "news", std::string(50'000, 'n')});
    world.run_for(10 * kMilli);
  }
  run.check(world.run_until([&] { return sessions(node) == 2; }, 60 * kSecond),
            "the limit for subscribers did not end the connection");
  run.check(node.server().stats().output_buffer_limit_disconnections == 3, "other cut-offs");
  run.check(writer.call({"PUBLISH", "news", "x"}) == ":0\r\n", "a subscription was left behind");
  run.check(serves(world, node.id()), "the server does not serve");
  world.run_for(kSecond);
  run.check(footprint(node) < 100'000, "sessions keep the memory of a burst");
  run.unfollow();
}

// Connections break at any byte, in any state a session can be in.
void server_resets(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world, {"--notify-keyspace-events", "KEA"});
  Clients clients;
  std::vector<CommandStream> streams;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(std::make_unique<SimClient>(world, node.id()));
    streams.emplace_back(world.chance().draw(), CommandStream::Style{});
  }
  int losses = 0;
  for (int round = 0; round < 150; ++round) {
    for (size_t i = 0; i < clients.size(); ++i) {
      SimClient& client = *clients[i];
      if (client.lost()) {
        ++losses;
        client.connect();
        streams[i].begin_again();
      }
      run.check(!client.malformed(), "what came is no reply");
      for (int64_t n = world.chance().between(0, 6); n > 0; --n)
        client.command(streams[i].next(node.wall()));
      // A large argument, and the end in the middle of one.
      if (world.chance().ppm(20'000)) client.command({"SET", "large", std::string(200'000, 'l')});
      if (world.chance().ppm(20'000)) {
        client.send_raw("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$70000\r\n" + std::string(40'000, 'h'), 0);
        client.disconnect();
        client.connect();
        streams[i].begin_again();
      }
      if (world.chance().ppm(10'000)) client.end_sends();
    }
    world.run_for(world.chance().between(0, 40) * kMilli);
  }
  run.check(losses > 0, "the plan broke no connection");
  world.calm_down();
  run.check(serves(world, node.id()), "the server does not serve after the faults");
  for (auto& client : clients) client->disconnect();
  run.check(world.run_until([&] { return sessions(node) == 0; }, 60 * kSecond),
            std::to_string(sessions(node)) + " sessions are left of connections that ended");
  server::Server& server = node.server();
  run.check(server.pubsub().sessions() == 0 && server.pubsub().channels() == 0 &&
                server.pubsub().patterns() == 0,
            "subscriptions of ended sessions are left");
  run.check(server.watches().sessions() == 0 && server.watches().keys() == 0,
            "watched keys of ended sessions are left");
  run.unfollow();
}

// A client says that it will send no more; what it asked before is answered.
void server_half_closed(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world);
  SimClient writer(world, node.id());
  run.check(writer.call({"SET", "big", std::string(300'000, 'b')}) == "+OK\r\n", "no SET");
  for (int round = 0; round < 20; ++round) {
    SimClient client(world, node.id());
    run.check(client.call({"PING"}) == "+PONG\r\n", "no PONG");
    size_t asked = static_cast<size_t>(world.chance().between(0, 20));
    size_t heard = 0;
    std::string bytes;
    for (size_t i = 0; i < asked; ++i) bytes += resp_command({"GET", i % 5 == 0 ? "big" : "none"});
    // A command that is not complete dies with the connection.
    if (round % 2 == 0) bytes += "*2\r\n$3\r\nGET\r\n$3\r\nbi";
    client.send_raw(bytes, asked, [&](const std::string&) { ++heard; });
    // All of it is under way before the end is.
    world.run_for(kSecond);
    client.end_sends();
    run.check(world.run_until([&] { return client.lost(); }, 600 * kSecond),
              "the server did not close after the client's end");
    run.check(heard == asked, std::to_string(heard) + " of " + std::to_string(asked) +
                                  " replies came before the end");
    run.check(client.reason().empty(), "the end is not orderly: " + client.reason());
    run.check(world.run_until([&] { return sessions(node) == 1; }, 60 * kSecond),
              "a half-closed session is left behind");
  }
  run.unfollow();
}

// CLIENT PAUSE holds commands back and loses none; nothing expires meanwhile.
void server_pause(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world);
  SimClient boss(world, node.id());
  run.check(boss.call({"SET", "brief", "v", "PX", "700"}) == "+OK\r\n", "no SET");
  Clients clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(std::make_unique<SimClient>(world, node.id()));
    run.check(clients.back()->call({"PING"}) == "+PONG\r\n", "no PONG");
  }
  for (const char* kind : {"WRITE", "ALL"}) {
    bool writes_only = std::string(kind) == "WRITE";
    Nanos begin = world.now();
    run.check(boss.call({"CLIENT", "PAUSE", "2000", kind}) == "+OK\r\n", "no PAUSE");
    std::vector<std::string> heard(clients.size());
    for (size_t i = 0; i < clients.size(); ++i) {
      std::string key = "p" + std::to_string(i);
      auto note = [&heard, i](const std::string& raw) { heard[i] += raw; };
      clients[i]->command({"GET", "none"}, note);
      clients[i]->command({"SET", key, kind}, note);
      clients[i]->command({"MULTI"}, note);
      clients[i]->command({"GET", key}, note);
      clients[i]->command({"APPEND", key, "!"}, note);
      clients[i]->command({"EXEC"}, note);
      clients[i]->command({"GET", key}, note);
    }
    // Some do not live to see the end of it.
    world.run_for(500 * kMilli);
    clients.back()->disconnect();
    world.run_for(kSecond);
    for (size_t i = 0; i + 1 < clients.size(); ++i)
      run.check(heard[i] == (writes_only ? "$-1\r\n" : ""), "another reply during the pause");
    if (writes_only)
      run.check(node.server().store().keys(0) == 1, "a key expired or appeared in the pause");
    run.check(!world.run_until([&] { return heard[0].size() > 5; },
                               1'990 * kMilli - (world.now() - begin)),
              "the pause ended too early");
    std::string value = kind;
    std::string size = std::to_string(value.size());
    std::string grown = std::to_string(value.size() + 1);
    std::string expected = "$-1\r\n+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$" + size + "\r\n" +
                           value + "\r\n:" + grown + "\r\n$" + grown + "\r\n" + value + "!\r\n";
    world.run_for(3 * kSecond);
    for (size_t i = 0; i + 1 < clients.size(); ++i)
      run.check(heard[i] == expected, "other replies after the pause: " + heard[i]);
    clients.pop_back();
    run.check(sessions(node) == clients.size() + 1, "a session is left of who left in the pause");
    if (writes_only)
      run.check(boss.call({"EXISTS", "brief"}) == ":0\r\n", "nothing expired after the pause");
  }
  // Ended early.
  run.check(boss.call({"CLIENT", "PAUSE", "100000000", "WRITE"}) == "+OK\r\n", "no PAUSE");
  std::string reply;
  clients[0]->command({"SET", "last", "x"}, [&](const std::string& raw) { reply = raw; });
  world.run_for(kSecond);
  run.check(reply.empty(), "a write during the pause");
  run.check(boss.call({"CLIENT", "UNPAUSE"}) == "+OK\r\n", "no UNPAUSE");
  world.run_for(kSecond);
  run.check(reply == "+OK\r\n", "a write is lost after UNPAUSE");
  run.unfollow();
}

// CLIENT KILL, maxclients, timeout.
void server_limits(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world, {"--maxclients", "10"});
  Clients clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(std::make_unique<SimClient>(world, node.id()));
    run.check(clients.back()->call({"PING"}) == "+PONG\r\n", "no PONG");
  }
  SimClient& boss = *clients[0];
  for (int i = 0; i < 3; ++i) {
    SimClient refused(world, node.id());
    std::string reply;
    refused.on_push = [&](const std::string& raw) { reply = raw; };
    run.check(world.run_until([&] { return refused.lost(); }, 60 * kSecond),
              "a client too many is not sent away");
    // Best effort: a transport that takes less than a line cuts it off.
    bool cut = reply.empty() && run.plan.short_send_ppm > 0;
    run.check(cut || reply == "-ERR max number of clients reached\r\n",
              "another refusal: " + reply);
  }
  run.check(lines_of(boss.call({"CLIENT", "LIST"})) == 10, "CLIENT LIST shows other clients");

  std::string id = clients[1]->call({"CLIENT", "ID"});
  run.check(boss.call({"CLIENT", "KILL", "ID", id.substr(1, id.size() - 3)}) == ":1\r\n",
            "no kill");
  run.check(world.run_until([&] { return clients[1]->lost(); }, 60 * kSecond), "it lives on");
  run.check(boss.call({"CLIENT", "KILL", clients[2]->local_address()}) == "+OK\r\n", "no kill");
  run.check(world.run_until([&] { return clients[2]->lost(); }, 60 * kSecond), "it lives on");
  clients[3]->call({"SUBSCRIBE", "news"});
  run.check(boss.call({"CLIENT", "KILL", "TYPE", "pubsub"}) == ":1\r\n", "no kill of subscribers");
  // A kill between the commands of a pipeline: itself as the last of those killed.
  std::string heard;
  auto note = [&](const std::string& raw) { heard += raw; };
  clients[4]->command({"SET", "k", "1"}, note);
  clients[4]->command({"MULTI"}, note);
  clients[4]->command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"}, note);
  clients[4]->command({"INCR", "k"}, note);
  clients[4]->command({"EXEC"}, note);
  clients[4]->command({"INCR", "k"}, note);
  run.check(world.run_until([&] { return sessions(node) == 0; }, 60 * kSecond),
            "a session outlived the kill of all");
  for (auto& client : clients)
    run.check(world.run_until([&] { return client->lost(); }, 60 * kSecond), "it lives on");
  boss.connect();
  // The transaction went on to its end, the pipeline did not.
  run.check(boss.call({"GET", "k"}) == "$1\r\n2\r\n", "the pipeline went on after the kill");

  run.check(boss.call({"CONFIG", "SET", "timeout", "3"}) == "+OK\r\n", "no CONFIG SET");
  clients.resize(1);
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<SimClient>(world, node.id()));
    clients.back()->call({"PING"});
  }
  clients[1]->call({"SUBSCRIBE", "news"});
  clients[2]->call({"PING"});
  for (int second = 0; second < 6; ++second) {
    world.run_for(kSecond);
    clients[2]->call({"PING"});
    if (second < 2) run.check(sessions(node) == 4, "the timeout struck too early");
  }
  run.check(clients[0]->lost() && clients[3]->lost(), "an idle client lives on");
  run.check(!clients[1]->lost() && !clients[2]->lost(), "a busy client or subscriber was cut off");
  run.check(sessions(node) == 2, "another number of sessions");
  run.unfollow();
}

}  // namespace quoll::sim
