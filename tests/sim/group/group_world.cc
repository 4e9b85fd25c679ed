#include "tests/sim/group/group_world.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace quoll::sim {

using cluster::Durability;
using cluster::EntryKind;
using cluster::GroupLog;
using cluster::GroupMessage;
using cluster::kNoMember;
using cluster::SavedState;

namespace {

constexpr size_t kLinesKept = 200;
constexpr Micros kTick = 20 * kMilliMicros;
constexpr Micros kSyncEvery = kSecondMicros;
constexpr Micros kDiskRetry = kSecondMicros;
constexpr Micros kReconnect = 100 * kMilliMicros;
constexpr Micros kPeace = 30 * kSecondMicros;
// Until a client is answered, or given up: a disk may refuse for four seconds without a word, and
// then a leader may take a timeout to see that it has no quorum.
constexpr Micros kAnswerMax = 6 * kSecondMicros;
constexpr size_t kPlaces = 7;     // of a group that changes
constexpr int64_t kRateMax = 45;  // thousandths: the fastest clock against the slowest is 1.094

// An entry of the world's clients: one effect of one word, its value.
uint64_t value_of(const cluster::Entry& entry) {
  uint64_t value = 0;
  if (entry.header.kind != EntryKind::effects) return 0;
  cluster::each_effect(entry.payload, [&](const cluster::EntryEffect& effect) {
    value = std::strtoull(std::string(effect.words[0]).c_str(), nullptr, 10);
  });
  return value;
}

std::string id_of(uint64_t number) {
  std::string id = std::to_string(number);
  return std::string(cluster::kMemberIdBytes - id.size(), '0') + id;
}

}  // namespace

GroupFaults GroupFaults::drawn(uint64_t seed) {
  SimChance chance(seed * 2654435761u + 17);
  GroupFaults faults;
  static constexpr struct {
    size_t n;
    unsigned w, r;
  } kQuorums[] = {{3, 2, 2}, {3, 2, 2}, {3, 2, 2}, {5, 3, 3},
                  {5, 2, 4}, {3, 3, 1}, {4, 2, 3}, {1, 1, 1}};
  const auto& q = kQuorums[chance.between(0, std::size(kQuorums) - 1)];
  cluster::GroupConfig& group = faults.group;
  group.members = q.n;
  group.write_quorum = q.w;
  group.read_quorum = q.r;
  group.durability =
      q.w == q.n || chance.between(0, 2) == 0 ? Durability::fsync : Durability::memory;
  if (q.n >= 3 && chance.between(0, 4) == 0) group.witnesses = 1u << chance.between(0, 2);
  group.election_timeout_ms = chance.between(0, 1) ? 1000 : 300;
  group.log_keep_bytes = chance.between(0, 1) ? 1 : 64 * 1024 * 1024;
  // A quick election needs a network and disks that are quicker.
  const int slow = group.election_timeout_ms < 1000 ? 10 : 1;
  faults.delay_max = chance.between(0, 3) == 0 ? 100 * kMilliMicros / slow : 3 * kMilliMicros;
  faults.sync_max = chance.between(0, 3) == 0 ? 200 * kMilliMicros / slow : 5 * kMilliMicros;
  faults.write_max = chance.between(0, 3) == 0 ? 100 * kMilliMicros : kMilliMicros;
  faults.writes_per_second =
      static_cast<int>(chance.between(0, 2) ? chance.between(5, 120) : chance.between(200, 600));
  faults.reads_per_second = static_cast<int>(chance.between(5, 60));
  auto maybe = [&](int low, int high) {
    return chance.between(0, 1) ? static_cast<int>(chance.between(low, high)) : 0;
  };
  faults.crash_every = maybe(3, 20);
  faults.machine_every = maybe(5, 30);
  faults.cut_every = maybe(2, 10);
  faults.reset_every = maybe(1, 8);
  faults.pause_every = maybe(3, 15);
  faults.disk_every = maybe(5, 25);
  faults.wipe_every = chance.between(0, 3) == 0 ? static_cast<int>(chance.between(15, 40)) : 0;
  faults.outage_every = chance.between(0, 2) == 0 ? static_cast<int>(chance.between(5, 30)) : 0;
  faults.split_every = maybe(3, 15);
  if (q.n == 3 && chance.between(0, 3) < 2)
    faults.plot_every = static_cast<int>(chance.between(5, 20));
  faults.voter_ends = maybe(2, 30);
  faults.sync_alone = maybe(10, 80);
  faults.leader_falls = maybe(5, 50);
  group.lease = q.n > 1 && q.r == q.n / 2 + 1 && chance.between(0, 2) == 0;
  if (group.lease) faults.hand_over_every = maybe(3, 20);
  if (group.lease && q.n == 3) faults.promise_every = maybe(3, 15);
  if (chance.between(0, 2) == 0) faults.make_changing(chance);
  if (chance.between(0, 2)) faults.ledger_every = static_cast<int>(chance.between(1, 10));
  return faults;
}

// The stories of three members are for groups that stay as they are.
void GroupFaults::make_changing(SimChance& chance) {
  change_every = static_cast<int>(chance.between(1, 6));
  told_alone = static_cast<int>(chance.between(0, 60));
  static constexpr size_t kBegin[] = {1, 3, 3, 5};
  group.members = kBegin[chance.between(0, std::size(kBegin) - 1)];
  if (group.members == 1) group.durability = Durability::fsync;
  group.write_quorum = group.read_quorum = static_cast<unsigned>(group.members / 2 + 1);
  group.witnesses = group.members > 1 && chance.between(0, 3) == 0 ? 1 : 0;
  group.lease = chance.between(0, 2) == 0;
  plot_every = promise_every = 0;
}

GroupWorld::GroupWorld(uint64_t seed, const GroupFaults& faults)
    : faults_(faults),
      chance_(seed),
      size_(faults.change_every ? kPlaces : faults.group.members),
      nodes_(size_) {
  if (!listed()) {
    for (Member m = 0; m < size_; ++m) {
      nodes_[m].there = nodes_[m].founds = m < faults.group.members;
      if (!nodes_[m].there) continue;
      nodes_[m].id = id_of(++nodes_born_);
      first_.add(m, nodes_[m].id, faults.group.is_witness(m));
      first_.now.places |= 1u << m;
    }
    shape_ = first_;
  }
  for (Member m = 0; m < size_; ++m) {
    nodes_[m].skew = chance_.between(-200, 200) * kMilliMicros;
    if (faults.group.lease) nodes_[m].rate = chance_.between(-kRateMax, kRateMax);
    at(chance_.between(0, 300) * kMilliMicros, [this, m] { boot(m); });
  }
}

