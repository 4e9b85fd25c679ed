#include "cluster/gossip_runner.h"

#include <algorithm>

#include "base/check.h"
#include "cluster/node_endpoint.h"

namespace quoll::cluster {

using base::Millis;
using base::Nanos;

GossipRunner::GossipRunner(GossipSetup setup, GossipDesk& desk, host::SideLoop& side)
    : setup_(std::move(setup)),
      desk_(desk),
      side_(side),
      cipher_(setup_.secrets, setup_.cluster_id) {
  QUOLL_CHECK(!setup_.binds.empty());
}

GossipRunner::~GossipRunner() = default;

base::Result<> GossipRunner::begin(host::SideHost& host) {
  host_ = &host;
  core_ = std::make_unique<GossipCore>(setup_.core, cipher_, setup_.seed, now());
  for (const host::Endpoint& at : setup_.binds) {
    auto bound = host.datagrams.bind(
        at, [this](const host::Endpoint& from, base::Bytes bytes) { heard(from, bytes); });
    if (!bound) return bound;
  }
  turn();
  return {};
}

void GossipRunner::end() {
  if (timer_) host_->loop.cancel(timer_);
  timer_ = 0;
}

void GossipRunner::turn() {
  look_at_main_loop(now());
  if (auto orders = desk_.orders.take()) obey(std::move(*orders));
  core_->tick(now());
  settle();
}

void GossipRunner::obey(GossipOrders orders) {
  if (orders.secrets) cipher_.set_secrets(*orders.secrets);
  if (orders.members) core_->set_members(orders.members->members, orders.members->version, now());
  if (orders.address) core_->move(*orders.address, now());
  for (NodeIndex node : orders.tcp_answered) core_->tcp_answered(node, now());
  if (orders.leave) core_->leave(now());
}

void GossipRunner::heard(const host::Endpoint& from, base::Bytes bytes) {
  const auto address = node_address(from);
  if (!address) return;
  look_at_main_loop(now());
  core_->receive(*address, bytes, now());
  settle();
}

// The main loop's clock may be read a little later than ours.
void GossipRunner::look_at_main_loop(Millis now) {
  core_->set_wall(host_->clock.wall() - now);
  const Nanos age = host_->clock.steady() - desk_.turned.load(std::memory_order_relaxed);
  core_->set_loop_age(std::max<Nanos>(age, 0) / base::kNanosPerMilli, now);
}

void GossipRunner::settle() {
  const GossipActions actions = core_->take();
  for (const GossipActions::Send& send : actions.sends)
    host_->datagrams.send(endpoint_of(send.to), send.bytes);
  report(actions);
  wait();
}

void GossipRunner::report(const GossipActions& actions) {
  if (now() >= clock_looked_at_ + kClockLookMs) {
    clock_looked_at_ = now();
    clock_ahead_ = core_->clock_ahead();
  }
  const bool urgent = !actions.changes.empty() || !actions.moves.empty() || !actions.tcp.empty() ||
                      !actions.udp_blocked.empty() || actions.pull || actions.compare ||
                      actions.forgotten;
  if (desk_.reports.write(urgent, [&](GossipReport& report) { note(actions, report); }))
    side_.ring_main();
}

void GossipRunner::note(const GossipActions& actions, GossipReport& report) const {
  for (NodeIndex node : actions.touched)
    if (core_->is_member(node)) report.nodes[node].view = core_->view(node);
  for (const GossipActions::Change& change : actions.changes)
    report.nodes[change.node].from = change.from;
  for (const GossipActions::TryTcp& probe : actions.tcp) report.try_tcp[probe.node] = probe.address;
  report.udp_blocked.insert(actions.udp_blocked.begin(), actions.udp_blocked.end());
  if (actions.pull) report.pull = actions.pull;
  if (actions.compare) report.compare = actions.compare;
  if (actions.forgotten) report.forgotten = actions.forgotten;
  report.incarnation = core_->incarnation();
  report.health = core_->health();
  report.clock_ahead = clock_ahead_;
  report.counts = core_->counts();
}

void GossipRunner::wait() {
  const Millis wake = core_->next_wake();
  if (timer_ && timer_at_ == wake) return;
  if (timer_) host_->loop.cancel(timer_);
  timer_at_ = wake;
  const Millis delay = std::max(wake - now(), kWaitMinMs);
  timer_ = host_->loop.after(delay * base::kNanosPerMilli, [this] {
    timer_ = 0;
    turn();
  });
}

}  // namespace quoll::cluster
