#include "tests/sim/sim_world.h"

#include <xxhash.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/check.h"
#include "tests/sim/sim_process.h"
#include "tests/sim/sim_side_loop.h"

namespace quoll::sim {

struct SimWorld::Seats {
  Seats(SimWorld& world, NodeId id, Node& node, uint64_t seed)
      : random(seed),
        loop(world, id),
        clock(loop, node.oscillator),
        disk(world, id, loop, node.drive),
        transport(world.network_, id),
        datagrams(world.network_, id),
        process(loop, random, node.drive, id),
        side_loop(world, id, Seat::side),
        side_clock(side_loop, node.oscillator),
        side_datagrams(world.network_, id, Seat::side),
        side(world, id, side_loop, side_clock, side_datagrams) {
    loop.set_look_cost(node.look_cost);
  }

  host::Xoshiro random;
  SimLoop loop;
  SimClock clock;
  SimDisk disk;
  SimTransport transport;
  SimDatagrams datagrams;
  SimProcess process;
  SimLoop side_loop;
  SimClock side_clock;
  SimDatagrams side_datagrams;
  SimSideLoop side;
  host::Host host{clock, random, loop, disk, transport, datagrams, process, side};
};

SimWorld::SimWorld(uint64_t seed, const FaultPlan& plan)
    : seed_(seed), plan_(plan), chance_(seed), network_(*this) {
  nodes_.emplace(kClients, std::make_unique<Node>());
  start(kClients);
  plan_partition();
  plan_clock_jump();
  plan_crash();
}

SimWorld::~SimWorld() {
  calmed_ = true;
  for (auto& [id, node] : nodes_) {
    if (node->running) crash(id, CrashKind::killed);
  }
  queue_.clear();  // while the network its tasks point to still stands
}

std::string SimWorld::address_of(NodeId node) {
  return "127.0.0." + std::to_string(node == kClients ? 1 : node + 1);
}

NodeId SimWorld::add_node(Boot boot) {
  NodeId id = node_count();
  QUOLL_CHECK(id < kNodesMax);
  auto node = std::make_unique<Node>();
  node->boot = std::move(boot);
  node->oscillator.drift_ppm = chance_.between(-plan_.drift_ppm, plan_.drift_ppm);
  nodes_.emplace(id, std::move(node));
  start(id);
  return id;
}

void SimWorld::start(NodeId id) {
  Node& node = *nodes_.at(id);
  ++node.life;
  node.running = true;
  node.free_at.fill(now_);
  node.seats = std::make_unique<Seats>(*this, id, node, chance_.draw());
  if (!node.boot) return;
  take_turn(id, Seat::main, [&node] { node.occupant = node.boot(node.seats->host); });
}

void SimWorld::crash(NodeId id, CrashKind kind) {
  Node& node = *nodes_.at(id);
  QUOLL_CHECK(node.running);
  note("crash", std::to_string(id));
  node.running = false;
  // First cut the node off, then destroy what lived on it: destructors reach nobody any more.
  network_.drop_node(id);
  node.seats->disk.freeze();
  ++node.life;
  node.occupant.reset();
  std::erase_if(queue_, [id](const auto& event) { return event.second.node == id; });
  node.seats.reset();
  if (kind == CrashKind::power) node.drive.lose_power(chance_, plan_.torn_writes != 0);
}

void SimWorld::stop_soon(NodeId id) {
  after(0, [this, id] {
    if (running(id)) crash(id, CrashKind::killed);
  });
}

void SimWorld::restart(NodeId id) {
  QUOLL_CHECK(!nodes_.at(id)->running);
  note("restart", std::to_string(id));
  start(id);
}

host::Host& SimWorld::host(NodeId node) {
  QUOLL_CHECK(nodes_.at(node)->running);
  return nodes_.at(node)->seats->host;
}

void SimWorld::jump_clock(NodeId node, base::Millis by) {
  nodes_.at(node)->oscillator.offset_us += by * 1000;
}

void SimWorld::pause(NodeId id, Nanos time) {
  Node& node = *nodes_.at(id);
  note("pause", std::to_string(id));
  for (Nanos& free_at : node.free_at) free_at = std::max(free_at, now_ + time);
}

void SimWorld::keep_busy(NodeId id, Nanos time) {
  note("busy", std::to_string(id));
  Nanos& free_at = nodes_.at(id)->free(Seat::main);
  free_at = std::max(free_at, now_ + time);
}

void SimWorld::set_look_cost(NodeId id, Nanos cost) {
  Node& node = *nodes_.at(id);
  node.look_cost = cost;
  if (node.running) node.seats->loop.set_look_cost(cost);
}

void SimWorld::received(NodeId node, const std::string& remote) {
  const OnReceived& told = nodes_.at(node)->on_received;
  if (told) told(remote);
}

void SimWorld::schedule(NodeId node, Nanos at, const char* kind, host::Task task, Seat seat) {
  uint64_t life = node == kNobody ? 0 : nodes_.at(node)->life;
  queue_.emplace(Position{at < now_ ? now_ : at, ++sequence_},
                 Event{node, seat, life, kind, std::move(task)});
}

void SimWorld::after(Nanos delay, host::Task task) {
  schedule(kNobody, now_ + delay, "driver", std::move(task));
}

void SimWorld::take_turn(NodeId id, Seat seat, const host::Task& task) {
  Node& node = *nodes_.at(id);
  const NodeId before = std::exchange(acting_, id);
  SimLoop& loop = seat == Seat::main ? node.seats->loop : node.seats->side_loop;
  loop.begin_turn();
  task();
  if (node.running) node.free(seat) = loop.end_turn();
  acting_ = before;
}

bool SimWorld::step() {
  if (queue_.empty()) return false;
  auto first = queue_.extract(queue_.begin());
  deliver(first.key(), std::move(first.mapped()));
  return true;
}

void SimWorld::deliver(Position position, Event event) {
  now_ = std::max(now_, position.first);  // what waited for a nested hearing is late
  if (event.node == kNobody) {
    note(event.kind, {});
    event.task();
    return;
  }
  Node& node = *nodes_.at(event.node);
  if (!node.running || node.life != event.life) return;
  const Nanos free_at = node.free(event.seat);
  if (free_at > now_) {  // still busy: the event keeps its place in the order
    queue_.emplace(Position{free_at, position.second}, std::move(event));
    return;
  }
  ++delivered_;
  note(event.kind, std::to_string(event.node) + " " + std::to_string(now_));
  take_turn(event.node, event.seat, event.task);
}

void SimWorld::hear_nested(NodeId id, Nanos until) {
  QUOLL_CHECK(hearing_ == kNobody);
  hearing_ = id;
  uint64_t life = nodes_.at(id)->life;
  auto heard = [&](const Event& event) {
    if (event.node != id || event.seat == Seat::side) return event.node != kNobody;
    for (std::string_view kind : {"accept", "piece", "readable", "writable"})
      if (event.kind == kind) return event.life == life;
    return false;
  };
  for (auto at = queue_.begin(); at != queue_.end() && at->first.first <= until;) {
    if (!heard(at->second)) {
      ++at;
      continue;
    }
    auto next = queue_.extract(at);
    if (next.mapped().node != id || next.mapped().seat == Seat::side) {
      deliver(next.key(), std::move(next.mapped()));
    } else {
      now_ = std::max(now_, next.key().first);
      ++delivered_;
      note(next.mapped().kind, std::to_string(id) + " nested " + std::to_string(now_));
      next.mapped().task();
    }
    at = queue_.begin();  // it may have planned earlier ones
  }
  now_ = std::max(now_, until);
  hearing_ = kNobody;
}

void SimWorld::run_for(Nanos time) {
  Nanos end = now_ + time;
  while (!queue_.empty() && queue_.begin()->first.first <= end) step();
  now_ = end;
}

bool SimWorld::run_until(const std::function<bool()>& done, Nanos limit) {
  Nanos end = now_ + limit;
  while (!done()) {
    if (queue_.empty() || queue_.begin()->first.first > end) return false;
    step();
  }
  return true;
}

void SimWorld::note(const char* what, base::Bytes bytes) {
  hash_ = XXH3_64bits_withSeed(what, std::strlen(what), hash_);
  hash_ = XXH3_64bits_withSeed(bytes.data(), bytes.size(), hash_);
  Line& line = tail_[notes_++ % kTailLines];
  line.at = now_;
  line.what = what;
  line.size = static_cast<uint8_t>(std::min(bytes.size(), kTraceBytesMax));
  std::copy_n(bytes.data(), line.size, line.text);
  if (tracing_) std::fputs(text_of(line).c_str(), stderr);
}

std::string SimWorld::text_of(const Line& line) {
  char head[64];
  int length = std::snprintf(head, sizeof(head), "%14.6f ms  %-10s",
                             static_cast<double>(line.at) / 1e6, line.what);
  std::string text(head, static_cast<size_t>(length));
  for (size_t i = 0; i < line.size; ++i) {
    char c = line.text[i];
    if (c == '\r') continue;
    text += c == '\n' ? ' ' : c >= 32 && c < 127 ? c : '.';
  }
  return text + '\n';
}

std::string SimWorld::tail() const {
  std::string text;
  for (uint64_t i = notes_ > kTailLines ? notes_ - kTailLines : 0; i < notes_; ++i)
    text += text_of(tail_[i % kTailLines]);
  return text;
}

// ---- faults by plan

void SimWorld::calm_down() {
  calmed_ = true;
  FaultPlan calm;
  calm.window_bytes = plan_.window_bytes;
  plan_ = calm;
  network_.heal_all();
  for (auto& [id, node] : nodes_) {
    node->drive.trouble = {};
    for (Nanos& free_at : node->free_at)
      if (node->running) free_at = std::min(free_at, now_);
    if (!node->running) restart(id);
  }
}

void SimWorld::plan_partition() {
  if (plan_.partition_every_ms == 0) return;
  after(within(plan_.partition_every_ms), [this] {
    if (calmed_) return;
    if (node_count() > 1) {
      NodeId from = any_node();
      NodeId to = any_node();
      if (from != to && !network_.blocked(from, to)) {
        network_.block(from, to);
        after(chance_.between(1, plan_.partition_max_ms) * base::kNanosPerMilli,
              [this, from, to] { network_.heal(from, to); });
      }
    }
    plan_partition();
  });
}

void SimWorld::plan_clock_jump() {
  if (plan_.clock_jump_every_ms == 0) return;
  after(within(plan_.clock_jump_every_ms), [this] {
    if (calmed_) return;
    if (node_count() > 0) {
      jump_clock(any_node(), chance_.between(-plan_.clock_jump_max_ms, plan_.clock_jump_max_ms));
    }
    plan_clock_jump();
  });
}

void SimWorld::plan_crash() {
  if (plan_.crash_every_ms == 0) return;
  after(within(plan_.crash_every_ms), [this] {
    if (calmed_) return;
    NodeId victim = node_count() > 0 ? any_node() : kNobody;
    if (victim != kNobody && running(victim)) {
      crash(victim);
      after(chance_.between(1, plan_.down_max_ms) * base::kNanosPerMilli, [this, victim] {
        if (!running(victim)) restart(victim);
      });
    }
    plan_crash();
  });
}

}  // namespace quoll::sim
