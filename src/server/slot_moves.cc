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

constexpr base::Millis kBeginAgainMs = 100;
constexpr unsigned kEpochShift = 32;  // above the number of a unit in its epoch
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

// The slots that have not gone yet: they go in the order in which they were named.
template <class Visit>
void each_left(const SlotMove& move, Visit&& visit) {
  size_t at = 0;
  for (const cluster::SlotRange& range : move.slots)
    for (unsigned slot = range.first; slot <= range.last; ++slot)
      if (at++ >= move.slots_done) visit(slot);
}

// Tools move thousands of slots one by one.
void log_move(const SlotMove& move, const std::string& what) {
  if (move.slots_total > 1)
    log::notice("Cluster: move {} {}", move.name, what);
  else
    log::verbose("Cluster: move {} {}", move.name, what);
}

}  // namespace

struct SlotMoves::Unit {
  cluster::UnitNumber number;
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
  cluster::SlotList slots;
  base::Millis until = 0;     // the target may say "soon"
  base::Millis again_at = 0;  // then it is asked again
  cluster::Index upto = 0;    // in the log, is what clients wrote of its slots
  bool lost = false;          // released, and we lead no more
  size_t at = 0;              // of slots
  uint64_t cursor = 0;        // in the slot; 0: not begun
  unsigned rounds = 0;
  unsigned counts = 0;
  bool sent = false;    // keys
  bool synced = false;  // what was sent before writes waited is on the target's disks
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

bool SlotMoves::leads() const { return node_.serves(); }

SlotMove* SlotMoves::current() {
  for (SlotMove& move : moves_)
    if (!move.over()) return &move;
  return nullptr;
}

Result<std::string> SlotMoves::begin(const cluster::SlotRanges& slots, NodeIndex target) {
  if (!leads()) return Error{"ERR Only the leader of a group moves its slots"};
  const cluster::TopologyMember* member = node_.topology().find(target);
  if (!member) return Error{"ERR Unknown node"};
  const GroupNumber group = cluster::group_of(node_.topology(), target);
  if (group == cluster::kNoGroup) return Error{"ERR The target has no group"};
  if (group == node_.own_group())
    return Error{target == node_.index() ? "ERR Target node can not be this node"
                                         : "ERR The target is in the group of this node"};
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
  move.target = group;
  move.target_id = member->id;
  move.created = move.updated = server_.now();
  log_move(move, fmt::format("of {} slots to {} begins", move.slots_total, member->id));
  moves_.push_back(std::move(move));
  server_.host().loop.post([this, alive = alive_] {
    if (*alive && !unit_ && current() && may_begin()) begin_unit();
  });
  for (auto oldest = moves_.begin(); moves_.size() > kMovesKept && oldest != moves_.end();)
    oldest = oldest->over() ? moves_.erase(oldest) : oldest + 1;
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
    want_no_more(move);
  }
  return any;
}

void SlotMoves::want_no_more(const SlotMove& move) {
  each_left(move, [this](unsigned slot) { wanted_.reset(slot); });
}

bool SlotMoves::cancel_slot(unsigned slot) {
  if (const auto& released = ledger().released;
      released && std::ranges::binary_search(released->slots, static_cast<uint16_t>(slot)))
    return false;
  for (const SlotMove& move : moves_) {
    bool wants = false;
    if (!move.over()) each_left(move, [&](unsigned one) { wants |= one == slot; });
    if (wants) return cancel(move.name);
  }
  return true;
}

std::string SlotMoves::failure(unsigned slot) const {
  for (auto move = moves_.rbegin(); move != moves_.rend(); ++move)
    for (const cluster::SlotRange& range : move->slots)
      if (range.first <= slot && slot <= range.last) return move->message;
  return {};
}

// Of one that was begun here or by an earlier leader of this group: what that has released is in
// our log, or never will be.
void SlotMoves::tell_of_unit(Bytes body, const NodeBus::OnAnswer& answer) const {
  cluster::FieldReader in(body);
  cluster::UnitNumber number;
  if (!in.number(number.version) || !in.number(number.count))
    return answer(Error{"this names no unit"});
  if (epoch_ == 0 || !leads() || number.count >> kEpochShift > epoch_)
    return answer(Error{"this node does not lead the source's group"});
  const auto& released = ledger().released;
  const bool goes_on =
      (unit_ && unit_->number == number) || (released && released->number == number);
  answer(std::string(goes_on ? "" : kOver));
}

// --- a unit ------------------------------------------------------------------------------------

void SlotMoves::turn() {
  follow_lead();
  if (epoch_ == 0) return;
  answer_settled();
  if (unit_ && !unit_->asking) go_on();
  if (!unit_ && current() && may_begin()) begin_unit();
  tell();
  serve_arrivals();
  go_on_adopting();
  drop_some();
  ask_adoption();
  forget_evicted();
  listen_as_needed();
}

