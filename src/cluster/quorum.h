// Quorums: how many members must agree, so that whatever was promised is known to every later
// leader.
//
//   W   have an entry before it is committed
//   R   say that the leader still leads before a read is answered
//   Qe  vote for a leader:  max(N/2 + 1, N - min(W, R) + 1)
//
// Qe + W > N: a new leader's voters include one that has the entry. Qe + R > N: a confirmed read is
// older than any newer leader. 2 Qe > N: one leader per epoch. (Flexible Paxos, Howard et al. 2016;
// design notes of the cluster, section 1.)
//
// Pure.
#pragma once

#include <algorithm>
#include <span>

#include "base/result.h"
#include "cluster/group_types.h"

namespace quoll::cluster {

inline unsigned election_quorum(size_t members, unsigned write, unsigned read) {
  auto n = static_cast<unsigned>(members);
  return std::max(n / 2 + 1, n - std::min(write, read) + 1);
}

// Refuses what could lose acknowledged writes or show old data, with the reason.
inline base::Result<> check_quorums(size_t members, unsigned w, unsigned r, Durability durability) {
  const auto n = static_cast<unsigned>(members);
  if (w < 1 || w > n) return base::Error{"the write quorum must be between 1 and the members"};
  if (r < 1 || r > n) return base::Error{"the read quorum must be between 1 and the members"};
  if (w + r <= n)
    return base::Error{
        "write and read quorum together must exceed the members: a read could miss a write"};
  if (n > 1 && w < 2)
    return base::Error{
        "a write quorum of 1 keeps acknowledged writes on one member only: its end would lose "
        "them"};
  if (n > 1 && w == n && durability == Durability::memory)
    return base::Error{
        "a write quorum of all members needs cluster-durability fsync: with memory any failure "
        "would stop writes without making them safer"};
  return {};
}
inline base::Result<> check_quorums(const GroupConfig& group) {
  return check_quorums(group.members, group.write_quorum, group.read_quorum, group.durability);
}

// The greatest value that at least `quorum` of the values reach; 0 when there are fewer. Reorders.
template <class Number>
Number reached_by(std::span<Number> values, unsigned quorum) {
  if (values.size() < quorum || quorum == 0) return 0;
  std::ranges::nth_element(values, values.begin() + (quorum - 1), std::greater<>{});
  return values[quorum - 1];
}

}  // namespace quoll::cluster
