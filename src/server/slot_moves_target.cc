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
using cluster::NodeBus;
using cluster::Question;

void SlotMoves::serve(Question question, Bytes body, NodeBus::OnAnswer answer) {
  if (!leads()) return answer(Error{"the target does not lead its group"});
  if (!node_.group()->may_commit()) return answer(Error{"the target's group has no quorum"});
  switch (question) {
    case Question::slot_drop: {
      FieldReader in(body);
      for (uint16_t slot; in.number(slot);) drop_slot_keys(slot);
      return answer_when_committed(std::move(answer));
    }
    case Question::slot_keys:
      if (auto done = install(body); !done) return answer(Error{done.error()});
      return answer_when_committed(std::move(answer));
    case Question::slot_count:
      if (const std::string wrong = count_keys(body); !wrong.empty()) return answer(Error{wrong});
      return answer(std::string());
    default:
      return adopt(body, std::move(answer));
  }
}

void SlotMoves::answer_when_committed(NodeBus::OnAnswer answer) {
  settling_.push_back({node_.core()->last().index, std::move(answer)});
}

// What is left of a move that did not come to its end.
void SlotMoves::drop_slot_keys(unsigned slot) {
  if (slot >= kSlots || node_.has_slot(slot)) return;
  std::vector<std::string> keys;
  server_.store().visit_slot(0, slot, [&](const store::Entry* entry) {
    keys.emplace_back(entry->key());
    return true;
  });
  for (const std::string& key : keys) run({"DEL", key});
}

//   per key: size4 key deadline8 size4 payload; no payload: it is gone
Result<> SlotMoves::install(Bytes body) {
  FieldReader in(body);
  while (!in.empty()) {
    Bytes key, payload;
    base::Millis deadline = 0;
    if (!in.bytes(key) || !in.number(deadline) || !in.bytes(payload))
      return Error{"these are no keys"};
    if (node_.has_slot(base::key_slot(key))) return Error{"the slot is the target's already"};
    if (payload.empty()) {
      run({"DEL", key});
      continue;
    }
    const std::string until = std::to_string(deadline == store::kNoDeadline ? 0 : deadline);
    run({"RESTORE", key, until, payload, "REPLACE", "ABSTTL"});
  }
  return {};
}

// Both sides have the same number of keys in each slot; else why not.
std::string SlotMoves::count_keys(Bytes body) const {
  FieldReader in(body);
  uint16_t slot = 0;
  uint64_t keys = 0;
  while (in.number(slot) && in.number(keys)) {
    const uint64_t here = slot < kSlots ? server_.store().keys_in_slot(0, slot) : 0;
    if (here != keys)
      return fmt::format("slot {} has {} keys at its source and {} at its target", slot, keys,
                         here);
  }
  return {};
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