// --- time --------------------------------------------------------------------------------------

void GroupWorld::at(Micros when, std::function<void()> task) {
  queue_.emplace(std::pair(std::max(when, now_), ++sequence_), std::move(task));
}

void GroupWorld::on_node(Member m, Micros when, std::function<void()> task, bool timer) {
  at(when, [this, m, timer, life = nodes_[m].life, task = std::move(task)] {
    Node& node = nodes_[m];
    if (node.life != life || !node.core) return;
    if (node.paused)
      return (timer ? node.late : node.missed).push_back([this, m, life, task] {
        if (nodes_[m].life == life && nodes_[m].core) turn(m, task);
      });
    turn(m, task);
  });
}

void GroupWorld::turn(Member m, const std::function<void()>& task) {
  task();
  pump(m);
}

std::string GroupWorld::run(Micros time) {
  plan_faults();
  at(time, [this] { heal(); });
  const Micros end = time + kPeace;
  while (!broken() && !queue_.empty() && queue_.begin()->first.first <= end) {
    auto next = queue_.extract(queue_.begin());
    now_ = next.key().first;
    next.mapped()();
  }
  now_ = end;
  return broken() ? failure_ : verdict();
}

void GroupWorld::fail(const std::string& what) {
  if (broken()) return;
  note("BROKEN: " + what);
  failure_ = what;
}

void GroupWorld::note(const std::string& line) {
  char stamp[32];
  std::snprintf(stamp, sizeof stamp, "%10.3f ms  ", static_cast<double>(now_) / 1000);
  if (tracing_) std::fprintf(stderr, "%s%s\n", stamp, line.c_str());
  lines_.push_back(stamp + line);
  if (lines_.size() > kLinesKept) lines_.pop_front();
}

std::string GroupWorld::timeline() const {
  std::string text;
  for (const std::string& line : lines_) text += line + "\n";
  return text;
}

// --- a member's life ---------------------------------------------------------------------------

void GroupWorld::boot(Member m) {
  Node& node = nodes_[m];
  if (node.core || !node.there) return;
  Machine& machine = node.machine;
  ++node.life;
  GroupLog log;
  for (Record& record : machine.records) {
    if (record.restart) {
      log.restart(record.at);
    } else {
      cluster::Entry entry;
      cluster::decode_entry(record.bytes, entry);
      if (entry.header.at.index <= log.last().index) log.truncate(entry.header.at.index - 1);
      log.append(entry.header,
                 [&](const cluster::EntryHeader&, std::string& out) { out += record.bytes; });
    }
  }
  machine.synced = machine.records.size();  // the log is opened with a sync
  SavedState state = machine.state;
  const std::string boot_id = std::to_string(machine.boot);
  bool changed = false;
  if (!machine.has_state) {
    state.amnesia = chance_.draw() | 1;
    changed = true;
  } else if (!state.unsynced_boot.empty() && state.unsynced_boot != boot_id && state.amnesia == 0) {
    state.amnesia = chance_.draw() | 1;
    changed = true;
  } else if (log.last().index < machine.promised && state.amnesia == 0) {
    state.amnesia = chance_.draw() | 1;
    changed = true;
  }
  machine.promised = 0;
  if (faults_.group.durability == Durability::memory && state.unsynced_boot != boot_id) {
    state.unsynced_boot = boot_id;
    changed = true;
  }
  if (changed) {  // before it says anything
    machine.state = state;
    machine.has_state = true;
  }
  cluster::GroupConfig group = faults_.group;
  group.self = m;
  state.id = node.id;
  std::optional<cluster::GroupShape> first;
  if (!listed()) first = node.founds ? first_ : cluster::GroupShape{};
  node.core = std::make_unique<GroupCore>(group, state, std::move(log), chance_.draw(), steady(m),
                                          std::move(first));
  node.data = machine.checkpoint_data;
  if (node.core->restored(machine.checkpoint, machine.checkpoint_commit)) {
    machine.records.push_back({machine.checkpoint, "", true});
    machine.synced = machine.records.size();
  }
  node.paused = node.disk_fails = node.writing = node.moment = node.placing = false;
  node.messages_left = 0;
  node.disk_told = true;
  node.queue.clear();
  node.pending.clear();
  note("member " + std::to_string(m) + " begins: epoch " + std::to_string(state.epoch) +
       ", log to " + std::to_string(node.core->last().index) + (state.amnesia ? ", amnesiac" : ""));
  check_ledger(m);
  on_node(m, now_ + chance_.between(0, kTick), [this, m] { tick(m); });
  for (Member other = 0; other < size_; ++other)
    if (other != m) at(now_ + kReconnect, [this, m, other] { connect(m, other); });
}

void GroupWorld::tick(Member m) {
  Node& node = nodes_[m];
  node.core->tick(steady(m));
  if (node.core->leads() && !node.pending.empty() && now_ - node.pending.front().began > kAnswerMax)
    return fail("a client of member " + std::to_string(m) + " waits for too long");
  if (faults_.group.durability == Durability::memory &&
      now_ / kSyncEvery != (now_ - kTick) / kSyncEvery)
    sync_now(m);
  if (chance_.between(0, 200) == 0) take_checkpoint(m);
  on_node(
      m, now_ + kTick, [this, m] { tick(m); }, true);
}

void GroupWorld::end(Member m, bool machine_too) {
  Node& node = nodes_[m];
  if (!node.core) return;
  note("member " + std::to_string(m) + (machine_too ? "'s machine ends" : "'s process ends"));
  node.core.reset();
  ++node.life;
  node.missed.clear();
  node.late.clear();
  node.pending.clear();
  Machine& machine = node.machine;
  if (machine_too) {
    const auto lost_from = static_cast<size_t>(chance_.between(
        static_cast<int64_t>(machine.synced), static_cast<int64_t>(machine.records.size())));
    machine.records.resize(lost_from);
    ++machine.boot;
  }
  for (Member other = 0; other < size_; ++other)
    if (other != m) disconnect(m, other);
}

