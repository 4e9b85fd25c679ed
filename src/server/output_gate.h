// OutputGate: decides when output caused by a commit may leave the process. Every reply, keyspace
// event, invalidation and published message that a commit caused carries its Ticket; a session
// sends its bytes only up to the first ticket that is not yet open. Sessions have no other way to
// send.
//
//   need      opened by
//   nothing   at once
//   fsynced   the append-only file reporting a position as durable
//   replicas  enough replicas acknowledging a position
//   members   a write quorum of the group
//   leadership  a read quorum of the group having confirmed that this server leads
//   stored_by, synced_by, confirmed_by   so many members, as a client asked; see
//               group_consistency.h
//
// Cost: a commit that needs nothing is never queued anywhere.
#pragma once

#include <array>
#include <functional>

#include "cluster/group_types.h"
#include "store/commit.h"

namespace quoll::server {

enum class Need : uint8_t { nothing, fsynced, replicas, members, leadership, by_count };
// Behind by_count: three for every number of members.
inline Need by_count(size_t members, size_t which) {
  return static_cast<Need>(static_cast<size_t>(Need::by_count) + 3 * members + which);
}
inline Need stored_by(size_t members) { return by_count(members, 0); }
inline Need synced_by(size_t members) { return by_count(members, 1); }
inline Need confirmed_by(size_t members) { return by_count(members, 2); }
constexpr size_t kNeeds = static_cast<size_t>(Need::by_count) + 3 * (cluster::kMembersMax + 1);

struct Ticket {
  store::Seq seq = 0;
  Need need = Need::nothing;

  bool operator==(const Ticket&) const = default;
};

class OutputGate {
 public:
  // What commits need from now on. Tickets already given keep their need.
  void require(Need need) { required_ = need; }
  // Whether commits need anything now.
  bool demanding() const { return required_ != Need::nothing; }
  Ticket ticket(store::Seq seq) const { return {seq, seq ? required_ : Need::nothing}; }
  bool open(const Ticket& ticket) const {
    return ticket.need == Need::nothing || reached_[static_cast<size_t>(ticket.need)] >= ticket.seq;
  }
  // Positions only grow. Tells the server that held output may go.
  void advance(Need need, store::Seq seq) {
    store::Seq& reached = reached_[static_cast<size_t>(need)];
    if (seq <= reached) return;
    reached = seq;
    if (on_advance_) on_advance_();
  }
  void on_advance(std::function<void()> told) { on_advance_ = std::move(told); }

 private:
  Need required_ = Need::nothing;
  std::array<store::Seq, kNeeds> reached_{};
  std::function<void()> on_advance_;
};

}  // namespace quoll::server
