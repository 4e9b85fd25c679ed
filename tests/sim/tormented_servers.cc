#include "tests/sim/tormented_servers.h"

#include <cstdio>

#include "server/log.h"

namespace quoll::sim {
namespace {

constexpr size_t kLinesKept = 160;

}  // namespace

std::string number(uint64_t value) { return std::to_string(value); }
std::string member_text(size_t member) { return "member " + number(member); }

TormentedServers::TormentedServers(Run& run, SimWorld& world) : run_(run), world_(world) {
  run.follow([this] { return timeline(); });
  server::log::listen([this](const std::string& text) {
    const NodeId who = world_.acting();
    if (who >= 0 && static_cast<size_t>(who) < nodes_.size())
      note(member_text(static_cast<size_t>(who)) + ": " + text);
  });
}

TormentedServers::~TormentedServers() {
  server::log::listen({});
  run_.unfollow();
}

void TormentedServers::add(const std::vector<std::string>& arguments) {
  const size_t m = nodes_.size();
  clocks_.push_back(0);
  nodes_.push_back(std::make_unique<ServerNode>(world_, arguments));
  QUOLL_CHECK(nodes_[m]->id() == static_cast<NodeId>(m));
  nodes_[m]->after_turn_end = [this, m] { watch(m); };
  nodes_[m]->start_failed = [this, m](const std::string& error) {
    note(member_text(m) + " cannot start: " + error);
    world_.after(1, [this, m] {
      if (world_.running(nodes_[m]->id())) return;
      failed_to_start(m);
      world_.after(up_to(2000), [this, m] { begin(m); });
    });
  };
}

std::vector<NodeId> TormentedServers::ids() const {
  std::vector<NodeId> ids;
  for (const auto& node : nodes_) ids.push_back(node->id());
  return ids;
}

void TormentedServers::begin(size_t m) {
  if (world_.running(nodes_[m]->id())) return;
  note(member_text(m) + " begins");
  world_.restart(nodes_[m]->id());
}

// ---- faults

Nanos TormentedServers::up_to(int64_t ms) { return chance().between(1, ms) * base::kNanosPerMilli; }

size_t TormentedServers::any_of_all() {
  return static_cast<size_t>(chance().between(0, static_cast<int64_t>(nodes_.size()) - 1));
}

size_t TormentedServers::any() {
  const size_t important = most_important();
  if (important < nodes_.size() && chance().ppm(500'000)) return important;
  return any_of_all();
}

void TormentedServers::plan(const Fault& fault) {
  world_.after(up_to(2 * fault.every_ms), [this, fault, number = torment_] {
    if (torment_ != number || run_.failed()) return;
    fault.act();
    plan(fault);
  });
}

std::vector<TormentedServers::Fault> TormentedServers::common_faults() {
  return {{2'000, [this] { a_link_is_cut(); }},        {3'500, [this] { someone_is_cut_off(); }},
          {2'000, [this] { a_link_clogs(); }},         {2'500, [this] { connections_break(); }},
          {4'000, [this] { someone_stands_still(); }}, {4'000, [this] { a_disk_is_ill(); }},
          {5'000, [this] { a_clock_jumps(); }}};
}

void TormentedServers::torment(Nanos time) {
  torment_ = ++torments_;
  for (const Fault& fault : faults())
    if (chance().ppm(fault.chosen_ppm)) plan(fault);
  const Nanos until = world_.now() + time;
  world_.run_until([&] { return world_.now() >= until || run_.failed(); }, time);
  torment_ = 0;
}

void TormentedServers::heal() {
  torment_ = 0;
  note("peace");
  world_.calm_down();
}

void TormentedServers::a_link_is_cut() {
  const size_t from = any(), to = any();
  if (from == to) return;
  const NodeId a = nodes_[from]->id(), b = nodes_[to]->id();
  const bool both = chance().ppm(500'000);
  const Nanos time = up_to(4'000);
  note("link " + number(from) + (both ? " <-> " : " -> ") + number(to) + " is cut for " +
       std::to_string(time / kMilli) + " ms");
  for (auto [one, other] : {std::pair(a, b), std::pair(b, a)}) {
    if (one == b && !both) continue;
    world_.network().block(one, other);
    world_.after(time, [this, one = one, other = other] { world_.network().heal(one, other); });
  }
}

void TormentedServers::someone_is_cut_off() {
  const size_t m = any();
  const NodeId self = nodes_[m]->id();
  const int64_t how = chance().between(0, 2);
  const Nanos time = up_to(5'000);
  note(member_text(m) +
       (how == 0   ? " hears nobody for "
        : how == 1 ? " is not heard for "
                   : " is cut off for ") +
       std::to_string(time / kMilli) + " ms");
  for (const auto& node : nodes_) {
    const NodeId other = node->id();
    if (other == self) continue;
    for (auto [from, to] : {std::pair(other, self), std::pair(self, other)}) {
      if (how == (from == self ? 0 : 1)) continue;
      world_.network().block(from, to);
      world_.after(time, [this, from = from, to = to] { world_.network().heal(from, to); });
    }
  }
}

void TormentedServers::a_link_clogs() {
  const size_t from = any(), to = any();
  if (from == to) return;
  world_.network().clog(nodes_[from]->id(), nodes_[to]->id(), world_.now() + up_to(3'000));
  note("link " + number(from) + " -> " + number(to) + " clogs");
}

void TormentedServers::connections_break() {
  const size_t from = any(), to = any();
  if (from == to) return;
  world_.network().reset_streams(nodes_[from]->id(), nodes_[to]->id());
  note("the connection of " + number(from) + " and " + number(to) + " breaks");
}

void TormentedServers::all_end(bool synced) {
  const bool machines = synced && chance().ppm(500'000);
  const int64_t longest = chance().ppm(500'000) ? 250 : 4'000;
  for (size_t m = 0; m < nodes_.size(); ++m) {
    if (chance().ppm(250'000)) continue;
    end(m, machines ? CrashKind::power : CrashKind::killed);
    world_.after(up_to(longest), [this, m] { begin(m); });
  }
}

void TormentedServers::someone_stands_still() {
  const size_t m = any();
  if (!world_.running(nodes_[m]->id())) return;
  const Nanos time = up_to(chance().ppm(500'000) ? 6'000 : 600);
  note(member_text(m) + " stands still for " + std::to_string(time / kMilli) + " ms");
  world_.pause(nodes_[m]->id(), time);
}

void TormentedServers::a_disk_is_ill() {
  const size_t m = any();
  SimDrive& drive = world_.drive(nodes_[m]->id());
  const int64_t how = chance().between(0, 2);
  drive.trouble = {how == 0, how == 1, how == 2 ? up_to(300) : 0};
  note(member_text(m) + "'s disk " + (how == 0 ? "is full" : how == 1 ? "fails" : "is slow"));
  world_.after(up_to(3'000), [this, m, &drive] {
    drive.trouble = {};
    note(member_text(m) + "'s disk is well again");
  });
}

void TormentedServers::a_clock_jumps() {
  const size_t m = any();
  const base::Millis to = chance().between(-kClockMaxMs, kClockMaxMs);
  world_.jump_clock(nodes_[m]->id(), to - std::exchange(clocks_[m], to));
  note(member_text(m) + "'s clock jumps to " + std::to_string(to) + " ms off");
}

// ---- the timeline

void TormentedServers::note(const std::string& line) {
  char stamp[32];
  std::snprintf(stamp, sizeof stamp, "%12.3f ms  ", static_cast<double>(world_.now()) / 1e6);
  if (run_.trace) std::fprintf(stderr, "%s%s\n", stamp, line.c_str());
  lines_.push_back(stamp + line);
  if (lines_.size() > kLinesKept) lines_.pop_front();
}

std::string TormentedServers::timeline() const {
  std::string text;
  for (const std::string& line : lines_) text += line + "\n";
  for (size_t m = 0; m < nodes_.size(); ++m) text += member_text(m) + described(m) + "\n";
  return text;
}

}  // namespace quoll::sim