void GroupWorld::wipe(Member m) {
  end(m, true);
  note("member " + std::to_string(m) + " loses its directory");
  nodes_[m].machine = Machine{};
  nodes_[m].founds = false;  // it may have done so
}

// --- the disk ----------------------------------------------------------------------------------

void GroupWorld::write_next(Member m) {
  Node& node = nodes_[m];
  if (node.writing || node.queue.empty() || node.disk_fails) return;
  node.writing = true;
  on_node(m, now_ + chance_.between(1, faults_.write_max), [this, m, file = node.file] {
    Node& self = nodes_[m];
    if (self.file != file) return;
    self.writing = false;
    if (self.disk_fails) return trouble(m);
    std::vector<Record> batch = std::move(self.queue);
    self.queue.clear();
    if (batch.empty()) return;
    const Position last = batch.back().at;
    for (Record& record : batch) self.machine.records.push_back(std::move(record));
    if (last.index >= self.machine.promised) self.machine.promised = 0;
    self.core->written(last);
    if (faults_.group.durability == Durability::fsync) sync_now(m);
    write_next(m);
  });
}

void GroupWorld::sync_now(Member m) {
  const size_t upto = nodes_[m].machine.records.size();
  if (upto == 0) return;
  const Position last = nodes_[m].machine.records[upto - 1].at;
  on_node(m, now_ + chance_.between(1, faults_.sync_max),
          [this, m, upto, last, file = nodes_[m].file] {
            Node& node = nodes_[m];
            if (node.file != file) return;
            if (node.disk_fails) return trouble(m);
            node.machine.synced =
                std::max(node.machine.synced, std::min(upto, node.machine.records.size()));
            node.core->synced(last);
          });
}

void GroupWorld::trouble(Member m) {
  Node& node = nodes_[m];
  if (!node.disk_told) return;
  node.disk_told = false;
  node.queue.clear();
  note("member " + std::to_string(m) + ": the disk fails");
  node.core->disk_fails();
}

// An older state never takes the place of a newer one.
void GroupWorld::save_state(Member m, const SavedState& state, uint64_t number,
                            const std::function<void()>& then) {
  on_node(m, now_ + chance_.between(1, faults_.sync_max), [this, m, state, number, then] {
    Node& node = nodes_[m];
    if (node.disk_fails) {  // tried again until it works
      trouble(m);
      return on_node(m, now_ + kDiskRetry,
                     [this, m, state, number, then] { save_state(m, state, number, then); });
    }
    if (number > node.machine.state_number) {
      node.machine.state = state;
      node.machine.state_number = number;
    }
    node.machine.has_state = true;
    node.core->state_saved();
    if (then) then();
  });
}

// What has changed, if anything has; what follows happens when that is on disk.
void GroupWorld::save_then(Member m, const std::function<void()>& then) {
  const SavedState* state = nodes_[m].core->take_state();
  if (!state) return then();
  save_state(m, *state, ++sequence_, then);
}

// --- the network -------------------------------------------------------------------------------

void GroupWorld::connect(Member a, Member b) {
  if (link(a, b).up) return;
  const bool possible = nodes_[a].core && nodes_[b].core && !link(a, b).cut && !link(b, a).cut &&
                        !nodes_[a].paused && !nodes_[b].paused;
  if (!possible) {
    if (nodes_[a].core || nodes_[b].core) at(now_ + kReconnect, [this, a, b] { connect(a, b); });
    return;
  }
  const uint64_t life = ++sequence_;
  for (Link* direction : {&link(a, b), &link(b, a)}) {
    direction->up = true;
    direction->life = life;
    direction->last = now_;
    direction->held.clear();
  }
  turn(a, [&] { nodes_[a].core->linked(b, nodes_[b].id); });
  turn(b, [&] { nodes_[b].core->linked(a, nodes_[a].id); });
}

void GroupWorld::disconnect(Member a, Member b) {
  if (!link(a, b).up) return;
  for (auto [from, to] : {std::pair(a, b), std::pair(b, a)}) {
    link(from, to).up = false;
    ++link(from, to).life;
    link(from, to).held.clear();
    if (nodes_[from].core)
      on_node(from, now_ + chance_.between(0, kMilliMicros), [this, from, to] {
        if (!link(from, to).up) nodes_[from].core->unlinked(to);
      });
  }
  at(now_ + kReconnect, [this, a, b] { connect(a, b); });
}

void GroupWorld::send(Member from, Member to, const GroupMessage& message) {
  Link& direction = link(from, to);
  if (!direction.up) return;
  const bool votes = message.kind == GroupMessage::Kind::vote_reply && message.flag;
  if (votes && !peace_ && chance_.between(1, 100) <= faults_.voter_ends)
    at(now_ + chance_.between(0, 5) * kMilliMicros,
       [=, this] { fall(from, machines_may_end(), chance_.between(1, 400) * kMilliMicros); });
  auto bytes = std::make_shared<std::string>(message.entries);
  GroupMessage copy = message;
  copy.entries = *bytes;
  auto arrive = [this, from, to, life = direction.life, copy, bytes] {
    if (link(from, to).life != life || !nodes_[to].core) return;
    if (auto heard = nodes_[to].core->receive(from, copy, steady(to)); !heard)
      fail("member " + std::to_string(to) + " refuses what " + std::to_string(from) +
           " says: " + heard.error());
    if (nodes_[to].messages_left > 0 && --nodes_[to].messages_left == 0)
      at(now_, [this, to] { fall_from_power(to); });
  };
  auto travel = [this, from, to, arrive] {
    Link& way = link(from, to);
    const Micros when = std::max(way.last + 1, now_ + chance_.between(50, faults_.delay_max));
    way.last = when;
    on_node(to, when, arrive);
  };
  if (direction.cut)
    direction.held.push_back(travel);
  else
    travel();
}

void GroupWorld::cut(Member from, Member to, bool on) {
  Link& direction = link(from, to);
  if (direction.cut == on) return;
  direction.cut = on;
  note("link " + std::to_string(from) + " -> " + std::to_string(to) + (on ? " is cut" : " heals"));
  if (on) return;
  auto held = std::move(direction.held);
  direction.held.clear();
  if (direction.up)
    for (auto& travel : held) travel();
}

