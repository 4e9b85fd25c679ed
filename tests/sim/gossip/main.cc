// Runs the gossip of a cluster in GossipWorld.
//   gossip-sim                                 every scenario, as `make test` does
//   gossip-sim --full                          an hour of loss at 1,000 nodes, 2,000 random lives
//   gossip-sim --scenario S [--nodes N] [--seed S] [--seeds N] [--minutes T]
//              [--until-failure]
// What a scenario measures is printed; the last line is "N passed, N failed".
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/sim/gossip/gossip_world.h"

using namespace quoll;
using namespace quoll::sim;

namespace {

constexpr double kBytesPerSecondMost = 15'000;  // that a node may send
constexpr Millis kDeathKnownWithin = 30 * kSecond;
constexpr Millis kPeaceWithin = 180 * kSecond;  // everybody sees everything as it is

struct Settings {
  uint64_t seed = 1;
  uint64_t seeds = 0;
  size_t nodes = 1000;
  Millis minutes = 0;
};

struct Outcome {
  std::string failure;  // "": none
  std::string figures;
};

std::string text(const char* format, auto... values) {
  char line[400];
  std::snprintf(line, sizeof line, format, values...);
  return line;
}

Outcome ended(const GossipWorld& world, std::string failure, std::string figures) {
  return {world.failure().empty() ? std::move(failure) : world.failure(), std::move(figures)};
}

double per_second(uint64_t value, size_t nodes, Millis time) {
  return static_cast<double>(value) * kSecond / static_cast<double>(nodes) /
         static_cast<double>(time);
}

// One node ends: how long until everybody knows, and what that costs.
Outcome death(const Settings& settings) {
  GossipWorld world(settings.seed, settings.nodes, {.loss_ppm = 10'000});
  world.run(30 * kSecond);
  world.counts() = {};
  world.most_sent_per_second(kSecond);
  world.run(60 * kSecond);
  const double quiet = per_second(world.counts().bytes, settings.nodes, 60 * kSecond);
  const double quiet_most = world.most_sent_per_second(60 * kSecond);
  world.counts() = {};
  const auto victim = static_cast<NodeIndex>(settings.nodes / 2);
  world.end(victim);
  const Millis suspected =
      world.until(120 * kSecond, [&] { return world.all_see(victim, NodeState::suspect); });
  const Millis known =
      world.until(120 * kSecond, [&] { return world.all_see(victim, NodeState::fail); });
  const Millis took = suspected + known;
  const double busy_most = world.most_sent_per_second(std::max<Millis>(took, kSecond));
  std::string failure;
  if (std::max(quiet_most, busy_most) > kBytesPerSecondMost) failure = "too many bytes";
  if (suspected < 0 || known < 0 || took > kDeathKnownWithin) failure = "a death is not known";
  if (world.counts().false_deaths > 0) failure = "somebody who lives was taken for dead";
  return ended(world, failure,
               text("%zu nodes, 1 %% lost: suspected by all after %.1f s, known dead to all after "
                    "%.1f s; sent per node %.0f B/s (busiest %.0f), then busiest %.0f B/s",
                    settings.nodes, static_cast<double>(suspected) / kSecond,
                    static_cast<double>(took) / kSecond, quiet, quiet_most, busy_most));
}

// Packets get lost, and nobody dies.
Outcome loss(const Settings& settings, bool tcp) {
  GossipWorld world(settings.seed, settings.nodes, {.loss_ppm = 10'000, .tcp = tcp});
  const Millis time = std::max<Millis>(settings.minutes, 1) * 60 * kSecond;
  world.run(time);
  const auto& counts = world.counts();
  std::string failure = world.difference();
  if (counts.false_deaths > 0) failure = "somebody who lives was taken for dead";
  return ended(
      world, failure,
      text("%zu nodes, %lld min of 1 %% loss, TCP %s: %llu suspicions noted, %llu false deaths; "
           "%.0f B/s, %.2f datagrams/s per node, busiest %.0f B/s",
           settings.nodes, static_cast<long long>(time / 60 / kSecond), tcp ? "works" : "does not",
           static_cast<unsigned long long>(counts.suspicions),
           static_cast<unsigned long long>(counts.false_deaths),
           per_second(counts.bytes, settings.nodes, time),
           per_second(counts.datagrams, settings.nodes, time), world.most_sent_per_second(time)));
}
Outcome loss_with_tcp(const Settings& settings) { return loss(settings, true); }
Outcome loss_without_tcp(const Settings& settings) { return loss(settings, false); }

// Two halves lose sight of each other, and find each other again.
Outcome partition(const Settings& settings) {
  GossipWorld world(settings.seed, settings.nodes, {.loss_ppm = 10'000});
  world.run(20 * kSecond);
  std::set<NodeIndex> part;
  for (NodeIndex n = 0; n < settings.nodes; n += 2) part.insert(n);
  world.split(part);
  const Millis apart = world.until(300 * kSecond, [&] {
    for (NodeIndex n : {NodeIndex{0}, NodeIndex{1}})
      if (world.core(n).count(NodeState::fail) != settings.nodes / 2) return false;
    return true;
  });
  world.run(60 * kSecond);
  world.most_sent_per_second(kSecond);
  world.heal();
  const Millis together = world.until(kPeaceWithin, [&] { return world.difference().empty(); });
  const double most = world.most_sent_per_second(std::max<Millis>(together, kSecond));
  std::string failure;
  if (most > kBytesPerSecondMost) failure = "too many bytes";
  if (apart < 0) failure = "the halves do not notice";
  if (together < 0) failure = "after it healed: " + world.difference();
  return ended(
      world, failure,
      text("%zu nodes in halves: the others dead to the first two after %.1f s; healed, all "
           "see all after %.1f s, busiest %.0f B/s",
           settings.nodes, static_cast<double>(apart) / kSecond,
           static_cast<double>(together) / kSecond, most));
}

// Nodes stand still for less than a suspicion lasts, one after the other: nobody dies of it,
// whether looked at by others or looking at them afterwards.
Outcome pauses(const Settings& settings) {
  GossipWorld world(settings.seed, settings.nodes, {.loss_ppm = 10'000});
  SimChance chance(settings.seed);
  world.run(20 * kSecond);
  for (int i = 0; i < 30; ++i) {
    const auto n =
        static_cast<NodeIndex>(chance.between(0, static_cast<int64_t>(settings.nodes) - 1));
    if (chance.between(0, 3) == 0)
      world.keep_busy(n, 4 * kSecond);
    else
      world.pause(n, chance.between(500, 3500));
    world.run(6 * kSecond);
  }
  std::string failure;
  if (world.until(60 * kSecond, [&] { return world.difference().empty(); }) < 0)
    failure = world.difference();
  if (world.counts().false_deaths > 0) failure = "somebody who lives was taken for dead";
  return ended(world, failure,
               text("%zu nodes, 30 pauses of up to 3.5 s: %llu suspicions noted, %llu false deaths",
                    settings.nodes, static_cast<unsigned long long>(world.counts().suspicions),
                    static_cast<unsigned long long>(world.counts().false_deaths)));
}

// Nodes begin again elsewhere, or move while they run.
Outcome addresses(const Settings& settings) {
  GossipWorld world(settings.seed, settings.nodes, {.loss_ppm = 10'000});
  world.run(20 * kSecond);
  const auto restarted = static_cast<NodeIndex>(1 % settings.nodes);
  world.end(restarted);
  world.run(2 * kSecond);
  world.begin(restarted, true);
  const Millis first = world.until(kPeaceWithin, [&] { return world.difference().empty(); });
  const auto moved = static_cast<NodeIndex>(2 % settings.nodes);
  world.move(moved);
  const Millis second = world.until(kPeaceWithin, [&] { return world.difference().empty(); });
  std::string failure;
  if (first < 0 || second < 0) failure = world.difference();
  if (world.counts().false_deaths > 0) failure = "somebody who lives was taken for dead";
  return ended(
      world, failure,
      text("%zu nodes: one that began anew elsewhere is found by all after %.1f s, one that "
           "moved after %.1f s",
           settings.nodes, static_cast<double>(first) / kSecond,
           static_cast<double>(second) / kSecond));
}

// One joins, one leaves, one is forgotten and comes back.
Outcome membership(const Settings& settings) {
  GossipWorld world(settings.seed, settings.nodes, {.loss_ppm = 10'000});
  world.run(20 * kSecond);
  world.join();
  const Millis joined = world.until(kPeaceWithin, [&] { return world.difference().empty(); });
  world.leave(3);
  world.run(3 * kSecond);
  world.end(3);
  const Millis left = world.until(kPeaceWithin, [&] { return world.all_see(3, NodeState::left); });
  const uint64_t deaths = world.counts().false_deaths;
  world.forget(2);
  const Millis forgotten = world.until(
      kPeaceWithin, [&] { return world.difference().empty() && world.was_told_forgotten(2); });
  std::string failure;
  if (joined < 0 || left < 0 || forgotten < 0) failure = world.difference() + " (or not told)";
  world.end(2);
  world.begin(2, true);
  world.run(30 * kSecond);
  if (failure.empty()) failure = world.difference();
  if (!world.was_told_forgotten(2)) failure = "a forgotten node that came back was not told";
  if (deaths > 0) failure = "somebody who lives or left was taken for dead";
  return ended(
      world, failure,
      text("%zu nodes: a newcomer is known to all after %.1f s, a farewell after %.1f s; one "
           "forgotten is out after %.1f s and stays so",
           settings.nodes, static_cast<double>(joined) / kSecond,
           static_cast<double>(left + 3 * kSecond) / kSecond,
           static_cast<double>(forgotten) / kSecond));
}

// Another cluster gets the addresses of this one: everything each says arrives at the other.
Outcome strangers(const Settings& settings) {
  const GossipNetwork network{.loss_ppm = 10'000};
  GossipWorld ours(settings.seed, 5, network, 7);
  GossipWorld others(settings.seed + 1, 7, network, 8);
  std::vector<std::string> said;
  others.overhear(&said);
  uint64_t delivered = 0;
  SimChance chance(settings.seed);
  for (int i = 0; i < 600; ++i) {
    others.run(100);
    ours.run(100);
    for (std::string& bytes : said) {
      const auto n = static_cast<NodeIndex>(chance.between(0, 4));
      // As it is; and with the number of our cluster, as somebody would who wants to be heard.
      if (chance.between(0, 1) == 0) bytes.replace(4, 4, std::string("\7\0\0\0", 4));
      ours.deliver(ours.address(n), others.address(0), bytes);
      ++delivered;
    }
    said.clear();
  }
  uint64_t foreign = 0, unauthentic = 0;
  for (NodeIndex n = 0; n < 5; ++n) {
    foreign += ours.core(n).counts().foreign;
    unauthentic += ours.core(n).counts().unauthentic;
  }
  std::string failure = ours.difference();
  if (foreign + unauthentic != delivered || foreign == 0 || unauthentic == 0)
    failure = "something of the other cluster was heard";
  if (ours.counts().pulls > 0) failure = "a topology of the other cluster was asked for";
  return ended(
      ours, failure,
      text("%llu datagrams of another cluster: %llu are foreign, %llu have no seal of ours",
           static_cast<unsigned long long>(delivered), static_cast<unsigned long long>(foreign),
           static_cast<unsigned long long>(unauthentic)));
}

// A small cluster and everything at once; then peace, in which everybody must come to see
// everything as it is.
std::string live(uint64_t seed) {
  SimChance chance(seed);
  GossipNetwork network{.loss_ppm = chance.between(0, 4) == 0 ? chance.between(0, 300'000)
                                                              : chance.between(0, 30'000),
                        .twice_ppm = chance.between(0, 50'000),
                        .delay_min = 1,
                        .delay_max = chance.between(1, 5) == 1 ? 400 : 5,
                        .tcp = chance.between(0, 2) != 0};
  GossipWorld world(seed, static_cast<size_t>(chance.between(2, 12)), network);
  std::set<NodeIndex> forgotten;
  for (int event = 0; event < 25; ++event) {
    world.run(chance.between(0, 1) ? chance.between(0, 2) * kSecond
                                   : chance.between(0, 40 * kSecond));
    const auto living = world.all_living();
    if (living.empty()) break;
    const NodeIndex any =
        living[static_cast<size_t>(chance.between(0, static_cast<int64_t>(living.size()) - 1))];
    switch (chance.between(0, 11)) {
      case 0:
      case 1:
        world.end(any);
        world.run(chance.between(0, 30) * kSecond);
        if (chance.between(0, 3)) world.begin(any, chance.between(0, 1) == 1);
        break;
      case 2:
      case 3:
        world.pause(any, chance.between(100, 60'000));
        break;
      case 4:
        world.keep_busy(any, chance.between(1, 60) * kSecond);
        break;
      case 5: {
        std::set<NodeIndex> part;
        for (NodeIndex n : living)
          if (chance.between(0, 1)) part.insert(n);
        world.split(part);
        break;
      }
      case 6:
        world.heal();
        break;
      case 7:
        world.move(any);
        break;
      case 8:
        world.join();
        break;
      case 9:
        if (living.size() > 3 && forgotten.insert(any).second) world.forget(any);
        break;
      case 10:
        world.deafen(any, true);
        world.run(chance.between(0, 30) * kSecond);
        world.deafen(any, false);
        break;
      case 11:
        world.leave(any);
        if (chance.between(0, 1)) world.end(any);
        break;
    }
    if (!world.failure().empty()) return world.failure();
  }
  world.heal();
  world.network({});
  world.run(60 * kSecond);  // the last pause is over
  world.inform();
  if (world.until(kPeaceWithin, [&] { return world.difference().empty(); }) < 0)
    return "in peace: " + world.difference();
  return world.failure();
}

Outcome lives(const Settings& settings) {
  for (uint64_t seed = settings.seed; seed < settings.seed + settings.seeds; ++seed)
    if (const std::string broken = live(seed); !broken.empty())
      return {broken + "\nscripts/run-sim --gossip --scenario lives --seeds 1 --seed " +
                  std::to_string(seed),
              ""};
  return {"", text("%llu random lives", static_cast<unsigned long long>(settings.seeds))};
}

struct Scenario {
  const char* name;
  Outcome (*run)(const Settings&);
  Settings usual;  // in `make test`
  Settings full;
};
constexpr Scenario kScenarios[] = {
    {"death", death, {.nodes = 1000}, {.nodes = 1000}},
    {"death_among_few", death, {.nodes = 5}, {.nodes = 5}},
    {"loss", loss_with_tcp, {.nodes = 1000, .minutes = 2}, {.nodes = 1000, .minutes = 60}},
    {"loss_without_tcp",
     loss_without_tcp,
     {.nodes = 200, .minutes = 10},
     {.nodes = 1000, .minutes = 60}},
    {"partition", partition, {.nodes = 100}, {.nodes = 1000}},
    {"pauses", pauses, {.nodes = 50}, {.nodes = 1000}},
    {"addresses", addresses, {.nodes = 100}, {.nodes = 1000}},
    {"membership", membership, {.nodes = 100}, {.nodes = 1000}},
    {"strangers", strangers, {}, {}},
    {"lives", lives, {.seeds = 200}, {.seeds = 2000}},
};

}  // namespace

int main(int argc, char** argv) {
  const char* only = nullptr;
  bool full = false, until_failure = false;
  Settings given{.seeds = 0, .nodes = 0};
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--full") {
      full = true;
    } else if (name == "--until-failure") {
      until_failure = true;
    } else if (i + 1 < argc && name == "--scenario") {
      only = argv[++i];
    } else if (i + 1 < argc && (name == "--seed" || name == "--seeds" || name == "--nodes" ||
                                name == "--minutes")) {
      const auto value = std::strtoull(argv[++i], nullptr, 10);
      if (name == "--seed") given.seed = value;
      if (name == "--seeds") given.seeds = value;
      if (name == "--nodes") given.nodes = value;
      if (name == "--minutes") given.minutes = static_cast<Millis>(value);
    } else {
      std::fprintf(stderr,
                   "usage: gossip-sim [--full] [--scenario S] [--nodes N] [--seed S] [--seeds N] "
                   "[--minutes T] [--until-failure]\n");
      return 2;
    }
  }
  int passed = 0, failed = 0;
  for (const Scenario& scenario : kScenarios) {
    if (only && std::strcmp(only, scenario.name) != 0) continue;
    Settings settings = full ? scenario.full : scenario.usual;
    settings.seed = given.seed;
    if (given.seeds) settings.seeds = given.seeds;
    if (given.nodes) settings.nodes = given.nodes;
    if (given.minutes) settings.minutes = given.minutes;
    const Outcome outcome = scenario.run(settings);
    std::printf("%s%s: %s\n", outcome.failure.empty() ? "" : "FAILED ", scenario.name,
                outcome.figures.c_str());
    if (!outcome.failure.empty()) std::printf("  %s\n", outcome.failure.c_str());
    std::fflush(stdout);
    outcome.failure.empty() ? ++passed : ++failed;
    if (failed && until_failure) break;
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed || !passed ? 1 : 0;
}
