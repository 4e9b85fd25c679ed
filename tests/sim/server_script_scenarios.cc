// Scripts that run for long: others are answered inside them, and nothing else of the server moves.
#include <functional>

#include "server/script_host.h"
#include "tests/sim/server_node.h"
#include "tests/sim/sim_client.h"

namespace quoll::sim {

// A script without end. Clients that knock meanwhile get BUSY, one of them kills it; keys that were
// due and a blocked client's timeout wait until it is over.
void server_busy_script(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world, {"--busy-reply-threshold", "40"});
  SimClient slow(world, node.id()), other(world, node.id()), blocked(world, node.id());
  run.check(other.call({"SET", "due", "1", "PX", "2000"}) == "+OK\r\n", "no SET");
  std::string timed_out, killed, behind;
  blocked.command({"BLPOP", "list", "2"}, [&](const std::string& raw) { timed_out = raw; });
  run.check(other.call({"PING"}) == "+PONG\r\n", "no PONG");

  size_t busy = 0, late = 0;
  bool over = false, sent = false;
  Nanos begin = world.now();
  std::unique_ptr<SimClient> fresh;
  std::string fresh_reply;
  std::function<void()> ping = [&] {
    other.command({"PING"}, [&](const std::string& raw) {
      if (raw.starts_with("-BUSY")) {
        ++busy;
        late += !timed_out.empty();
        run.check(node.server().scripts().running(), "BUSY though no script runs");
        run.check(node.server().store().keys(0) == 1, "a key expired inside a script");
        if (!fresh) {
          fresh = std::make_unique<SimClient>(world, node.id());
          fresh->command({"GET", "due"}, [&](const std::string& got) { fresh_reply = got; });
        }
        bool all_due = world.now() - begin > 4 * kSecond;
        if (all_due && !fresh_reply.empty() && !std::exchange(sent, true))
          other.command({"SCRIPT", "KILL"}, [&](const std::string& got) { killed = got; });
      }
      if (!over) ping();
    });
  };
  ping();
  world.set_look_cost(node.id(), 10 * kMilli);  // so that few instructions take long
  std::string ended;
  slow.command({"EVAL", "while true do end", "0"}, [&](const std::string& raw) { ended = raw; });
  slow.command({"ECHO", "behind"}, [&](const std::string& raw) {
    behind = raw;
    over = true;
  });
  run.check(world.run_until([&] { return over; }, 60 * kSecond), "the script was never killed");
  world.set_look_cost(node.id(), kLookCost);
  run.check(busy > 0, "nobody was told BUSY");
  run.check(late == 0, "a timeout struck inside the script");
  run.check(killed == "+OK\r\n", "no kill");
  run.check(fresh_reply.starts_with("-BUSY"), "a new connection was not heard");
  run.check(ended.starts_with("-ERR Script killed by user"), "another end of the script");
  run.check(behind == "$6\r\nbehind\r\n", "what stood behind the script was lost");
  run.check(world.run_until([&] { return timed_out == "*-1\r\n"; }, 10 * kSecond), "no timeout");
  run.check(world.run_until([&] { return node.server().store().keys(0) == 0; }, 10 * kSecond),
            "the key never expired");
  run.check(fresh->call({"EVAL", "return redis.call('SET', 'a', 1)", "0"}) == "+OK\r\n", "no EVAL");
  run.check(node.broken_commit().empty(), node.broken_commit());
}

}  // namespace quoll::sim
