#include "server/group_consistency.h"

#include <algorithm>

#include "server/key_versions.h"

namespace quoll::server {

void GroupConsistency::ask(SessionId session, const Consistency& asked) {
  asked_[session].lasting = asked;
  drop_if_empty(session);
}

void GroupConsistency::ask_once(SessionId session, const Consistency& next) {
  asked_[session].next = next;
}

Consistency GroupConsistency::of(SessionId session) const {
  const auto at = asked_.find(session);
  return at == asked_.end() ? Consistency{} : at->second.lasting;
}

Consistency GroupConsistency::of_command(SessionId session) const {
  const auto at = asked_.find(session);
  if (at == asked_.end()) return {};
  return at->second.next.value_or(at->second.lasting);
}

void GroupConsistency::command_is_over(SessionId session) {
  const auto at = asked_.find(session);
  if (at == asked_.end()) return;
  at->second.next.reset();
  drop_if_empty(session);
}

void GroupConsistency::drop_if_empty(SessionId session) {
  const auto at = asked_.find(session);
  if (!at->second.next && at->second.lasting == Consistency{}) asked_.erase(at);
}

void GroupConsistency::forget(SessionId session) { asked_.erase(session); }

Ticket GroupConsistency::for_write(const Consistency& asked, uint64_t token) const {
  const unsigned members = members_needed(asked);
  const bool fsync = asked.fsync && group_.durability == cluster::Durability::memory;
  if (fsync) return {token, synced_by(members)};
  if (members == group_.write_quorum) return {};
  return {token, stored_by(members)};
}

Ticket GroupConsistency::for_read(const Consistency& asked, uint64_t token) const {
  return {token, confirmed_by(asked.read)};
}

std::vector<GroupConsistency::Late> GroupConsistency::take_late(base::Millis now,
                                                                const OutputGate& gate) {
  std::vector<Late> due;
  std::erase_if(late_, [&](const Late& late) {
    const bool open =
        std::ranges::all_of(late.tickets, [&](const Ticket& ticket) { return gate.open(ticket); });
    if (!open && late.until > now) return false;
    if (!open) due.push_back(late);
    return true;
  });
  return due;
}

bool GroupConsistency::waits(SessionId session, const Ticket& ticket) const {
  return std::ranges::any_of(late_, [&](const Late& late) {
    return late.session == session && std::ranges::find(late.tickets, ticket) != late.tickets.end();
  });
}

void GroupConsistency::advance(const cluster::GroupCore& core, OutputGate& gate) const {
  auto token = [&](uint64_t position) { return token_of({core.epoch(), position}); };
  for (unsigned members = 2; members <= group_.members; ++members) {
    gate.advance(stored_by(members), token(std::min(core.stored_by(members), core.commit())));
    gate.advance(synced_by(members), token(std::min(core.synced_by(members), core.commit())));
    gate.advance(confirmed_by(members), token(core.confirmed_by(members)));
  }
}

}  // namespace quoll::server
