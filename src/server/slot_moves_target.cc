// SlotMoves: the target's part. What comes is written through the log of our group, so that its
// members have it before the slots are ours.
#include <fmt/format.h>

#include "cluster/group_frames.h"
#include "server/cluster_node.h"
#include "server/group.h"
#include "server/server.h"
#include "server/slot_moves.h"

namespace quoll::server {

using base::Bytes;
using base::Error;
using base::Result;
using cluster::FieldReader;
using cluster::GroupNumber;
using cluster::kNoGroup;
using cluster::NodeBus;
using cluster::NodeIndex;
using cluster::Question;
using cluster::SlotLedger;
using cluster::UnitNumber;

namespace {

constexpr Bytes kNotBegun = "the target does not know of this move: another node leads it, perhaps";

// In order, none twice.
bool take_slots_named(FieldReader& in, cluster::SlotList& slots) {
  for (uint16_t slot = 0; !in.empty(); slots.push_back(slot))
    if (!in.number(slot) || slot >= kSlots || (!slots.empty() && slots.back() >= slot))
      return false;
  return true;
}

}  // namespace

//   version8 count8, then
//   slot_drop    begins1 slot2 ...     it begins; or it has failed, and names no slots
//   slot_adopt   slot2 ...
//   slot_keys, slot_count              see below
void SlotMoves::serve(Question question, NodeIndex node, Bytes body, NodeBus::OnAnswer answer) {
  follow_lead();
  if (question == Question::slot_unit) return tell_of_unit(body, answer);
  if (epoch_ == 0) return answer(Error{"the target does not lead its group"});
  if (!node_.group()->may_commit()) return answer(Error{"the target's group has no quorum"});
  const GroupNumber from = cluster::group_of(node_.topology(), node);
  if (from == kNoGroup) return answer(Error{"the source has no group, as far as known here"});
  heard_[from] = steady_ms();
  FieldReader in(body);
  UnitNumber number;
  if (!in.number(number.version) || !in.number(number.count))
    return answer(Error{"this names no unit"});
  if (question == Question::slot_keys) {
    if (auto done = install(from, number, in.rest()); !done) return answer(Error{done.error()});
    return answer_when_committed(std::move(answer));
  }
  if (question == Question::slot_count) {
    const std::string wrong = count_keys(from, number, in.rest());
    return wrong.empty() ? answer(std::string()) : answer(Error{wrong});
  }
  Arrival arrival{Arrival::Word::released, from, number, {}, std::move(answer)};
  uint8_t begins = 0;
  if (question == Question::slot_drop) {
    if (!in.number(begins)) return arrival.answer(Error{"this says nothing of a unit"});
    arrival.word = begins ? Arrival::Word::begins : Arrival::Word::fails;
  }
  if (!take_slots_named(in, arrival.slots)) return arrival.answer(Error{"these are no slots"});
  if (arrivals_.size() >= kArrivalsMax)
    return arrival.answer(Error{std::string(cluster::kSoon) + "too many slots come at once"});
  arrivals_.push_back(std::move(arrival));
}

void SlotMoves::answer_when_committed(NodeBus::OnAnswer answer) {
  settling_.push_back({node_.core()->last().index, std::move(answer)});
}

// False: it has been answered.
bool SlotMoves::note_arrival(Arrival& arrival, SlotLedger& next) {
  using enum Arrival::Word;
  const cluster::Topology& topology = node_.topology();
  if (arrival.word == begins) {
    const auto begun = cluster::begin_coming(next, topology, node_.own_group(), arrival.from,
                                             arrival.number, arrival.slots);
    if (!begun) arrival.answer(Error{begun.error()});
    return begun.ok();
  }
  if (arrival.word == fails) {
    cluster::drop_coming(next, arrival.from, arrival.number);
    arrival.answer(std::string());
    return false;
  }
  if (topology.handed_over(arrival.from) > arrival.number.version) {
    arrival.answer(std::string());
    return false;
  }
  if (cluster::adopt_coming(next, arrival.from, arrival.number, arrival.slots)) return true;
  arrival.answer(Error{std::string(kNotBegun)});
  return false;
}

// What the log has committed.
void SlotMoves::serve_arrivals() {
  const base::Nanos end = server_.host().clock.steady() + kMoveBudget;
  for (size_t i = 0; i < arrivals_.size();) {
    const Arrival& one = arrivals_[i];
    if (one.at == 0 || node_.core()->commit() < one.at) {
      ++i;
      continue;
    }
    if (one.word == Arrival::Word::begins && !clear_for(one, end)) {
      server_.host().loop.post([] {});
      ++i;
      continue;
    }
    Arrival over = std::move(arrivals_[i]);
    arrivals_.erase(arrivals_.begin() + static_cast<ptrdiff_t>(i));
    if (over.word == Arrival::Word::released) {
      adopt(std::move(over));
    } else if (comes(over.slots.empty() ? 0 : over.slots.front(), over.from, over.number)) {
      answer_when_committed(std::move(over.answer));
    } else {
      over.answer(Error{"other slots of the source have come since"});
    }
  }
}

// What is left of a move that did not come to its end goes. False: time is over.
bool SlotMoves::clear_for(const Arrival& arrival, base::Nanos end) {
  const auto unit = ledger().coming.find(arrival.from);
  if (unit == ledger().coming.end() || unit->second.number != arrival.number) return true;
  for (const uint16_t slot : arrival.slots)
    if (!drop_keys(slot, end)) return false;
  begun_[arrival.from] = arrival.number;
  return true;
}

bool SlotMoves::comes(unsigned slot, GroupNumber from, const UnitNumber& number) const {
  const auto begun = begun_.find(from);
  const auto unit = ledger().coming.find(from);
  return begun != begun_.end() && begun->second == number && unit != ledger().coming.end() &&
         unit->second.number == number && !unit->second.adopting &&
         std::ranges::binary_search(unit->second.slots, static_cast<uint16_t>(slot));
}

// The leader on either side may be another one than when they began to come.
void SlotMoves::ask_about_units() {
  if (epoch_ == 0 || behind_) return;
  const base::Millis now = steady_ms();
  for (const auto& [from, unit] : ledger().coming) {
    base::Millis& heard = heard_.try_emplace(from, now).first->second;
    const NodeIndex source = node_.leader_node(from);
    if (unit.adopting || now - heard < kSilentMs || source == cluster::kNoNode) continue;
    heard = now;
    std::string body;
    cluster::FieldWriter(body).number(unit.number.version).number(unit.number.count);
    node_.ask(source, Question::slot_unit, body,
              [this, from = from, number = unit.number,
               alive = alive_](const Result<std::string>& answer) {
                if (!*alive || epoch_ == 0 || !answer || answer.value() != kOver) return;
                arrivals_.push_back({Arrival::Word::fails, from, number, {}, [](const auto&) {}});
                server_.host().loop.post([] {});
              });
  }
}

bool SlotMoves::may_still_come(unsigned slot, bool begins) {
  const auto [awaited, first] = awaited_.try_emplace(static_cast<uint16_t>(slot), 0);
  bool comes = begins || first;
  for (const auto& [from, unit] : ledger().coming)
    comes |= std::ranges::binary_search(unit.slots, static_cast<uint16_t>(slot));
  if (comes) awaited->second = steady_ms();
  if (steady_ms() - awaited->second < kAwaitMs) return true;
  awaited_.erase(awaited);
  return false;
}

//   per key: size4 key deadline8 size4 payload; no payload: it is gone
Result<> SlotMoves::install(GroupNumber from, const UnitNumber& number, Bytes keys) {
  FieldReader in(keys);
  while (!in.empty()) {
    Bytes key, payload;
    base::Millis deadline = 0;
    if (!in.bytes(key) || !in.number(deadline) || !in.bytes(payload))
      return Error{"these are no keys"};
    if (!comes(base::key_slot(key), from, number)) return Error{std::string(kNotBegun)};
    const std::string until = std::to_string(deadline == store::kNoDeadline ? 0 : deadline);
    const Result<> done = payload.empty()
                              ? run({"DEL", key})
                              : run({"RESTORE", key, until, payload, "REPLACE", "ABSTTL"});
    if (!done) return done;
  }
  return {};
}

//   per slot: slot2 keys8
// Both sides have the same number of keys in each slot; else why not.
std::string SlotMoves::count_keys(GroupNumber from, const UnitNumber& number, Bytes counts) const {
  FieldReader in(counts);
  uint64_t keys = 0;
  uint16_t slot = 0;
  while (in.number(slot) && in.number(keys)) {
    if (!comes(slot, from, number)) return std::string(kNotBegun);
    const uint64_t here = server_.store().keys_in_slot(0, slot);
    if (here != keys)
      return fmt::format("slot {} has {} keys at its source and {} at its target", slot, keys,
                         here);
  }
  return {};
}

// Answered once the topology says so here. Who leads us next has it from the log that they come.
void SlotMoves::adopt(Arrival arrival) {
  const auto answer = std::move(arrival.answer);
  node_.make_so(
      [this, own = node_.own_group(), from = arrival.from, decided = arrival.number.version,
       slots = std::move(arrival.slots)](const cluster::Topology& now) -> cluster::NextStep {
        if (cluster::group_of(now, node_.index()) != own)
          return Error{"this node is in another group than the keys"};
        return cluster::next_to_hand_over(now, node_.index(), from, decided, slots);
      },
      [answer](const Result<>& adopted) {
        if (!adopted) return answer(Error{adopted.error()});
        answer(std::string());
      });
}

}  // namespace quoll::server