// --- data --------------------------------------------------------------------------------------

void GroupWorld::apply(Member m) {
  Node& node = nodes_[m];
  GroupCore& core = *node.core;
  if (!core.data_stands()) return;
  pad(m);
  while (core.applied() < core.commit()) {
    Index upto;
    base::Bytes bytes = core.log().slice(core.applied(), SIZE_MAX, upto);
    for (Index index = core.applied() + 1; index <= std::min(upto, core.commit()); ++index) {
      cluster::Entry entry;
      cluster::decode_entry(bytes, entry);
      bytes.remove_prefix(entry.bytes);
      node.data.push_back(value_of(entry));
      core.applied(index);
    }
  }
}

// A leader's own REJOINs and shapes are applied without us.
void GroupWorld::pad(Member m) {
  Node& node = nodes_[m];
  if (!node.core->data_stands() || !node.core->leads()) return;
  while (node.core->applied() > node.data.size()) node.data.push_back(0);
}

// What was executed and then dropped is undone: the data begin again from the checkpoint.
void GroupWorld::undo(Member m, Index behind) {
  Node& node = nodes_[m];
  ++counts_.undone;
  note("member " + std::to_string(m) + " undoes what is behind " + std::to_string(behind));
  node.data.resize(behind);
  node.core->data_stands(true);
}

// --- what a driver does at the end of a turn ---------------------------------------------------

void GroupWorld::pump(Member m) {
  Node& node = nodes_[m];
  if (!node.core || broken()) return;
  GroupCore& core = *node.core;
  if (core.take_forgotten()) {
    node.queue.clear();
    node.machine.records.push_back({{}, "", true});
    node.machine.checkpoint = {};
    node.machine.checkpoint_data.clear();
    node.machine.checkpoint_commit = 0;
    node.machine.synced = node.machine.records.size();
    ++node.checkpoints_dropped;
  }
  if (auto behind = core.take_undone()) undo(m, *behind);
  apply(m);
  settle(m);
  const bool disk_waits = core.disk_may_wait();
  if (node.disk_told && !disk_waits)
    core.hand_over([&](base::Bytes bytes, Index) {
      while (!bytes.empty()) {
        cluster::Entry entry;
        cluster::decode_entry(bytes, entry);
        node.queue.push_back({entry.header.at, std::string(bytes.substr(0, entry.bytes))});
        bytes.remove_prefix(entry.bytes);
      }
    });
  go_on_forgetting(m);
  write_next(m);
  for (GroupCore::Send& send : core.flush(steady(m))) this->send(m, send.to, send.message);
  pad(m);
  if ((core.holds_back() || disk_waits) && !std::exchange(node.moment, true))
    on_node(m, now_ + kMilliMicros, [this, m] { nodes_[m].moment = false; });
  if (const SavedState* state = core.take_state()) save_state(m, *state, ++sequence_);
  for (Member lagging : core.take_lagging()) prepare_sync(m, lagging);
  settle(m);
  if (core.leads()) {
    auto [leader, fresh] = leaders_.emplace(core.epoch(), m);
    if (fresh) {
      ++counts_.elections;
      note("member " + std::to_string(m) + " leads epoch " + std::to_string(core.epoch()));
      elected(m);
    }
    if (leader->second != m) fail("two leaders in one epoch");
    if (fresh && core.shape_settled() && !core.shape().votes(m))
      fail("a member that does not vote was elected");
  }
}

// Commits, acknowledgements and answers that are due.
void GroupWorld::settle(Member m) {
  Node& node = nodes_[m];
  GroupCore& core = *node.core;
  while (committed_.size() < core.commit()) {
    const Index index = committed_.size() + 1;
    if (index <= core.log().base().index) {  // it came with all data
      committed_.push_back(node.data[index - 1]);
      if (index == core.log().base().index) note_ledger_of_data(core);
      continue;
    }
    Index upto;
    cluster::Entry entry;
    cluster::decode_entry(core.log().slice(index - 1, 1, upto), entry);
    committed_.push_back(value_of(entry));
    note_committed(entry, core.epoch());
    if (entry.header.kind == EntryKind::rejoin) ++counts_.rejoins;
  }
  if (core.data_stands()) {
    if (node.data.size() != core.applied())
      return fail("member " + std::to_string(m) + " executed something else than its log");
    const Index index = std::min(core.applied(), core.commit());
    if (index > 0 && node.data[index - 1] != committed_[index - 1])
      return fail("member " + std::to_string(m) + " has other data at " + std::to_string(index));
  }
  check_ledger(m);
  while (!node.pending.empty()) {
    const Pending& front = node.pending.front();
    if (!core.leads() || core.epoch() != front.epoch) {
      node.pending.clear();  // UNCERTAIN
      return;
    }
    if (core.commit() < front.index) return;
    if (!front.write && core.confirmed_round() < front.round) return;
    if (front.write) {
      ++counts_.acknowledged;
      acknowledged_ = std::max(acknowledged_, front.index);
      if (committed_[front.index - 1] != front.value)
        return fail("an acknowledged write is not what was committed");
    } else {
      ++counts_.reads;
      if (front.index < front.seen) return fail("a read did not show an acknowledged write");
    }
    node.pending.pop_front();
  }
}

// --- clients -----------------------------------------------------------------------------------

void GroupWorld::client_write() {
  at(now_ + chance_.between(1, 2 * kSecondMicros / faults_.writes_per_second),
     [this] { client_write(); });
  const Member m = any();
  const int64_t count = chance_.between(0, 99) == 0 ? chance_.between(2, 100) : 1;
  for (int64_t i = 0; i < count; ++i) write(m);
}

void GroupWorld::write(Member m, size_t bytes) {
  if (!nodes_[m].core || nodes_[m].paused || is_witness(m)) return;
  on_node(m, now_, [this, m, bytes] {
    Node& node = nodes_[m];
    if (!node.core->serves() || !node.core->may_commit(steady(m))) return;
    const uint64_t value = next_value_++;
    const std::string word = std::to_string(value) + std::string(bytes, ' ');
    const base::Bytes words[] = {word};
    const store::Effect effect{0, words, store::kToAll};
    const Index index = node.core->propose({&effect, 1}, wall(m));
    node.data.push_back(value);
    node.pending.push_back({index, node.core->epoch(), 0, 0, value, true, now_});
  });
}

