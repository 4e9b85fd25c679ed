// SlotMoves: what the group's log says of slots (cluster/slot_ledger.h), and what follows from it,
// whoever led when it was said.
#include "cluster/group_frames.h"
#include "server/cluster_node.h"
#include "server/group.h"
#include "server/log.h"
#include "server/server.h"
#include "server/slot_moves.h"

namespace quoll::server {

using base::Bytes;
using base::Error;
using base::Result;
using cluster::FieldWriter;
using cluster::GroupNumber;
using cluster::NodeBus;
using cluster::NodeIndex;
using cluster::Question;
using cluster::SlotLedger;

namespace {

constexpr base::Millis kCallOffAgainMs = 1000;
constexpr size_t kDroppedAtOnce = 16;  // keys, between two looks at the clock

}  // namespace

// In another cluster nothing of it is so.
const SlotLedger& SlotMoves::ledger() const {
  static const SlotLedger kNothing;
  const cluster::GroupCore* core = node_.core();
  if (!core || core->shape().slots.cluster != node_.topology().cluster_id()) return kNothing;
  return core->shape().slots;
}

void SlotMoves::say(SlotLedger next) {
  next.cluster = node_.topology().cluster_id();
  node_.group()->tell_slots(next);
  follow_ledger();
  server_.host().loop.post([] {});  // a turn, for what follows once it is committed
}

// True: other slots are named than before.
bool SlotMoves::find_named() {
  const SlotLedger& now = ledger();
  std::bitset<kSlots> named = cluster::withheld(now, node_.topology());
  for (const auto& [slot, node] : record_.released) named.set(slot);
  const bool behind = node_.topology().version() < now.floor;
  const bool changed = named != named_ || behind != behind_;
  named_ = named;
  behind_ = behind;
  return changed;
}

void SlotMoves::follow_ledger() {
  const cluster::GroupCore* core = node_.core();
  if (core == core_seen_ && (!core || core->shape_number() == shape_seen_)) return;
  core_seen_ = core;
  shape_seen_ = core ? core->shape_number() : 0;
  if (find_named()) node_.slots_changed();
}

void SlotMoves::topology_changed() {
  find_named();
  tidy_due_ = true;
  follow_release();
}

// --- who leads ---------------------------------------------------------------------------------

// Who asked us asks whoever leads now.
void SlotMoves::follow_lead() {
  const cluster::Epoch epoch = leads() ? node_.core()->epoch() : 0;
  if (epoch == epoch_) return;
  const bool led = std::exchange(epoch_, epoch) != 0;
  tidy_due_ = true;
  adopt_at_ = 0;
  old_record_at_ = 0;
  released_at_ = 0;
  begun_.clear();
  evicted_.clear();
  heard_.clear();
  std::vector<NodeBus::OnAnswer> unanswered;
  for (Settling& one : settling_) unanswered.push_back(std::move(one.answer));
  for (Settling& one : syncing_) unanswered.push_back(std::move(one.answer));
  for (Arrival& one : arrivals_) unanswered.push_back(std::move(one.answer));
  for (auto& [from, adoption] : adoptions_)
    for (Adoption::Waiting& one : adoption.waiting) unanswered.push_back(std::move(one.answer));
  settling_.clear();
  syncing_.clear();
  arrivals_.clear();
  adoptions_.clear();
  if (led) lose_lead();
  for (const NodeBus::OnAnswer& answer : unanswered)
    answer(Error{"this node does not lead the target's group any more"});
}

// What the topology has settled, and what sources have said, goes into the ledger: one entry for
// all of it.
void SlotMoves::tell() {
  const cluster::GroupCore& core = *node_.core();
  const bool asked = std::ranges::any_of(arrivals_, [](const Arrival& one) { return one.at == 0; });
  if (old_record_at_ != 0 && core.commit() >= old_record_at_) forget_old_record();
  if ((!tidy_due_ && !asked) || behind_ || !core.may_tell_slots()) return;
  tidy_due_ = false;
  SlotLedger next = ledger();
  tidy_up(next);
  take_old_record(next);
  std::erase_if(arrivals_, [&](Arrival& one) { return one.at == 0 && !note_arrival(one, next); });
  if (next != ledger()) say(std::move(next));
  for (Arrival& one : arrivals_)
    if (one.at == 0) one.at = core.last().index;
  if (old_record_at_ == 0 && !(record_.released.empty() && record_.dropping.empty()))
    old_record_at_ = core.last().index;
}

void SlotMoves::tidy_up(SlotLedger& next) const {
  cluster::tidy(next, node_.topology(), node_.own_group(),
                [this](unsigned slot) { return server_.store().keys_in_slot(0, slot) == 0; });
}

// Older servers kept in their nodes' files what they had released, and what they had to drop.
void SlotMoves::take_old_record(SlotLedger& next) {
  if (old_record_at_ != 0) return;
  const cluster::Topology& topology = node_.topology();
  if (!record_.released.empty() && !next.released) {
    const NodeIndex target = record_.released.begin()->second;
    cluster::SlotList slots;
    for (const auto& [slot, node] : record_.released)
      if (node == target && topology.owner(slot) == node_.own_group()) slots.push_back(slot);
    const GroupNumber group = cluster::group_of(topology, target);
    if (!slots.empty() && group != cluster::kNoGroup)
      cluster::release(next, {topology.version(), 0}, group, slots);
  }
  for (const uint16_t slot : record_.dropping)
    if (topology.owner(slot) != node_.own_group()) next.leftover.insert(slot);
}

void SlotMoves::forget_old_record() {
  old_record_at_ = 0;
  record_.released.clear();
  record_.dropping.clear();
  node_.save_then([] {});
  if (find_named()) node_.slots_changed();
}

// --- behind the release ------------------------------------------------------------------------

// What so many members have on disk that no loss of power takes it away.
bool SlotMoves::is_on_disks(cluster::Index index) const {
  const cluster::GroupCore& core = *node_.core();
  return core.commit() >= index && core.synced_by_quorums() >= index;
}

void SlotMoves::ask_adoption() {
  const auto& released = ledger().released;
  if (!released || behind_ || cluster::is_over(*released, node_.topology(), node_.own_group())) {
    released_at_ = 0;
    return;
  }
  if (released_at_ == 0 || released_ != released->number) {
    released_ = released->number;
    released_at_ = node_.group()->want_all_on_disks();
    target_heard_ = steady_ms();
  }
  if (steady_ms() - target_heard_ >= kGoneMs)
    call_off(node_.own_group(), released->target, released->number);
  if (adopting_ || steady_ms() < adopt_at_ || !is_on_disks(released_at_)) return;
  adopt_at_ = steady_ms() + kAdoptAgainMs;
  const NodeIndex target = node_.leader_node(released->target);
  if (target == cluster::kNoNode) return;
  adopting_ = true;
  std::string body;
  FieldWriter out(body);
  out.number(released->number.version).number(released->number.count);
  for (const uint16_t slot : released->slots) out.number(slot);
  node_.ask(
      target, Question::slot_adopt, body,
      [this, target, number = released->number, alive = alive_](const Result<std::string>& answer) {
        if (!*alive) return;
        adopting_ = false;
        if (released_at_ != 0 && released_ == number) adoption_answered(target, answer);
      });
}

void SlotMoves::adoption_answered(NodeIndex target, const Result<std::string>& answer) {
  if (answer || Bytes(answer.error()).starts_with(cluster::kSoon)) target_heard_ = steady_ms();
  if (answer) {
    adopting_ = true;
    node_.pull_from(target, [this, alive = alive_](const Result<>&) {
      if (*alive) adopting_ = false;
    });
    return;
  }
  log::warning("Cluster: slots that were released are not adopted yet: {}", answer.error());
  // It had them on disk: then it was told, by the topology or by a later unit, that they do not
  // come.
  const auto& released = ledger().released;
  if (released && answer.error() == kNotBegun)
    call_off(node_.own_group(), released->target, released->number);
}

// Of this and an adoption the one that comes first decides.
void SlotMoves::call_off(GroupNumber from, GroupNumber to, const cluster::UnitNumber& number) {
  if (steady_ms() < call_off_at_ || !calling_off_.insert(from).second) return;
  log::warning("Cluster: slots of group {} that were to go to group {} are called off", from, to);
  node_.make_so(
      [from, to, decided = number.version](const cluster::Topology& now) {
        return cluster::next_to_call_off(now, from, to, decided);
      },
      [this, from, alive = alive_](const Result<>& done) {
        if (!*alive) return;
        calling_off_.erase(from);
        call_off_at_ = steady_ms() + kCallOffAgainMs;
        if (!done) log::verbose("Cluster: {}", done.error());
      });
}

// False: time is over, and there are more.
bool SlotMoves::drop_keys(unsigned slot, base::Nanos end) {
  std::vector<std::string> keys;
  while (server_.store().keys_in_slot(0, slot) > 0) {
    if (server_.host().clock.steady() >= end) return false;
    keys.clear();
    server_.store().visit_slot(0, slot, [&](const store::Entry* entry) {
      keys.emplace_back(entry->key());
      return keys.size() < kDroppedAtOnce;
    });
    for (const std::string& key : keys)
      if (!run({"DEL", key})) return false;
  }
  return true;
}

// Some keys of leftover slots, in every turn.
void SlotMoves::drop_some() {
  const std::set<uint16_t>& leftover = ledger().leftover;
  if (leftover.empty() || tidy_due_ || held_) return;  // who holds writes waits for the log's end
  const base::Nanos end = server_.host().clock.steady() + kMoveBudget;
  for (const uint16_t slot : leftover)
    if (!drop_keys(slot, end)) return server_.host().loop.post([] {});
  tidy_due_ = true;
  server_.host().loop.post([] {});
}

base::Result<> SlotMoves::run(std::initializer_list<Bytes> words) {
  store::CommitBuilder& commits = server_.store().commits();
  commits.begin(store::Origin::client, server_.now());
  const auto done = replay_.run_in_commit(0, Args(words.begin(), words.size()));
  commits.close();
  if (!done)
    log::warning("Cluster: {} of a slot that moves fails: {}", *words.begin(), done.error());
  return done;
}

}  // namespace quoll::server
