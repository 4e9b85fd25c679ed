#include "server/output_gate.h"

#include <doctest/doctest.h>

namespace quoll::server {
namespace {

// The gate knows sessions by their place only.
struct Sessions {
  char places[3];
  Session& at(size_t i) { return reinterpret_cast<Session&>(places[i]); }
  size_t number(const Session& session) {
    return static_cast<size_t>(reinterpret_cast<const char*>(&session) - places);
  }
};

}  // namespace

TEST_CASE("output gate: who waits is told once, when its ticket opens, and nobody else is") {
  Sessions sessions;
  OutputGate gate;
  std::vector<size_t> told;
  gate.on_open([&](Session& session) { told.push_back(sessions.number(session)); });
  gate.wait(sessions.at(2), {30, Need::members});
  gate.wait(sessions.at(0), {10, Need::members});
  gate.wait(sessions.at(1), {20, Need::members});
  gate.advance(Need::members, 9);
  CHECK(told == std::vector<size_t>{});
  gate.advance(Need::members, 20);
  CHECK(told == std::vector<size_t>{0, 1});
  gate.advance(Need::members, 29);
  CHECK(told.size() == 2);
  CHECK(!gate.open({30, Need::members}));
  gate.advance(Need::members, 30);
  CHECK(told == std::vector<size_t>{0, 1, 2});
  gate.advance(Need::members, 100);
  CHECK(told.size() == 3);
}

TEST_CASE("output gate: one need opens no ticket of another") {
  Sessions sessions;
  OutputGate gate;
  std::vector<size_t> told;
  gate.on_open([&](Session& session) { told.push_back(sessions.number(session)); });
  gate.wait(sessions.at(0), {5, Need::members});
  gate.wait(sessions.at(1), {5, Need::leadership});
  gate.advance(Need::leadership, 7);
  CHECK(told == std::vector<size_t>{1});
  CHECK(gate.open({7, Need::leadership}));
  CHECK(!gate.open({5, Need::members}));
  CHECK(gate.open({0, Need::nothing}));
}

TEST_CASE("output gate: positions never go back, and who ended is not told") {
  Sessions sessions;
  OutputGate gate;
  std::vector<size_t> told;
  gate.on_open([&](Session& session) { told.push_back(sessions.number(session)); });
  gate.advance(Need::fsynced, 50);
  gate.advance(Need::fsynced, 40);
  CHECK(gate.open({50, Need::fsynced}));
  gate.wait(sessions.at(0), {60, Need::fsynced});
  gate.wait(sessions.at(1), {60, Need::fsynced});
  gate.wait(sessions.at(0), {70, Need::fsynced});
  gate.forget(sessions.at(0));
  gate.advance(Need::fsynced, 80);
  CHECK(told == std::vector<size_t>{1});
}

}  // namespace quoll::server