void GroupWorld::client_read() {
  at(now_ + chance_.between(1, 2 * kSecondMicros / faults_.reads_per_second),
     [this] { client_read(); });
  const Member m = any();
  // Who stands still finds it when it goes on, as other clients have written elsewhere.
  on_node(m, now_, [this, m, seen = acknowledged_] {
    Node& node = nodes_[m];
    if (!node.core->serves()) return;
    if (is_witness(m)) return fail("a witness serves");
    if (node.core->lease_holds(steady(m))) {  // of a key that has no uncommitted entries
      ++counts_.leased;
      if (node.core->commit() >= seen) return;
      return fail("a read under the lease did not show an acknowledged write");
    }
    node.pending.push_back({node.core->applied(), node.core->epoch(), node.core->confirm_read(),
                            seen, 0, false, now_});
  });
}

// --- faults ------------------------------------------------------------------------------------

void GroupWorld::plan(int every, const std::function<void()>& fault) {
  if (every == 0) return;
  at(now_ + chance_.between(1, 2 * every * kSecondMicros), [this, every, fault] {
    if (peace_) return;
    fault();
    plan(every, fault);
  });
}

void GroupWorld::fall(Member m, bool machine, Micros down) {
  end(m, machine);
  at(now_ + down, [this, m] { boot(m); });
}

void GroupWorld::isolate(Member m) {
  for (Member other = 0; other < size_; ++other) {
    if (other == m) continue;
    cut(m, other, true);
    if (chance_.between(0, 3)) cut(other, m, true);
    at(now_ + chance_.between(10, 6000) * kMilliMicros, [=, this] {
      cut(m, other, false);
      cut(other, m, false);
    });
  }
}

// A leader is most dangerous when its log has entries of others that it has just begun to send.
void GroupWorld::elected(Member m) {
  if (deposed_ != kNoMember) return go_on_deposing(m);
  if (peace_ || chance_.between(1, 100) > faults_.leader_falls) return;
  if (chance_.between(0, 1)) {
    nodes_[m].messages_left = chance_.between(1, 8);
    return;
  }
  at(now_ + chance_.between(0, 10 * faults_.delay_max / 3), [this, m] { fall_from_power(m); });
}

void GroupWorld::fall_from_power(Member m) {
  if (peace_) return;
  if (deposed_ == m) {
    deposed_ = kNoMember;
    fall(m, false, 6 * kSecondMicros);
    return sever(deposed_second_ == kNoMember ? m : deposed_second_, false);
  }
  if (chance_.between(0, 2) == 0) return isolate(m);
  fall(m, machines_may_end(), chance_.between(10, 3000) * kMilliMicros);
}

// Stories of three members that chance alone hardly ever tells.
void GroupWorld::plot() {
  for (const Node& node : nodes_)
    if (!node.core || !node.core->intact() || node.paused) return;
  for (Member m = 0; m < size_; ++m)
    if (nodes_[m].core->serves()) {
      constexpr std::array<void (GroupWorld::*)(Member), 4> kStories = {
          &GroupWorld::meet_the_lost, &GroupWorld::depose_twice, &GroupWorld::hear_old_news,
          &GroupWorld::forget_twice};
      return (this->*kStories[static_cast<size_t>(chance_.between(0, kStories.size() - 1))])(m);
    }
}

// The leader stands still; the others elect and go on. Then one of them loses its directory, the
// other one ends, and the first goes on: it still believes to lead, and finds an empty member.
void GroupWorld::meet_the_lost(Member m) {
  const auto lost = static_cast<Member>((m + chance_.between(1, 2)) % 3);
  const auto ended = static_cast<Member>(3 - m - lost);
  const Micros still = chance_.between(2, 5) * faults_.group.election_timeout_ms * kMilliMicros;
  pause(m, still);
  at(now_ + still - 20 * kMilliMicros, [=, this] {
    if (peace_ || !nodes_[m].paused) return;
    for (const Node& node : nodes_)
      if (!node.core || !node.core->intact()) return;
    fall(ended, machines_may_end(), 6 * kSecondMicros);
    wipe(lost);
    boot(lost);
  });
}

// A leader has entries that nobody else has. The next one is cut off as soon as it leads. The first
// is elected again, has one other member take its old entries, and ends; whom of the two do the
// others follow? (Figure 8 of Ongaro and Ousterhout, "In Search of an Understandable Consensus
// Algorithm", 2014.)
void GroupWorld::depose_twice(Member m) {
  deposed_ = m;
  deposed_second_ = kNoMember;
  deposed_times_ = 0;
  sever(m, true);
  for (int i = 0; i < 3; ++i) write(m);
  at(now_ + 15 * kSecondMicros, [this, m] {
    if (deposed_ != m) return;
    deposed_ = kNoMember;
    for (Member other = 0; other < size_; ++other) sever(other, false);
  });
}

void GroupWorld::go_on_deposing(Member m) {
  if (deposed_times_ == 0 && m != deposed_) {
    ++deposed_times_;
    sever(deposed_, false);
    sever(m, true);
    deposed_second_ = m;
  } else if (deposed_times_ == 1 && m == deposed_) {
    ++deposed_times_;
    nodes_[m].messages_left = chance_.between(2, 4);
  }
}

// The leader stands still while a reply to it is under way; the others elect and go on. Then one of
// them loses its directory, the other one is cut off, and the reply arrives as the leader goes on:
// for one more timeout it believes to lead, and an empty member is all it can talk to.
void GroupWorld::hear_old_news(Member m) {
  const auto lost = static_cast<Member>((m + chance_.between(1, 2)) % 3);
  const auto other = static_cast<Member>(3 - m - lost);
  const Micros timeout = faults_.group.election_timeout_ms * kMilliMicros;
  cut(other, m, true);
  at(now_ + timeout / 4, [=, this] {
    if (peace_ || !nodes_[m].core) return cut(other, m, false);
    const Micros still = chance_.between(2, 5) * timeout;
    pause(m, still);
    at(now_ + still - faults_.delay_max - kMilliMicros, [=, this] {
      const bool all = std::ranges::all_of(
          nodes_, [](const Node& node) { return node.core && node.core->intact(); });
      if (peace_ || !nodes_[m].paused || !all) return cut(other, m, false);
      sever(other, true);
      wipe(lost);
      boot(lost);
      let_through(other, m);
      for (int i = 0; i < 20; ++i)
        at(now_ + faults_.delay_max + (i + 1) * timeout / 20, [this, m] { write(m); });
      at(now_ + 3 * timeout, [this, other] { sever(other, false); });
    });
  });
}

