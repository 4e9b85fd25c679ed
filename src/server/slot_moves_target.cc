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

void SlotMoves::serve(Question question, NodeIndex from, Bytes body, NodeBus::OnAnswer answer) {
  if (!leads()) return answer(Error{"the target does not lead its group"});
  if (!node_.group()->may_commit()) return answer(Error{"the target's group has no quorum"});
  switch (question) {
    case Question::slot_drop:
      return clear(from, body, std::move(answer));
    case Question::slot_keys:
      if (auto done = install(from, body); !done) return answer(Error{done.error()});
      return answer_when_committed(std::move(answer));
    case Question::slot_count:
      if (const std::string wrong = count_keys(from, body); !wrong.empty())
        return answer(Error{wrong});
      return answer(std::string());
    default:
      return adopt(body, std::move(answer));
  }
}

void SlotMoves::answer_when_committed(NodeBus::OnAnswer answer) {
  settling_.push_back({node_.core()->last().index, std::move(answer)});
}

//   number8 begins1 slot2 ...
// What is left of a move that did not come to its end goes, a piece in every turn.
void SlotMoves::clear(NodeIndex from, Bytes body, NodeBus::OnAnswer answer) {
  FieldReader in(body);
  uint64_t number = 0;
  uint8_t begins = 0;
  if (!in.number(number) || !in.number(begins)) return answer(Error{"this names no slots"});
  std::vector<uint16_t> slots;
  for (uint16_t slot; in.number(slot);) {
    const GroupNumber owner = slot < kSlots ? node_.topology().owner(slot) : kNoGroup;
    if (owner == kNoGroup || owner == node_.own_group() ||
        owner != cluster::group_of(node_.topology(), from))
      return answer(Error{fmt::format("slot {} is not the source's, as far as known here", slot)});
    const auto known = coming_.find(slot);
    if (known != coming_.end() && known->second.from == from && known->second.number > number)
      return answer(Error{"this comes too late"});
    slots.push_back(slot);
  }
  for (const uint16_t slot : slots) coming_[slot] = {from, number, false};
  clearing_.push_back({std::move(slots), number, begins != 0, std::move(answer)});
}

void SlotMoves::clear_some() {
  if (clearing_.empty() || !leads()) return;
  const base::Nanos end = server_.host().clock.steady() + kMoveBudget;
  while (!clearing_.empty()) {
    Clearing& first = clearing_.front();
    for (const uint16_t slot : first.slots)
      if (coming_.count(slot) && !drop_keys(slot, end)) return server_.host().loop.post([] {});
    for (const uint16_t slot : first.slots) {
      const auto known = coming_.find(slot);
      if (known == coming_.end() || known->second.number != first.number) continue;
      if (first.begins)
        known->second.begun = true;
      else
        coming_.erase(known);
    }
    NodeBus::OnAnswer answer = std::move(first.answer);
    clearing_.pop_front();
    answer_when_committed(std::move(answer));
  }
}

bool SlotMoves::comes(unsigned slot, NodeIndex from, uint64_t number) const {
  const auto known = coming_.find(static_cast<uint16_t>(slot));
  return known != coming_.end() && known->second.begun && known->second.from == from &&
         known->second.number == number;
}

//   number8, then per key: size4 key deadline8 size4 payload; no payload: it is gone
Result<> SlotMoves::install(NodeIndex from, Bytes body) {
  FieldReader in(body);
  uint64_t number = 0;
  if (!in.number(number)) return Error{"these are no keys"};
  while (!in.empty()) {
    Bytes key, payload;
    base::Millis deadline = 0;
    if (!in.bytes(key) || !in.number(deadline) || !in.bytes(payload))
      return Error{"these are no keys"};
    if (!comes(base::key_slot(key), from, number))
      return Error{"the target does not know of this move: it started anew, perhaps"};
    if (payload.empty()) {
      run({"DEL", key});
      continue;
    }
    const std::string until = std::to_string(deadline == store::kNoDeadline ? 0 : deadline);
    run({"RESTORE", key, until, payload, "REPLACE", "ABSTTL"});
  }
  return {};
}

//   number8, then per slot: slot2 keys8
// Both sides have the same number of keys in each slot; else why not.
std::string SlotMoves::count_keys(NodeIndex from, Bytes body) const {
  FieldReader in(body);
  uint64_t number = 0, keys = 0;
  uint16_t slot = 0;
  if (!in.number(number)) return "these are no slots";
  while (in.number(slot) && in.number(keys)) {
    if (!comes(slot, from, number))
      return "the target does not know of this move: it started anew, perhaps";
    const uint64_t here = server_.store().keys_in_slot(0, slot);
    if (here != keys)
      return fmt::format("slot {} has {} keys at its source and {} at its target", slot, keys,
                         here);
  }
  return {};
}

// Slots that have become ours came; those that went elsewhere leave what they have here.
void SlotMoves::forget_coming() {
  for (auto it = coming_.begin(); it != coming_.end();) {
    const GroupNumber owner = node_.topology().owner(it->first);
    if (owner == cluster::group_of(node_.topology(), it->second.from)) {
      ++it;
      continue;
    }
    if (owner != node_.own_group()) record_.dropping.insert(it->first);
    it = coming_.erase(it);
  }
}

// Answered once the topology says so here, on disk: who starts anew must not take them for others'.
void SlotMoves::adopt(Bytes body, NodeBus::OnAnswer answer) {
  cluster::SlotRanges slots;
  FieldReader in(body);
  for (uint16_t slot; in.number(slot);)
    if (slot < kSlots) slots.push_back({slot, slot});
  node_.make_so(
      [this, slots](const cluster::Topology& now) {
        return cluster::next_to_hand_over(now, node_.index(), slots);
      },
      [this, answer = std::move(answer), alive = alive_](Result<> adopted) {
        if (!*alive) return;
        if (!adopted) return answer(Error{adopted.error()});
        node_.save_then([answer] { answer(std::string()); });
      });
}

}  // namespace quoll::server
