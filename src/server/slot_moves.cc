// SlotMoves: the source's part.
#include "server/slot_moves.h"

#include <fmt/format.h>

#include "cluster/group_frames.h"
#include "cluster/replica_dialect.h"
#include "persist/dump_payload.h"
#include "server/cluster_node.h"
#include "server/group.h"
#include "server/log.h"
#include "server/server.h"

namespace quoll::server {

using base::Bytes;
using base::Error;
using base::Result;
using cluster::FieldWriter;
using cluster::GroupNumber;
using cluster::NodeBus;
using cluster::NodeIndex;
using cluster::Question;

namespace {

constexpr base::Millis kAdoptAgainMs = 200;
constexpr size_t kDroppedAtOnce = 16;  // keys, between two looks at the clock
constexpr unsigned kSlotBitsBelowShard = store::kSlotBits - 8;

// The place in hash order where a slot's keys begin.
uint64_t slot_begin(unsigned slot) {
  store::ScanCursor at;
  at.shard = slot >> kSlotBitsBelowShard;
  at.walk.prefix = slot & ((1u << kSlotBitsBelowShard) - 1);
  at.walk.depth = kSlotBitsBelowShard;
  return at.pack();
}

bool past_slot(uint64_t cursor, unsigned slot) {
  if (cursor == 0) return true;
  const store::ScanCursor at = store::ScanCursor::unpack(cursor);
  if (at.shard != slot >> kSlotBitsBelowShard) return true;
  const uint64_t own = slot & ((1u << kSlotBitsBelowShard) - 1);
  const uint64_t reached = at.walk.depth >= kSlotBitsBelowShard
                               ? at.walk.prefix >> (at.walk.depth - kSlotBitsBelowShard)
                               : at.walk.prefix << (kSlotBitsBelowShard - at.walk.depth);
  return reached > own;
}

// Tools move thousands of slots one by one.
void tell(const SlotMove& move, const std::string& what) {
  if (move.slots_total > 1)
    log::notice("Cluster: move {} {}", move.name, what);
  else
    log::verbose("Cluster: move {} {}", move.name, what);
}

}  // namespace

struct SlotMoves::Unit {
  uint64_t number = 0;
  enum class Phase : uint8_t {
    dropping,
    copying,
    catching_up,
    committing,
    last,
    counting,
    releasing
  };
  Phase phase = Phase::dropping;
  std::vector<uint16_t> slots;
  size_t at = 0;        // of slots
  uint64_t cursor = 0;  // in the slot; 0: not begun
  unsigned rounds = 0;
  unsigned counts = 0;
  bool asking = false;
};

SlotMoves::SlotMoves(Server& server, ClusterNode& node, NodeRecord& record)
    : server_(server), node_(node), record_(record), replay_(server) {
  server_.store().commits().add_sink(*this);
}

SlotMoves::~SlotMoves() { *alive_ = false; }

base::Millis SlotMoves::steady_ms() const {
  return server_.host().clock.steady() / base::kNanosPerMilli;
}

bool SlotMoves::leads() const { return node_.group() && node_.group()->serves(); }

SlotMove* SlotMoves::current() {
  for (SlotMove& move : moves_)
    if (!move.over()) return &move;
  return nullptr;
}

Result<std::string> SlotMoves::begin(const cluster::SlotRanges& slots, NodeIndex target) {
  if (!leads()) return Error{"ERR Only the leader of a group moves its slots"};
  if (node_.members_of_group() > 1)
    return Error{"ERR Slots of a group of several members do not move yet"};
  const cluster::TopologyMember* member = node_.topology().find(target);
  if (!member) return Error{"ERR Unknown node"};
  if (target == node_.index()) return Error{"ERR Target node can not be this node"};
  const GroupNumber group = cluster::group_of(node_.topology(), target);
  if (group == cluster::kNoGroup) return Error{"ERR The target has no group"};
  SlotMove move;
  std::bitset<kSlots> named;
  for (const cluster::SlotRange& range : slots)
    for (unsigned slot = range.first; slot <= range.last; ++slot) {
      if (named[slot]) return Error{fmt::format("ERR Slot {} specified multiple times", slot)};
      named.set(slot);
      if (!node_.has_slot(slot))
        return Error{fmt::format("ERR Slot {} is not served by this node", slot)};
      if (wanted_[slot]) return Error{fmt::format("ERR Slot {} is already being migrated", slot)};
      ++move.slots_total;
    }
  wanted_ |= named;
  for (size_t digits = 0; digits < cluster::kNodeIdBytes; digits += 16)
    move.name += fmt::format("{:016x}", server_.host().random.draw());
  move.name.resize(cluster::kNodeIdBytes);
  move.slots = slots;
  move.target = target;
  move.target_id = member->id;
  move.created = move.updated = server_.now();
  tell(move, fmt::format("of {} slots to {} begins", move.slots_total, member->id));
  moves_.push_back(std::move(move));
  server_.host().loop.post([this, alive = alive_] {
    if (*alive && !unit_ && current()) begin_unit();
  });
  while (moves_.size() > kMovesKept && moves_.front().over()) moves_.pop_front();
  return moves_.back().name;
}

bool SlotMoves::cancel(Bytes name) {
  bool any = false;
  for (SlotMove& move : moves_) {
    if (move.over() || (!name.empty() && move.name != name)) continue;
    if (&move == current() && unit_ && unit_->phase == Unit::Phase::releasing) continue;
    any = true;
    if (&move == current() && unit_) {
      fail("cancelled", SlotMove::State::cancelled);
      continue;
    }
    move.state = SlotMove::State::cancelled;
    move.message = "cancelled";
    move.updated = server_.now();
    for (const cluster::SlotRange& range : move.slots)
      for (unsigned slot = range.first; slot <= range.last; ++slot) wanted_.reset(slot);
  }
  return any;
}

bool SlotMoves::cancel_slot(unsigned slot) {
  for (const SlotMove& move : moves_)
    for (const cluster::SlotRange& range : move.slots)
      if (!move.over() && range.first <= slot && slot <= range.last) return cancel(move.name);
  return true;
}

// --- a unit ------------------------------------------------------------------------------------

void SlotMoves::turn() {
  while (!settling_.empty() && settling_.front().index <= node_.core()->commit()) {
    const NodeBus::OnAnswer answer = std::move(settling_.front().answer);
    settling_.pop_front();
    answer(std::string());
  }
  if (unit_ && !unit_->asking) go_on();
  clear_some();
  if (!record_.dropping.empty()) drop_some();
}

void SlotMoves::tick() {
  if (held_ && steady_ms() - held_since_ > kHoldMaxMs) {
    hold(false);
    if (unit_ && unit_->phase != Unit::Phase::releasing) fail("writes would have waited too long");
  }
  if (!unit_ && current()) begin_unit();
  if (!record_.released.empty() && steady_ms() >= adopt_at_) ask_adoption();
}

void SlotMoves::begin_unit() {
  SlotMove& move = *current();
  if (!leads()) return fail("this node leads no more");
  unit_ = std::make_unique<Unit>();
  unit_->number = uint64_t{record_.incarnation} << 32 | ++units_;
  copied_.reset();
  changed_.clear();
  for (const cluster::SlotRange& range : move.slots)
    for (unsigned slot = range.first; slot <= range.last; ++slot) {
      if (!wanted_[slot] || unit_->slots.size() == kMoveSlotsAtOnce) continue;
      unit_->slots.push_back(static_cast<uint16_t>(slot));
      copied_.set(slot);
    }
  listen(true);
  unit_->asking = true;
  drop_at_target(true);
}

// What the target has of the unit's slots: at its beginning, and when it has failed.
void SlotMoves::drop_at_target(bool begins) {
  std::string body;
  FieldWriter out(body);
  out.number(unit_->number).number(static_cast<uint8_t>(begins));
  for (uint16_t slot : unit_->slots) out.number(slot);
  if (!begins) return node_.ask(current()->target, Question::slot_drop, body, [](const auto&) {});
  ask(Question::slot_drop, body, [this](Result<std::string> answer) {
    if (!answer) return fail(answer.error());
    unit_->phase = Unit::Phase::copying;
  });
}

// The answer is of the unit that asked, unless that is over.
void SlotMoves::ask(Question question, const std::string& body, NodeBus::OnAnswer done) {
  node_.ask(current()->target, question, body,
            [this, unit = unit_.get(), name = current()->name, done = std::move(done),
             alive = alive_](Result<std::string> answer) {
              if (!*alive || unit_.get() != unit || !current() || current()->name != name) return;
              unit_->asking = false;
              done(std::move(answer));
              server_.host().loop.post([] {});  // a turn, to go on in
            });
}

void SlotMoves::go_on() {
  std::string body;
  switch (unit_->phase) {
    case Unit::Phase::copying:
      if (gather(body)) unit_->phase = Unit::Phase::catching_up;
      if (!body.empty()) send(std::move(body));
      return;
    case Unit::Phase::catching_up:
      if (changed_.size() <= kFewChanges || ++unit_->rounds > kCatchUpRounds) {
        hold(true);
        unit_->phase = Unit::Phase::committing;
        return;
      }
      gather_changes(body);
      return send(std::move(body));
    case Unit::Phase::committing:  // what the target gets was acknowledged or will be
      if (node_.core()->commit() < node_.core()->last().index) return;
      unit_->phase = Unit::Phase::last;
      [[fallthrough]];
    case Unit::Phase::last:
      if (changed_.empty()) return check_counts();
      gather_changes(body);
      return send(std::move(body));
    default:
      return;
  }
}

void SlotMoves::put_key(Bytes key, std::string& body) {
  const store::Entry* entry = server_.store().find(0, server_.store().ref(key), server_.now());
  FieldWriter out(body);
  out.bytes(key);
  if (!entry) {
    out.number(store::kNoDeadline).bytes({});
    return;
  }
  out.number(entry->has_ttl() ? entry->deadline() : store::kNoDeadline);
  out.bytes(persist::dump_payload(*entry, cluster::kReplicaRdbVersion, false));
  ++current()->keys_sent;
}

// The next keys of the unit's slots, as many as a batch and a turn hold. True: that were all.
bool SlotMoves::gather(std::string& body) {
  const base::Nanos end = server_.host().clock.steady() + kMoveBudget;
  std::vector<std::string> keys;
  while (unit_->at < unit_->slots.size()) {
    const unsigned slot = unit_->slots[unit_->at];
    if (unit_->cursor == 0) unit_->cursor = slot_begin(slot);
    keys.clear();
    const bool any = server_.store().keys_in_slot(0, slot) > 0;
    const uint64_t next = any ? server_.store().scan(0, unit_->cursor, 1,
                                                     [&](const store::Entry* entry) {
                                                       if (base::key_slot(entry->key()) == slot)
                                                         keys.emplace_back(entry->key());
                                                     })
                              : 0;
    for (const std::string& key : keys) {
      put_key(key, body);
      changed_.erase(key);
    }
    unit_->cursor = next;
    if (!any || past_slot(next, slot)) {
      ++unit_->at;
      unit_->cursor = 0;
    }
    if (body.size() >= kMoveBatchBytes || server_.host().clock.steady() >= end) break;
  }
  return unit_->at == unit_->slots.size();
}

void SlotMoves::gather_changes(std::string& body) {
  while (!changed_.empty() && body.size() < kMoveBatchBytes) {
    const std::string key = *changed_.begin();
    changed_.erase(changed_.begin());
    put_key(key, body);
  }
}

void SlotMoves::send(std::string keys) {
  constexpr size_t kRoom = 4096;  // for what else is in a frame
  if (keys.size() > cluster::kNodeFrameBytesMax - kRoom)
    return fail(fmt::format("a value with {} bytes is too large to move", keys.size()));
  unit_->asking = true;
  current()->bytes_sent += keys.size();
  current()->updated = server_.now();
  std::string body;
  FieldWriter(body).number(unit_->number);
  ask(Question::slot_keys, body + keys, [this](Result<std::string> answer) {
    if (!answer) fail(answer.error());
  });
}

void SlotMoves::absorb(const store::Commit& commit) {
  if (!unit_) return;
  for (const store::Touch& touch : commit.touches) {
    if (touch.key.empty()) return fail("the database was flushed");
    if (touch.db == 0 && copied_[base::key_slot(touch.key)]) changed_.emplace(touch.key);
  }
}

void SlotMoves::hold(bool on) {
  if (held_ == on) return;
  held_ = on;
  if (on)
    held_since_ = steady_ms();
  else if (SlotMove* move = current())
    move->hold_ms = std::max(move->hold_ms, steady_ms() - held_since_);
  server_.hold_writes(HoldWrites::slots, on);
}

void SlotMoves::check_counts() {
  std::string body;
  FieldWriter out(body);
  out.number(unit_->number);
  for (uint16_t slot : unit_->slots) out.number(slot).number(server_.store().keys_in_slot(0, slot));
  unit_->phase = Unit::Phase::counting;
  unit_->asking = true;
  current()->state = SlotMove::State::holding;
  ask(Question::slot_count, body, [this](Result<std::string> answer) {
    // Keys that expire here and there at different moments are counted again.
    if (!answer && ++unit_->counts >= kCounts) return fail(answer.error());
    if (answer && changed_.empty()) return release();
    unit_->phase = Unit::Phase::last;
  });
}

void SlotMoves::release() {
  unit_->phase = Unit::Phase::releasing;
  unit_->asking = true;
  listen(false);  // what happens here from now on is not the target's
  current()->state = SlotMove::State::releasing;
  for (uint16_t slot : unit_->slots) {
    record_.released[slot] = current()->target;
    released_.set(slot);
  }
  node_.slots_released();
  node_.save_then([this, alive = alive_] {
    if (*alive) ask_adoption();
  });
}

void SlotMoves::fail(const std::string& why, SlotMove::State state) {
  SlotMove* move = current();
  if (!move) return;
  log::warning("Cluster: move {} ends: {}", move->name, why);
  hold(false);
  listen(false);
  if (unit_) drop_at_target(false);
  unit_.reset();
  move->state = state;
  move->message = why;
  move->updated = server_.now();
  for (const cluster::SlotRange& range : move->slots)
    for (unsigned slot = range.first; slot <= range.last; ++slot) wanted_.reset(slot);
}

// --- behind the release ------------------------------------------------------------------------

void SlotMoves::ask_adoption() {
  if (adopting_ || record_.released.empty()) return;
  adopting_ = true;
  adopt_at_ = steady_ms() + kAdoptAgainMs;
  const NodeIndex target = record_.released.begin()->second;
  std::string body;
  FieldWriter out(body);
  for (const auto& [slot, node] : record_.released)
    if (node == target) out.number(slot);
  node_.ask(target, Question::slot_adopt, body,
            [this, target, alive = alive_](Result<std::string> answer) {
              if (!*alive) return;
              if (!answer) {
                adopting_ = false;
                return log::warning("Cluster: slots that were released are not adopted yet: {}",
                                    answer.error());
              }
              node_.pull_from(target, [this, alive](const Result<>&) {
                if (!*alive) return;
                adopting_ = false;
                topology_changed();
              });
            });
}

// Slots that are another group's now: their keys go.
void SlotMoves::topology_changed() {
  forget_coming();
  if (released_.none() && !record_.released.empty())
    for (const auto& [slot, node] : record_.released) released_.set(slot);
  bool any = false;
  for (auto it = record_.released.begin(); it != record_.released.end();) {
    const uint16_t slot = it->first;
    if (node_.topology().owner(slot) == node_.own_group()) {
      ++it;
      continue;
    }
    any = true;
    released_.reset(slot);
    record_.dropping.insert(slot);
    it = record_.released.erase(it);
  }
  if (!any) return;
  node_.slots_released();
  node_.save_then([] {});
  if (unit_ && unit_->phase == Unit::Phase::releasing && record_.released.empty()) finish_unit();
}

void SlotMoves::finish_unit() {
  hold(false);
  SlotMove& move = *current();
  for (uint16_t slot : unit_->slots) wanted_.reset(slot);
  move.slots_done += unit_->slots.size();
  move.state = SlotMove::State::copying;
  move.updated = server_.now();
  unit_.reset();
  if (move.slots_done < move.slots_total) return begin_unit();
  move.state = SlotMove::State::done;
  tell(move, fmt::format("is complete: {} slots, {} keys; writes waited for {} ms at most",
                         move.slots_done, move.keys_sent, move.hold_ms));
  if (current()) begin_unit();
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
    for (const std::string& key : keys) run({"DEL", key});
  }
  return true;
}

// Some keys of the slots that left, in every turn.
void SlotMoves::drop_some() {
  if (!leads()) return;
  const base::Nanos end = server_.host().clock.steady() + kMoveBudget;
  while (!record_.dropping.empty()) {
    const unsigned slot = *record_.dropping.begin();
    const bool ours = node_.topology().owner(slot) == node_.own_group();
    if (!ours && !drop_keys(slot, end)) return server_.host().loop.post([] {});
    record_.dropping.erase(record_.dropping.begin());
  }
  node_.save_then([] {});
}

void SlotMoves::run(std::initializer_list<Bytes> words) {
  store::CommitBuilder& commits = server_.store().commits();
  commits.begin(store::Origin::client, server_.now());
  const auto done = replay_.run_in_commit(0, Args(words.begin(), words.size()));
  commits.close();
  if (!done)
    log::warning("Cluster: {} of a slot that moves fails: {}", *words.begin(), done.error());
}

}  // namespace quoll::server