// The first message that a cut holds up; the rest is still under way.
void GroupWorld::let_through(Member from, Member to) {
  Link& direction = link(from, to);
  if (!direction.up || direction.held.empty()) return;
  auto travel = std::move(direction.held.front());
  direction.held.pop_front();
  travel();
}

// A member forgets. When the leader has a REJOIN for it, the third one is cut off; whoever counts
// the forgetful one acknowledges what follows. It forgets again and is let in by the same REJOIN,
// before it has what follows once more; then the leader ends. What do the other two know?
void GroupWorld::forget_twice(Member m) {
  if (forgetting_.stage != forgetting_.none || machines_may_end()) return;
  const auto member = static_cast<Member>((m + chance_.between(1, 2)) % 3);
  forgetting_ = {forgetting_.forgets, m, member, static_cast<Member>(3 - m - member), 0};
  fall(member, true, 10 * kMilliMicros);
  at(now_ + 10 * kSecondMicros, [this] { stop_forgetting(); });
}

// At the end of every turn of a member, before it says anything.
void GroupWorld::go_on_forgetting(Member m) {
  auto& story = forgetting_;
  const GroupCore& core = *nodes_[m].core;
  if (story.stage == story.none) return;
  if (m == story.leader && !core.leads()) return stop_forgetting();
  if (story.stage == story.forgets && m == story.leader) {
    Index upto;
    cluster::Entry entry;
    const Index last = core.last().index;
    if (last <= core.log().base().index) return;
    cluster::decode_entry(core.log().slice(last - 1, 1, upto), entry);
    if (entry.header.kind != EntryKind::rejoin) return;
    story.rejoin = last;
    story.stage = story.acknowledges;
    sever(story.third, true);
    // Each in a message of its own.
    for (int i = 0; i < 3; ++i) write(m, 2 * cluster::kLogPieceBytes);
  } else if (story.stage == story.acknowledges && m == story.leader) {
    if (core.commit() < story.rejoin + 3) return;
    story.stage = story.forgets_again;
    at(now_, [this] { fall(forgetting_.member, true, 10 * kMilliMicros); });
  } else if (story.stage == story.forgets_again && m == story.member && core.intact()) {
    at(now_, [this, leader = story.leader] { fall(leader, false, 6 * kSecondMicros); });
    stop_forgetting();
  }
}

void GroupWorld::stop_forgetting() {
  if (forgetting_.stage == forgetting_.none) return;
  forgetting_.stage = forgetting_.none;
  at(now_, [this] { sever(forgetting_.third, false); });
}

// Sometimes it hears no more of what follows.
void GroupWorld::hand_over(Member m) {
  if (!nodes_[m].core->transfer() || chance_.between(0, 1)) return;
  for (Member other = 0; other < size_; ++other) {
    if (other == m) continue;
    cut(other, m, true);
    at(now_ + 2 * faults_.group.election_timeout_ms * kMilliMicros,
       [=, this] { cut(other, m, false); });
  }
}

// One member has not heard the leader for so long that it asks for votes. The other one has just
// heard it and is bound; it ends, begins again, and the leader is alone. It has its lease still.
void GroupWorld::forget_a_promise(Member m) {
  const auto bound = static_cast<Member>((m + chance_.between(1, 2)) % 3);
  const auto waiting = static_cast<Member>(3 - m - bound);
  const Micros timeout = faults_.group.election_timeout_ms * kMilliMicros;
  cut(m, waiting, true);
  cut(waiting, m, true);
  at(now_ + timeout + chance_.between(0, timeout), [=, this] {
    if (!peace_ && nodes_[m].core && nodes_[m].core->serves()) {
      sever(m, true);
      fall(bound, false, 10 * kMilliMicros);
    }
    at(now_ + 2 * timeout, [this, m] { sever(m, false); });
  });
}

void GroupWorld::sever(Member m, bool on) {
  for (Member other = 0; other < size_; ++other) {
    if (other == m) continue;
    cut(m, other, on);
    cut(other, m, on);
  }
}

void GroupWorld::pause(Member m, Micros time) {
  if (!nodes_[m].core || nodes_[m].paused) return;
  nodes_[m].paused = true;
  note("member " + std::to_string(m) + " stands still");
  at(now_ + time, [this, m, life = nodes_[m].life, began = now_] {
    Node& node = nodes_[m];
    if (node.life != life) return;
    node.paused = false;
    for (Pending& pending : node.pending) pending.began += now_ - began;
    note("member " + std::to_string(m) + " goes on");
    // What arrived meanwhile may be heard before a timer looks at the clock.
    auto missed = std::exchange(node.missed, {});
    auto late = std::exchange(node.late, {});
    missed.insert(chance_.between(0, 1) ? missed.begin() : missed.end(), late.begin(), late.end());
    for (auto& task : missed) task();
  });
}

