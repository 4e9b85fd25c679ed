// The complete server against the model: every reply byte of several clients, in the order in which
// the server ran their commands.
#include "tests/sim/command_stream.h"
#include "tests/sim/witness.h"

namespace quoll::sim {
namespace {

constexpr int kRounds = 120;
constexpr int kTalkers = 4;

void converse(Run& run, const CommandStream::Style& style, bool notifies) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  std::vector<std::string> arguments;
  if (notifies) arguments = {"--notify-keyspace-events", "KEg$"};
  ServerNode node(world, arguments);
  Witness witness(run, world, node, notifies);
  std::vector<CommandStream> streams;
  for (int i = 0; i < kTalkers; ++i) {
    witness.add_talker();
    streams.emplace_back(world.chance().draw(), style);
  }
  for (int round = 0; round < kRounds && !run.failed(); ++round) {
    for (int i = 0; i < kTalkers; ++i) {
      Talker& talker = *witness.talkers()[static_cast<size_t>(i)];
      if (talker.client().lost()) {
        talker.reconnect();
        streams[static_cast<size_t>(i)].begin_again();
      }
      std::vector<Words> pipeline;
      for (int64_t n = world.chance().between(0, 12); n > 0; --n)
        pipeline.push_back(streams[static_cast<size_t>(i)].next(node.wall()));
      if (!pipeline.empty()) talker.say(pipeline);
    }
    world.run_for(world.chance().between(0, 30) * kMilli);
  }
  auto quiet = [&] {
    for (auto& talker : witness.talkers())
      if (!talker->client().lost() && !talker->quiet()) return false;
    return true;
  };
  if (run.failed()) return;
  run.check(world.run_until(quiet, 600 * kSecond), "replies are missing");
  for (auto& talker : witness.talkers())
    run.check(!talker->client().malformed(), "what came is no reply");
  run.check(node.broken_commit().empty(), "a commit with " + node.broken_commit());
  run.check(witness.commands_checked() > 500, "hardly anything was run");
  // Once everything has expired that will, table and model hold the same number of keys.
  world.run_for(100 * kMilli);
  for (unsigned db = 0; db < Model::kDatabases; ++db) {
    if (run.plan.clock_jump_max_ms != 0) break;
    uint64_t held = node.server().store().keys(db);
    // Those that expired just now may still be there.
    run.check(held >= witness.model().live_keys(db, node.wall()) &&
                  held <= witness.model().live_keys(db, node.wall() - 50),
              "a database holds another number of keys");
  }
  run.unfollow();
}

}  // namespace

void server_model_keys(Run& run) {
  converse(run, {.transactions = false, .messages = false, .databases = false}, false);
}

void server_model_databases(Run& run) {
  converse(run, {.transactions = true, .messages = false, .databases = true}, false);
}

void server_model_everything(Run& run) { converse(run, {}, true); }

}  // namespace quoll::sim
