#include "server/tracking_table.h"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <set>
#include <string>

namespace quoll::server {
namespace {

using Clients = std::vector<TrackingTable::ClientId>;

Clients taken(TrackingTable& table, Bytes key) {
  Clients clients{77};  // is replaced
  return table.take(key, clients) ? clients : Clients{};
}

}  // namespace

TEST_CASE("a tracked key is known once and taken once") {
  TrackingTable table;
  CHECK(taken(table, "k").empty());
  table.remember("k", 5);
  table.remember("k", 5);
  table.remember("k", 3);
  table.remember("", 9);
  CHECK(table.keys() == 2);
  CHECK(table.items() == 3);
  CHECK(taken(table, "k") == Clients{3, 5});
  CHECK(taken(table, "k").empty());
  CHECK(taken(table, "") == Clients{9});
  CHECK(table.keys() == 0);
  CHECK(table.items() == 0);
}

TEST_CASE("a key keeps any number of clients in order, each once") {
  TrackingTable table;
  std::set<TrackingTable::ClientId> model;
  std::mt19937_64 random(7);
  for (int i = 0; i < 5000; ++i) {
    TrackingTable::ClientId client = random() % 3000;
    table.remember("hot", client);
    model.insert(client);
    REQUIRE(table.items() == model.size());
  }
  CHECK(taken(table, "hot") == Clients(model.begin(), model.end()));
}

TEST_CASE("the tracking table agrees with a plain model") {
  TrackingTable table;
  std::map<std::string, std::set<TrackingTable::ClientId>> model;
  std::mt19937_64 random(11);
  for (int i = 0; i < 200000; ++i) {
    std::string key(random() % 40, 'x');
    key += std::to_string(random() % 3000);
    if (random() % 4 != 0) {
      TrackingTable::ClientId client = random() % 20;
      table.remember(key, client);
      model[key].insert(client);
    } else {
      const auto& wanted = model[key];
      REQUIRE(taken(table, key) == Clients(wanted.begin(), wanted.end()));
      model.erase(key);
    }
    if (i % 50000 == 49999) {
      table.clear();
      model.clear();
      REQUIRE(table.keys() == 0);
      REQUIRE(table.items() == 0);
    }
    if (i % 3 == 0) table.reclaim();
  }
  size_t items = 0;
  for (const auto& [key, clients] : model) items += clients.size();
  CHECK(table.items() == items);
}

TEST_CASE("what was cleared is given back in steps and all of it") {
  const size_t before = base::memory_used();
  {
    TrackingTable table;
    for (int i = 0; i < 20000; ++i) table.remember("key:" + std::to_string(i), 1);
    const size_t full = base::memory_used();
    table.clear();
    REQUIRE(table.reclaiming());
    int steps = 0;
    size_t largest = 0;
    for (size_t held = base::memory_used(); table.reclaiming(); held = base::memory_used()) {
      table.reclaim();
      largest = std::max(largest, held - base::memory_used());
      ++steps;
    }
    CHECK(steps > 20);
    CHECK(largest < (full - before) / 10);
    CHECK(base::memory_used() < before + 4096);
    table.remember("again", 1);
    CHECK(table.keys() == 1);
  }
  CHECK(base::memory_used() == before);
}

TEST_CASE("the documented bytes per tracked key") {
  const size_t before = base::memory_used();
  TrackingTable table;
  constexpr int kKeys = 100000;
  char key[17];
  for (int i = 0; i < kKeys; ++i) {
    std::snprintf(key, sizeof key, "key:%012d", i);
    table.remember(key, 1);
  }
  const double each = static_cast<double>(base::memory_used() - before) / kKeys;
  CHECK(each > 40);
  CHECK(each < 52);  // 44.5 on average over a doubling of the hash table
}

TEST_CASE("any key is drawn from those present") {
  TrackingTable table;
  std::mt19937_64 random(3);
  auto draw = [&] { return random(); };
  Bytes key;
  CHECK_FALSE(table.any_key(draw, key));
  std::set<std::string> seen;
  for (int i = 0; i < 200; ++i) table.remember(std::to_string(i), 1);
  for (int i = 0; i < 20000; ++i) {
    REQUIRE(table.any_key(draw, key));
    seen.insert(std::string(key));
  }
  CHECK(seen.size() == 200);
}

}  // namespace quoll::server