void GroupWorld::plan_faults() {
  at(kSecondMicros, [this] { client_write(); });
  at(kSecondMicros, [this] { client_read(); });
  auto down = [this] { return chance_.between(10, 6000) * kMilliMicros; };
  auto return_later = [this, down](Member m) { at(now_ + down(), [this, m] { boot(m); }); };
  plan(faults_.crash_every, [=, this] { fall(any(), false, down()); });
  plan(faults_.machine_every, [=, this] { fall(any(), true, down()); });
  plan(faults_.outage_every, [=, this] {
    const Micros longest = chance_.between(0, 1) ? kSecondMicros / 4 : 6 * kSecondMicros;
    for (Member m = 0; m < size_; ++m)
      if (chance_.between(0, 3)) fall(m, machines_may_end(), chance_.between(1, longest));
  });
  plan(faults_.wipe_every, [=, this] {
    // A group whose members have all begun can do without one.
    for (const Node& node : nodes_)
      if (node.there && (!node.machine.has_state || node.machine.state.amnesia != 0)) return;
    if (size_ < 3 || (!listed() && shape_.now.size() < 3)) return;
    const Member m = any();
    wipe(m);
    return_later(m);
  });
  plan(faults_.cut_every, [=, this] {
    const Member a = any(), b = any();
    if (a == b) return;
    const bool both = chance_.between(0, 1);
    cut(a, b, true);
    if (both) cut(b, a, true);
    // A connection that nothing passes ends after a while.
    if (chance_.between(0, 1)) at(now_ + 2 * kSecondMicros, [=, this] { disconnect(a, b); });
    at(now_ + down(), [=, this] {
      cut(a, b, false);
      cut(b, a, false);
    });
  });
  plan(faults_.cut_every, [=, this] {  // a leader alone with what it executes
    for (Member m = 0; m < size_; ++m)
      if (nodes_[m].core && nodes_[m].core->leads()) isolate(m);
  });
  plan(faults_.reset_every, [=, this] {
    const Member a = any(), b = any();
    if (a != b) disconnect(a, b);
  });
  plan(faults_.pause_every, [this] { pause(any(), chance_.between(100, 5000) * kMilliMicros); });
  plan(faults_.plot_every, [this] { plot(); });
  plan(faults_.promise_every, [this] {
    for (Member m = 0; m < size_; ++m)
      if (nodes_[m].core && nodes_[m].core->serves()) return forget_a_promise(m);
  });
  plan(faults_.hand_over_every, [this] {
    for (Member m = 0; m < size_; ++m)
      if (nodes_[m].core && nodes_[m].core->serves()) on_node(m, now_, [this, m] { hand_over(m); });
  });
  plan(faults_.change_every, [this] {
    for (Member m = 0; m < size_; ++m)
      if (nodes_[m].core && nodes_[m].core->leads())
        on_node(m, now_, [this, m] { change_shape(m); });
  });
  plan(faults_.ledger_every, [this] {
    for (Member m = 0; m < size_; ++m)
      if (nodes_[m].core && nodes_[m].core->leads())
        on_node(m, now_, [this, m] { tell_ledger(m); });
  });
  plan(faults_.split_every, [=, this] {  // into two sides
    const auto side = static_cast<uint64_t>(chance_.between(1, (1 << size_) - 2));
    const Micros until = now_ + down();
    for (Member a = 0; a < size_; ++a)
      for (Member b = 0; b < size_; ++b) {
        if ((side >> a & 1) == (side >> b & 1)) continue;
        cut(a, b, true);
        at(until, [=, this] { cut(a, b, false); });
      }
  });
  plan(faults_.disk_every, [=, this] {
    const Member m = any();
    if (!nodes_[m].core) return;
    nodes_[m].disk_fails = true;
    at(now_ + chance_.between(100, 4000) * kMilliMicros, [this, m, life = nodes_[m].life] {
      Node& node = nodes_[m];
      if (node.life != life) return;
      node.disk_fails = false;
      if (std::exchange(node.disk_told, true)) return;
      // Everything that was not synced is written once more.
      ++node.file;
      node.writing = false;
      if (!machines_may_end() && node.machine.records.size() > node.machine.synced)
        node.machine.promised = node.machine.records.back().at.index;
      node.machine.records.resize(node.machine.synced);
      Position durable;
      if (!node.machine.records.empty()) durable = node.machine.records.back().at;
      const auto& records = node.machine.records;
      const Index covered = !records.empty() && records[0].restart ? records[0].at.index : 0;
      turn(m, [&] { node.core->disk_works(durable, covered); });
    });
  });
}

// --- the shape of the group --------------------------------------------------------------------

bool GroupWorld::is_witness(Member m) const {
  return nodes_[m].core && nodes_[m].core->shape().is_witness(m);
}

// What somebody might want, whether it may be or not.
cluster::GroupShape GroupWorld::drawn_change(const GroupCore& leader) {
  cluster::GroupShape to = leader.shape();
  const bool learner_comes = chance_.between(0, 1), voters_go = chance_.between(0, 2) == 0;
  const bool all_go = chance_.between(0, 4) == 0;
  for (Member m = 0; m < size_; ++m) {
    const uint32_t bit = 1u << m;
    if (!to.uses(m)) {
      if (learner_comes && to.members() < 6 && chance_.between(0, 1))
        to.add(m, id_of(++nodes_born_), chance_.between(0, 5) == 0);
    } else if (!to.now.has(m)) {
      if (chance_.between(0, 9) == 0)
        to.drop(m);
      else if (chance_.between(0, 3) && to.now.size() < 5)
        to.now.places |= bit;
    } else if (all_go || (voters_go && chance_.between(0, 2) == 0)) {
      to.now.places &= ~bit;
      if (chance_.between(0, 5)) to.drop(m);  // else it goes on as a learner
    }
  }
  using Kind = cluster::QuorumRule::Kind;
  if (chance_.between(0, 7) == 0) {
    const bool all =
        faults_.group.durability == Durability::fsync && to.now.write.kind != Kind::all;
    to.now.write = {all ? Kind::all : Kind::majority, 0};
    to.now.read = {all ? Kind::number : Kind::majority, static_cast<uint8_t>(all)};
  }
  return to;
}

void GroupWorld::change_shape(Member m) {
  GroupCore& core = *nodes_[m].core;
  if (!core.leads() || core.shape().joint()) return;
  const cluster::GroupShape before = core.shape();
  cluster::GroupShape to = drawn_change(core);
  const bool lone = to.now.size() < 3 && faults_.group.durability == Durability::memory;
  if (lone || to == before) return;
  to.slots = {};  // who changes the group says nothing of slots
  if (!core.change(to)) return;
  ++counts_.changes;
  note("member " + std::to_string(m) + " changes the group: voters " +
       std::to_string(before.now.places) + " -> " + std::to_string(to.now.places) + ", members " +
       std::to_string(before.used()) + " -> " + std::to_string(to.used()));
  if (core.log().epoch_at(core.commit()) != core.epoch())
    return fail("the group was changed before an entry of the leader's epoch was committed");
  if (core.shape().joint() && chance_.between(1, 100) <= faults_.told_alone)
    tell_only_the_new(m, before.now.places, to.now.places & ~before.now.places);
  for (Member other = 0; other < size_; ++other)
    if (to.uses(other) && !before.uses(other))
      at(now_ + chance_.between(0, 2 * kSecondMicros),
         [this, other, id = to.places[other].id] { come(other, id); });
}