void SlotMoves::tick() {
  if (behind_) node_.catch_up();
  if (held_ && steady_ms() - held_since_ > kHoldMaxMs) {
    hold(false);
    if (unit_ && unit_->phase != Unit::Phase::releasing) fail("writes would have waited too long");
  }
  if (unit_ && unit_->lost) follow_release();
  if (!unit_ && current() && !leads()) fail("this node leads no more");
  ask_about_units();
}

// One unit at a time is released, and the last one's keys are not far behind.
bool SlotMoves::may_begin() const {
  return epoch_ != 0 && !behind_ && node_.core()->may_tell_slots() && !ledger().released &&
         ledger().leftover.size() <= kLeftoverMax;
}

void SlotMoves::begin_unit() {
  SlotMove& move = *current();
  unit_ = std::make_unique<Unit>();
  unit_->number = {node_.topology().version(), epoch_ << kEpochShift | ++units_};
  unit_->until = steady_ms() + kBeginMs;
  copied_.reset();
  changed_.clear();
  each_left(move, [this](unsigned slot) {
    if (unit_->slots.size() == kMoveSlotsAtOnce) return;
    unit_->slots.push_back(static_cast<uint16_t>(slot));
    copied_.set(slot);
  });
  std::ranges::sort(unit_->slots);
  for (const uint16_t slot : unit_->slots)
    if (!node_.has_slot(slot))
      return fail(fmt::format("slot {} is not served by this node any more", slot));
  listen_as_needed();
  begin_at_target();
}

std::string SlotMoves::unit_body() const {
  std::string body;
  FieldWriter(body).number(unit_->number.version).number(unit_->number.count);
  return body;
}

// What the target still has of the unit's slots goes. One that says "soon" may know more of the
// topology than we did.
void SlotMoves::begin_at_target() {
  unit_->number.version = node_.topology().version();
  std::string body = unit_body();
  FieldWriter out(body);
  out.number(uint8_t{1});
  for (const uint16_t slot : unit_->slots) out.number(slot);
  unit_->asking = true;
  ask(Question::slot_drop, body, [this](Result<std::string> answer) {
    if (answer) {
      unit_->phase = Unit::Phase::copying;
      return;
    }
    const bool soon = answer.error().starts_with(cluster::kSoon);
    if (!soon || steady_ms() >= unit_->until)
      return fail(soon ? answer.error().substr(cluster::kSoon.size()) : answer.error());
    unit_->again_at = steady_ms() + kBeginAgainMs;
  });
}

// So that writes wait for the disks of the target with what changed last alone.
void SlotMoves::sync_at_target() {
  unit_->asking = true;
  ask(Question::slot_count, unit_body(), [this](const Result<std::string>& answer) {
    if (!answer) return fail(answer.error());
    unit_->synced = true;
  });
}

// It has failed. Of one that may be released nothing is said.
void SlotMoves::end_at_target() {
  if (unit_->phase == Unit::Phase::releasing) return;
  std::string body = unit_body();
  FieldWriter(body).number(uint8_t{0});
  node_.ask(node_.leader_node(current()->target), Question::slot_drop, body, [](const auto&) {});
}

// The answer is of the unit that asked, unless that is over.
void SlotMoves::ask(Question question, const std::string& body, NodeBus::OnAnswer done) {
  node_.ask(node_.leader_node(current()->target), question, body,
            [this, unit = unit_->number, done = std::move(done),
             alive = alive_](Result<std::string> answer) {
              if (!*alive || !unit_ || unit_->number != unit || !current()) return;
              unit_->asking = false;
              done(std::move(answer));
              server_.host().loop.post([] {});  // a turn, to go on in
            });
}

