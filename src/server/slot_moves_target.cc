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
    if (!wrong.empty()) return answer(Error{wrong});
    return syncing_.push_back({node_.group()->want_all_on_disks(), std::move(answer)});
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

void SlotMoves::answer_settled() {
  std::vector<NodeBus::OnAnswer> settled;
  const auto take = [&](std::deque<Settling>& from, const auto& is_settled) {
    for (; !from.empty() && is_settled(from.front().index); from.pop_front())
      settled.push_back(std::move(from.front().answer));
  };
  take(settling_, [this](cluster::Index at) { return at <= node_.core()->commit(); });
  take(syncing_, [this](cluster::Index at) { return is_on_disks(at); });
  for (const NodeBus::OnAnswer& answer : settled) answer(std::string());
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
      adoption_of(over.from, over.number)
          .waiting.push_back({std::move(over.answer), steady_ms() + kAdoptAnswerMs});
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
  std::erase_if(evicted_, [&](const std::string& key) {
    return std::ranges::binary_search(arrival.slots, base::key_slot(key));
  });
  listen_as_needed();
  return true;
}

// Of slots that come: their source has them still.
void SlotMoves::note_evicted(const store::Commit& commit) {
  for (const store::Touch& touch : commit.touches) {
    if (touch.change != store::Change::evicted || touch.db != 0) continue;
    const unsigned slot = base::key_slot(touch.key);
    for (const auto& [from, number] : begun_)
      if (comes(slot, from, number)) evicted_.emplace(touch.key);
  }
}

void SlotMoves::forget_evicted() {
  std::erase_if(begun_, [this](const auto& one) {
    const auto unit = ledger().coming.find(one.first);
    return unit == ledger().coming.end() || unit->second.number != one.second;
  });
  if (begun_.empty()) evicted_.clear();
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
    if (unit.adopting) continue;
    const base::Millis heard = heard_.try_emplace(from, now).first->second;
    if (now - heard >= kGoneMs) call_off(from, node_.own_group(), unit.number);
    base::Millis& asked = asked_[from];
    const NodeIndex source = node_.leader_node(from);
    if (now - std::max(heard, asked) < kSilentMs || source == cluster::kNoNode) continue;
    asked = now;
    std::string body;
    cluster::FieldWriter(body).number(unit.number.version).number(unit.number.count);
    node_.ask(source, Question::slot_unit, body,
              [this, from = from, number = unit.number,
               alive = alive_](const Result<std::string>& answer) {
                if (!*alive || epoch_ == 0 || !answer) return;
                heard_[from] = steady_ms();
                if (answer.value() != kOver) return;
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
    if (!evicted_.empty()) evicted_.erase(std::string(key));
    const std::string until = std::to_string(deadline == store::kNoDeadline ? 0 : deadline);
    const Result<> done = payload.empty()
                              ? run({"DEL", key})
                              : run({"RESTORE", key, until, payload, "REPLACE", "ABSTTL"});
    if (!done) return done;
  }
  return {};
}

//   per slot: slot2 keys8
// Both sides have the same number of keys in each slot, but for those that were evicted here; else
// why not.
std::string SlotMoves::count_keys(GroupNumber from, const UnitNumber& number, Bytes counts) const {
  FieldReader in(counts);
  uint64_t keys = 0;
  uint16_t slot = 0;
  std::map<uint16_t, uint64_t> evicted;
  for (const std::string& key : evicted_) ++evicted[base::key_slot(key)];
  while (in.number(slot) && in.number(keys)) {
    if (!comes(slot, from, number)) return std::string(kNotBegun);
    const uint64_t here = server_.store().keys_in_slot(0, slot) + evicted[slot];
    if (here != keys)
      return fmt::format("slot {} has {} keys at its source and {} at its target", slot, keys,
                         here);
  }
  return {};
}

// --- adoption ----------------------------------------------------------------------------------

SlotMoves::Adoption& SlotMoves::adoption_of(GroupNumber from, const UnitNumber& number) {
  Adoption& adoption = adoptions_[from];
  if (adoption.at != 0 && adoption.number == number) return adoption;
  for (const Adoption::Waiting& one : std::exchange(adoption.waiting, {}))
    one.answer(Error{std::string(kNotBegun)});
  adoption = {};
  adoption.number = number;
  adoption.at = node_.group()->want_all_on_disks();
  return adoption;
}

// What the ledger says is being adopted, whoever led us when its source said that it may: until the
// topology says so here.
void SlotMoves::go_on_adopting() {
  if (behind_) return;
  const base::Millis now = steady_ms();
  const cluster::Topology& topology = node_.topology();
  for (const auto& [from, unit] : ledger().coming)
    if (unit.adopting && topology.handed_over(from) <= unit.number.version)
      adoption_of(from, unit.number);
  std::vector<std::pair<NodeBus::OnAnswer, Result<std::string>>> answers;
  for (auto it = adoptions_.begin(); it != adoptions_.end();) {
    auto& [from, adoption] = *it;
    const auto unit = ledger().coming.find(from);
    const bool over = topology.handed_over(from) > adoption.number.version;
    const bool goes_on = !over && unit != ledger().coming.end() && unit->second.adopting &&
                         unit->second.number == adoption.number;
    std::erase_if(adoption.waiting, [&](Adoption::Waiting& one) {
      if (goes_on && now < one.until) return false;
      if (over)
        answers.emplace_back(std::move(one.answer), std::string());
      else if (goes_on)
        answers.emplace_back(std::move(one.answer),
                             Error{std::string(cluster::kSoon) + adoption.error});
      else
        answers.emplace_back(std::move(one.answer), Error{std::string(kNotBegun)});
      return true;
    });
    if (!goes_on) {
      it = adoptions_.erase(it);
      continue;
    }
    if (!adoption.asking && now >= adoption.again_at && is_on_disks(adoption.at)) {
      adoption.asking = true;
      adopt(from, unit->second.slots);
    }
    ++it;
  }
  for (const auto& [answer, what] : answers) answer(what);
}

void SlotMoves::adopt(GroupNumber from, const cluster::SlotList& slots) {
  const UnitNumber number = adoptions_[from].number;
  node_.make_so(
      [this, own = node_.own_group(), from, decided = number.version,
       slots](const cluster::Topology& now) -> cluster::NextStep {
        if (cluster::group_of(now, node_.index()) != own)
          return Error{"this node is in another group than the keys"};
        return cluster::next_to_hand_over(now, node_.index(), from, decided, slots);
      },
      [this, from, number, alive = alive_](const Result<>& adopted) {
        if (!*alive) return;
        const auto it = adoptions_.find(from);
        if (it == adoptions_.end() || it->second.number != number) return;
        it->second.asking = false;
        it->second.again_at = steady_ms() + kAdoptAgainMs;
        it->second.error = adopted ? std::string() : adopted.error();
        server_.host().loop.post([] {});  // a turn, to answer in
      });
}

}  // namespace quoll::server