// The other old voters do not hear of it, nor of the new ones any more, nor these of the leader.
void GroupWorld::tell_only_the_new(Member m, uint32_t before, uint32_t after) {
  if (peace_) return;
  const Micros until = now_ + chance_.between(1, 5) * faults_.group.election_timeout_ms * 1000;
  for (Member old = 0; old < size_; ++old)
    for (Member other = 0; other < size_; ++other) {
      if (!(before >> old & 1) || !((other == m && old != m) || after >> other & 1)) continue;
      const Micros when = old == m ? now_ + chance_.between(1, 20) * kMilliMicros : now_;
      for (auto [a, b] : {std::pair(old, other), std::pair(other, old)}) {
        at(when, [this, a = a, b = b] { cut(a, b, true); });
        at(until, [this, a = a, b = b] { cut(a, b, false); });
      }
    }
}

// If the one who wanted it still does. Whoever still has the place ends first.
void GroupWorld::come(Member m, const std::string& id) {
  Node& node = nodes_[m];
  const bool wanted = std::ranges::any_of(nodes_, [&](const Node& one) {
    return one.core && one.core->shape().uses(m) && one.core->shape().places[m].id == id;
  });
  if (!wanted || node.id == id) return;
  if (node.there) go(m, node.id);
  note("a new node has place " + std::to_string(m));
  node.there = true;
  node.id = id;
  boot(m);
}

void GroupWorld::go(Member m, const std::string& id) {
  Node& node = nodes_[m];
  if (!node.there || node.id != id) return;
  end(m, false);
  note("the node at place " + std::to_string(m) + " is no more");
  node.there = node.founds = false;
  node.id.clear();
  node.machine = Machine{};
}

// Who is in the group no more goes on for a while.
void GroupWorld::note_committed(const cluster::Entry& entry, Epoch by) {
  note_ledger(entry, by);
  if (entry.header.kind != EntryKind::shape) return;
  const cluster::GroupShape before = std::exchange(shape_, *cluster::decode_shape(entry.payload));
  for (Member m = 0; m < size_; ++m) {
    // Nobody may have wanted it when it was to come: all who did had ended.
    if (!listed() && shape_.uses(m) && !before.uses(m))
      at(now_ + kSecondMicros, [this, m, id = shape_.places[m].id] { come(m, id); });
    if (before.uses(m) && !shape_.uses(m))
      at(now_ + chance_.between(0, 6 * kSecondMicros),
         [this, m, id = before.places[m].id] { go(m, id); });
  }
}

void GroupWorld::heal() {
  peace_ = true;
  note("peace");
  for (Member a = 0; a < size_; ++a) {
    for (Member b = 0; b < size_; ++b)
      if (a != b) cut(a, b, false);
    at(now_ + 6 * kSecondMicros, [this, a] {
      if (!listed() && shape_.uses(a)) come(a, shape_.places[a].id);
      boot(a);
    });
  }
}

// By every shape that somebody has.
bool GroupWorld::may_elect() const {
  return std::ranges::all_of(nodes_, [this](const Node& one) {
    if (!one.core) return true;
    return one.core->shape().each_voters([this](const cluster::Voters& voters) {
      size_t intact = 0;
      for (Member m = 0; m < size_; ++m)
        intact += voters.has(m) && nodes_[m].core && nodes_[m].core->intact();
      return intact >= voters.election_quorum();
    });
  });
}

std::string GroupWorld::verdict() {
  for (Member m = 0; m < size_; ++m) {
    if (!nodes_[m].core) continue;
    const GroupCore& core = *nodes_[m].core;
    std::string line =
        "member " + std::to_string(m) + (core.leads() ? " leads" : " follows") + ": epoch " +
        std::to_string(core.epoch()) + ", log " + std::to_string(core.log().base().index) + " to " +
        std::to_string(core.last().index) + ", committed " + std::to_string(core.commit()) +
        ", applied " + std::to_string(core.applied());
    if (!core.intact()) line += ", amnesiac";
    if (core.leads())
      for (Member other = 0; other < size_; ++other)
        line += ", " + std::to_string(other) + " has " + std::to_string(core.match(other));
    note(line);
  }
  Member leader = kNoMember;
  for (Member m = 0; m < size_; ++m)
    if (nodes_[m].core && nodes_[m].core->serves()) leader = m;
  if (leader == kNoMember) {
    // Acknowledged in memory by machines that all ended: the group stops and says so.
    if (!may_elect()) return "";
    return "nobody serves 30 s after all faults have ended";
  }
  const GroupCore& core = *nodes_[leader].core;
  if (core.last().index > core.commit() + 300) return "writes are not committed in peace";
  if (!core.shape().votes(leader)) return "a member that votes no more leads on";
  if (!core.shape_settled()) return "a change of the group is not completed in peace";
  for (Member m = 0; m < size_; ++m) {
    if (!core.shape().uses(m)) continue;
    if (!nodes_[m].core) return "member " + std::to_string(m) + " is not there";
    const GroupCore& other = *nodes_[m].core;
    if (!other.intact()) return "member " + std::to_string(m) + " was not readmitted";
    if (other.applied() + 300 < core.commit())
      return "member " + std::to_string(m) + " did not catch up";
    if (other.shape().slots != core.shape().slots)
      return "member " + std::to_string(m) + " has another ledger than the leader";
    for (Index index = 1; index <= std::min<Index>(other.applied(), other.commit()); ++index)
      if (nodes_[m].data[index - 1] != committed_[index - 1])
        return "member " + std::to_string(m) + " has other data at " + std::to_string(index) +
               ": " + std::to_string(nodes_[m].data[index - 1]) + ", committed " +
               std::to_string(committed_[index - 1]);
  }
  return "";
}

}  // namespace quoll::sim
