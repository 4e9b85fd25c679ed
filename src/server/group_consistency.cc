#include "server/group_consistency.h"

#include <algorithm>

#include "server/key_versions.h"

namespace quoll::server {

namespace {

Consistency stronger(const Consistency& asked, const Consistency& rule) {
  return {.write = std::max(asked.write, rule.write),
          .read = std::max(asked.read, rule.read),
          .fsync = asked.fsync || rule.fsync,
          .timeout_ms = asked.timeout_ms ? asked.timeout_ms : rule.timeout_ms};
}

}  // namespace

void GroupConsistency::set_rules(const cluster::KeyspaceRules* rules) {
  if (rules == std::exchange(rules_, rules) || rules) return;
  for (auto& [session, asked] : asked_) asked.by_rules = {};
  std::erase_if(asked_, [](const auto& one) {
    return !one.second.next && one.second.lasting == Consistency{};
  });
}

Consistency GroupConsistency::of_key(base::Bytes key, const Consistency& more) const {
  const cluster::KeyspaceRule* rule = rules_ ? rules_->find(key) : nullptr;
  if (!rule) return more;
  Consistency beyond{.fsync = rule->fsync, .timeout_ms = rule->timeout_ms};
  const unsigned write = cluster::members_meant(rule->write, group_.members);
  const unsigned read = cluster::members_meant(rule->read, group_.members);
  if (write > group_.write_quorum) beyond.write = write;
  if (read > group_.read_quorum || (group_.lease && read > 0)) beyond.read = read;
  return stronger(more, beyond);
}

void GroupConsistency::command_begins(SessionId session, const Consistency& by_rules) {
  if (by_rules == Consistency{} && !asked_.contains(session)) return;
  asked_[session].by_rules = by_rules;
  drop_if_empty(session);
}

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
  return stronger(at->second.next.value_or(at->second.lasting), at->second.by_rules);
}

void GroupConsistency::command_is_over(SessionId session) {
  const auto at = asked_.find(session);
  if (at == asked_.end()) return;
  at->second.next.reset();
  drop_if_empty(session);
}

void GroupConsistency::drop_if_empty(SessionId session) {
  const auto at = asked_.find(session);
  const Asked& asked = at->second;
  if (!asked.next && asked.lasting == Consistency{} && asked.by_rules == Consistency{})
    asked_.erase(at);
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
