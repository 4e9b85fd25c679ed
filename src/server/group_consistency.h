// GroupConsistency: what connections ask of their replies beyond the group's quorums (CLIENT
// CONSISTENCY), and until when they wait for it.
//
//   W n                a reply to a write waits until n members have its entry
//   DURABILITY fsync   until it is on the disks of as many members
//   R n                a reply to what wrote nothing waits until n members have confirmed, in a
//                      round that began behind it, that we lead
//   TIMEOUT ms         for so long, instead of cluster-write-timeout
//
// Keyspace rules (cluster/keyspace_rules.h) ask the same for the keys of their prefixes, whoever
// the client is; of what both ask for the stronger counts, and the connection's TIMEOUT.
//
// Only more than the group's settings can be asked: elections count on those. What the reply waits
// for comes on top of the group's own waits, so an entry that n members have is committed as well.
// Other outputs of a write (events, invalidations, messages) wait for the commit only.
//
//   hold ----> tickets at the gate (stored_by, synced_by, confirmed_by)     opened by advance()
//         `--> deadline                                                     due by take_late()
//
// Positions at the gate are tokens, epoch and index or round, so that they only grow.
// Cost: nothing for connections that ask for nothing but one test whether anybody does, or a rule.
#pragma once

#include <deque>
#include <optional>
#include <unordered_map>

#include "cluster/group_core.h"
#include "cluster/keyspace_rules.h"
#include "server/output_gate.h"
#include "server/session.h"

namespace quoll::server {

struct Consistency {
  unsigned write = 0;           // members; 0: the group's
  unsigned read = 0;            // members; 0: the group's
  bool fsync = false;           // whatever the group's durability
  base::Millis timeout_ms = 0;  // 0: the group's

  bool operator==(const Consistency&) const = default;
};

class GroupConsistency {
 public:
  explicit GroupConsistency(const cluster::GroupConfig& group) : group_(group) {}

  // Nobody asks for anything, so there is nothing to look at.
  bool idle() const { return asked_.empty() && late_.empty() && !rules_; }
  // nullptr: there are none. They stay where they are until others are set.
  void set_rules(const cluster::KeyspaceRules* rules);
  bool has_rules() const { return rules_ != nullptr; }
  // What the rule of the key asks for beyond what the group does, and `more`: of both the stronger.
  Consistency of_key(base::Bytes key, const Consistency& more) const;
  // What the rules of its keys ask for the command that comes to run now.
  void command_begins(SessionId session, const Consistency& by_rules);
  // What the connection asks for; `next`: of its next command only. Both are replaced as a whole.
  void ask(SessionId session, const Consistency& asked);
  void ask_once(SessionId session, const Consistency& next);
  Consistency of(SessionId session) const;
  // The same for the command that runs now, which is the next one.
  Consistency of_command(SessionId session) const;
  void command_is_over(SessionId session);
  void forget(SessionId session);

  // So many members must take entries from us before a write is worth beginning.
  unsigned members_needed(const Consistency& asked) const {
    return std::max(asked.write, group_.write_quorum);
  }
  // The ticket of a reply to a write that became the entry at this token, or to what wrote nothing
  // and is confirmed by this round's token; nothing: the group's own waits do.
  Ticket for_write(const Consistency& asked, uint64_t token) const;
  Ticket for_read(const Consistency& asked, uint64_t token) const;
  bool asks_of_reads(const Consistency& asked) const { return asked.read > 0; }

  // A reply waits for these until then.
  struct Late {
    SessionId session;
    base::Millis until;
    std::array<Ticket, 3> tickets;  // the group's, of the change and of the leadership; and ours
  };
  void wait(const Late& late) { late_.push_back(late); }
  // Those whose time is over; what is open is dropped.
  std::vector<Late> take_late(base::Millis now, const OutputGate& gate);
  // Whether the reply that has the ticket waits as its connection asked.
  bool waits(SessionId session, const Ticket& ticket) const;
  void forget_late() { late_.clear(); }
  // The positions that the members have reached, to the gate.
  void advance(const cluster::GroupCore& core, OutputGate& gate) const;

 private:
  struct Asked {
    Consistency lasting;
    std::optional<Consistency> next;
    Consistency by_rules;
  };
  void drop_if_empty(SessionId session);

  const cluster::GroupConfig& group_;
  const cluster::KeyspaceRules* rules_ = nullptr;
  std::unordered_map<SessionId, Asked> asked_;
  std::deque<Late> late_;
};

}  // namespace quoll::server
