// GroupWorld: checkpoints, and all data from a leader; on disk in the order that drivers keep.
#include "tests/sim/group/group_world.h"

namespace quoll::sim {

// --- a member's own checkpoint -----------------------------------------------------------------

// Of committed data.
void GroupWorld::take_checkpoint(Member m) {
  Node& node = nodes_[m];
  GroupCore& core = *node.core;
  if (!core.data_stands() || node.disk_fails) return;
  const Index upto = std::min(core.commit(), core.applied());
  const auto epoch = core.log().epoch_at(upto);
  if (!epoch || upto <= node.machine.checkpoint.index) return;
  const Position at{*epoch, upto};
  const auto end = node.data.begin() + static_cast<std::ptrdiff_t>(upto);
  auto publish = [this, m, at, data = std::vector<uint64_t>(node.data.begin(), end),
                  dropped = node.checkpoints_dropped] {
    if (nodes_[m].checkpoints_dropped == dropped) publish_checkpoint(m, at, data);
  };
  // A restart may begin its log anew behind it: what is remembered of the log is on disk before.
  core.keep_state();
  save_then(m, publish);
}

// Between data that are in place and a log that follows; above all where the disk knows less of the
// group than we do.
bool GroupWorld::ends_here(Member m) {
  const Node& node = nodes_[m];
  const bool behind = node.machine.state.shape != node.core->state().shape;
  return !peace_ && chance_.between(1, 100) <= (behind ? 50 : faults_.sync_alone / 4);
}

void GroupWorld::publish_checkpoint(Member m, Position at, const std::vector<uint64_t>& data) {
  Node& node = nodes_[m];
  if (node.disk_fails || at.index <= node.machine.checkpoint.index) return;
  node.machine.checkpoint = at;
  node.machine.checkpoint_commit = at.index;
  node.machine.checkpoint_data = data;
  if (ends_here(m)) return fall(m, machines_may_end(), chance_.between(10, 3000) * kMilliMicros);
  trim_log(m, at);
}

// What lies before the checkpoint is not kept; the shape as of it is saved before.
void GroupWorld::trim_log(Member m, Position upto) {
  nodes_[m].core->keep_state();
  save_then(m, [this, m, upto] { cut_log(m, upto); });
}

void GroupWorld::cut_log(Member m, Position upto) {
  Node& node = nodes_[m];
  Machine& machine = node.machine;
  const bool current = machine.checkpoint == upto && node.core->holds(upto);
  if (!current || machine.synced != machine.records.size() || !node.queue.empty() || node.writing)
    return;
  std::map<Index, Record> entries;
  for (Record& record : machine.records) {
    entries.erase(record.restart ? entries.begin() : entries.lower_bound(record.at.index),
                  entries.end());
    if (!record.restart) entries.emplace(record.at.index, std::move(record));
  }
  machine.records.assign(1, Record{upto, "", true});
  for (auto& [index, record] : entries)
    if (index > upto.index) machine.records.push_back(std::move(record));
  machine.synced = machine.records.size();
}

// --- all data ----------------------------------------------------------------------------------

// Cut off from all but whom it sends its data to, the leader sends what may never be committed.
void GroupWorld::prepare_sync(Member from, Member to) {
  if (!peace_ && chance_.between(1, 100) <= faults_.sync_alone) {
    const Micros until = now_ + chance_.between(10, 6000) * kMilliMicros;
    for (Member m = 0; m < size_; ++m) {
      if (m == from || m == to) continue;
      for (Member known : {from, to})
        for (auto [a, b] : {std::pair(known, m), std::pair(m, known)}) {
          cut(a, b, true);
          at(until, [this, a = a, b = b] { cut(a, b, false); });
        }
    }
  }
  on_node(from, now_ + chance_.between(0, 100) * kMilliMicros,
          [this, from, to, epoch = nodes_[from].core->epoch()] {
            const GroupCore& core = *nodes_[from].core;
            if (core.leads() && core.epoch() == epoch) begin_sync(from, to);
          });
}

void GroupWorld::begin_sync(Member from, Member to) {
  GroupCore& core = *nodes_[from].core;
  auto all = std::make_shared<AllData>();
  all->from = from;
  all->to = to;
  all->life = link(from, to).life;
  all->epoch = core.epoch();
  all->at = {*core.log().epoch_at(core.applied()), core.applied()};
  all->shape = core.shape_at(all->at.index);
  all->data = nodes_[from].data;
  all->data.resize(all->at.index);
  core.sync_began(to, all->at);
  ++counts_.syncs;
  note("member " + std::to_string(from) + " sends all data as of " + std::to_string(all->at.index) +
       " to " + std::to_string(to));
  on_node(from, now_ + chance_.between(10, 500) * kMilliMicros, [this, all] {
    GroupCore& leader = *nodes_[all->from].core;
    if (!leader.leads() || leader.epoch() != all->epoch) return;  // it has forgotten all about it
    if (link(all->from, all->to).life != all->life) return leader.sync_ended(all->to);
    if (!leader.shape().uses(all->to)) return leader.sync_ended(all->to);  // it has left
    if (leader.log().base().index > all->at.index)
      return fail("the log does not reach back to the data sent to " + std::to_string(all->to));
    all->commit = leader.commit();
    on_node(all->to, now_ + kMilliMicros, [this, all] { receive_all(all); });
    await_sync(all);
  });
}

// Until the member says that it has taken them, or its connection ends.
void GroupWorld::await_sync(const std::shared_ptr<AllData>& all) {
  on_node(all->from, now_ + 20 * kMilliMicros, [this, all] {
    GroupCore& leader = *nodes_[all->from].core;
    if (!leader.leads() || leader.epoch() != all->epoch) return;
    if (!all->over && link(all->from, all->to).life == all->life) return await_sync(all);
    leader.sync_ended(all->to);
  });
}

// The group's shape as of them is on disk before they are.
void GroupWorld::receive_all(const std::shared_ptr<AllData>& all) {
  Node& node = nodes_[all->to];
  GroupCore& core = *node.core;
  all->over = link(all->from, all->to).life != all->life || core.epoch() != all->epoch ||
              node.disk_fails || node.placing || core.commit() > all->at.index;
  if (all->over) return;
  if (auto fine = core.check_arriving(all->at, all->shape); !fine)
    return fail("member " + std::to_string(all->to) + " refuses all data: " + fine.error());
  core.arrives(all->at, all->shape);
  save_then(all->to, [this, all, arrived = ++node.arrived] {
    const GroupCore& now = *nodes_[all->to].core;
    const bool begun_anew = nodes_[all->to].arrived != arrived;
    all->over = begun_anew || now.epoch() != all->epoch || now.commit() > all->at.index;
    if (!all->over) put_in_place(all);
  });
}

void GroupWorld::put_in_place(const std::shared_ptr<AllData>& all) {
  Node& node = nodes_[all->to];
  ++node.checkpoints_dropped;
  node.placing = true;
  node.core->placing(all->epoch);
  // A disk may take longer than an election does, which the one that sent them does not see.
  const bool slow = !peace_ && chance_.between(1, 100) <= faults_.sync_alone;
  const Micros most =
      slow ? 6 * faults_.group.election_timeout_ms * kMilliMicros : faults_.sync_max;
  const Micros placed = now_ + chance_.between(1, most);
  if (slow) {
    const Member from = all->from;
    for (Member m = 0; m < size_; ++m) {
      if (m == from) continue;
      for (auto [a, b] : {std::pair(from, m), std::pair(m, from)}) cut(a, b, true);
      for (auto [a, b] : {std::pair(all->to, m), std::pair(m, all->to)}) cut(a, b, false);
      at(placed, [this, from, m] {
        for (auto [a, b] : {std::pair(from, m), std::pair(m, from)}) cut(a, b, false);
      });
    }
  }
  on_node(all->to, placed, [this, all, slow] {
    Node& node = nodes_[all->to];
    GroupCore& core = *node.core;
    all->over = true;
    node.placing = false;
    if (node.disk_fails) return core.not_placed();
    node.machine.checkpoint = all->at;
    node.machine.checkpoint_commit = std::min(all->commit, all->at.index);
    node.machine.checkpoint_data = all->data;
    // They are on disk, and the log there has not begun anew.
    if (ends_here(all->to) || (slow && chance_.between(0, 1)))
      return fall(all->to, false, chance_.between(10, 3000) * kMilliMicros);
    if (core.commit() > all->at.index) return core.not_placed();
    node.data = all->data;
    if (!core.holds(all->at)) {
      node.queue.clear();
      node.machine.records.assign(1, Record{all->at, "", true});
      node.machine.synced = 1;
    }
    core.installed(all->at, all->commit, all->shape);
  });
}

}  // namespace quoll::sim