void SlotMoves::go_on() {
  std::string body;
  switch (unit_->phase) {
    case Unit::Phase::dropping:
      if (steady_ms() >= unit_->again_at) begin_at_target();
      return;
    case Unit::Phase::copying:
      if (gather(body)) unit_->phase = Unit::Phase::catching_up;
      if (!body.empty()) send(std::move(body));
      return;
    case Unit::Phase::catching_up:
      if (changed_.size() <= kFewChanges || ++unit_->rounds > kCatchUpRounds) {
        if (unit_->sent && !unit_->synced) return sync_at_target();
        hold(true);
        unit_->upto = node_.core()->last().index;
        unit_->phase = Unit::Phase::committing;
        return;
      }
      gather_changes(body);
      return send(std::move(body));
    case Unit::Phase::committing:  // what the target gets was acknowledged or will be
      if (node_.core()->commit() < unit_->upto) return;
      unit_->phase = Unit::Phase::last;
      [[fallthrough]];
    case Unit::Phase::last:
      if (!changed_.empty()) {
        gather_changes(body);
        return send(std::move(body));
      }
      if (steady_ms() >= unit_->again_at) check_counts();
      return;
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
  unit_->asking = unit_->sent = true;
  current()->bytes_sent += keys.size();
  current()->updated = server_.now();
  ask(Question::slot_keys, unit_body() + keys, [this](Result<std::string> answer) {
    if (!answer) fail(answer.error());
  });
}

// As source until the slots are released: what happens here then is not the target's.
void SlotMoves::listen_as_needed() {
  listen((unit_ && unit_->phase != Unit::Phase::releasing) || !begun_.empty());
}

void SlotMoves::absorb(const store::Commit& commit) {
  if (!begun_.empty()) note_evicted(commit);
  if (!unit_ || unit_->phase == Unit::Phase::releasing) return;
  for (const store::Touch& touch : commit.touches) {
    if (touch.change == store::Change::keyless) {
      if (touch.event.name == store::kEventLibraries.name) continue;
      return fail("the database was flushed");
    }
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
  std::string body = unit_body();
  FieldWriter out(body);
  for (uint16_t slot : unit_->slots) out.number(slot).number(server_.store().keys_in_slot(0, slot));
  unit_->phase = Unit::Phase::counting;
  unit_->asking = true;
  current()->state = SlotMove::State::holding;
  ask(Question::slot_count, body, [this](Result<std::string> answer) {
    // Keys that expire here and there at different moments are counted again.
    if (!answer && ++unit_->counts >= kCounts) return fail(answer.error());
    if (answer && changed_.empty()) return release();
    unit_->phase = Unit::Phase::last;
    if (!answer) unit_->again_at = steady_ms() + kCountAgainMs;
  });
}

// Nothing can have changed since it was said so: writes are held, and this is the turn of the
// answer. A ledger that cannot be told now is asked for again.
void SlotMoves::release() {
  if (!may_begin()) {
    unit_->phase = Unit::Phase::last;
    return;
  }
  for (const uint16_t slot : unit_->slots)
    if (!node_.has_slot(slot))
      return fail(fmt::format("slot {} is not this group's any more", slot));
  if (node_.topology().handed_over(node_.own_group()) > unit_->number.version)
    return fail("slots of this group were handed over since, or their move was called off");
  unit_->phase = Unit::Phase::releasing;
  unit_->asking = true;
  listen_as_needed();
  adopt_at_ = 0;
  current()->state = SlotMove::State::releasing;
  cluster::SlotLedger next = ledger();
  tidy_up(next);
  cluster::release(next, unit_->number, current()->target, unit_->slots);
  say(std::move(next));
}

void SlotMoves::fail(const std::string& why, SlotMove::State state) {
  SlotMove* move = current();
  if (!move) return;
  log::warning("Cluster: move {} ends: {}", move->name, why);
  hold(false);
  if (unit_) end_at_target();
  unit_.reset();
  listen_as_needed();
  move->state = state;
  move->message = why;
  move->updated = server_.now();
  want_no_more(*move);
}

// Whether what we released has arrived; and, where we lead no more, whether it is in the log at
// all.
void SlotMoves::follow_release() {
  if (!unit_ || unit_->phase != Unit::Phase::releasing) return;
  const cluster::Topology& topology = node_.topology();
  if (topology.handed_over(node_.own_group()) > unit_->number.version) {
    const bool gone = std::ranges::none_of(unit_->slots, [&](const uint16_t slot) {
      return topology.owner(slot) == node_.own_group();
    });
    return gone ? finish_unit() : fail("the target did not adopt the slots");
  }
  const auto& released = ledger().released;
  if (behind_ || (released && released->number == unit_->number &&
                  !cluster::is_over(*released, node_.topology(), node_.own_group())))
    return;
  fail(unit_->lost ? "this node leads no more" : "the target's group is gone");
}

// What is released is decided by the log.
void SlotMoves::lose_lead() {
  hold(false);
  if (unit_ && unit_->phase == Unit::Phase::releasing)
    unit_->lost = true;
  else if (current())
    fail("this node leads no more");
  listen_as_needed();
}

void SlotMoves::finish_unit() {
  hold(false);
  SlotMove& move = *current();
  for (uint16_t slot : unit_->slots) wanted_.reset(slot);
  move.slots_done += unit_->slots.size();
  move.state = SlotMove::State::copying;
  move.updated = server_.now();
  unit_.reset();
  server_.host().loop.post([] {});  // a turn, for the next one
  if (move.slots_done < move.slots_total) return;
  move.state = SlotMove::State::done;
  log_move(move, fmt::format("is complete: {} slots, {} keys; writes waited for {} ms at most",
                             move.slots_done, move.keys_sent, move.hold_ms));
}

}  // namespace quoll::server
