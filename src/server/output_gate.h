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
// Cost: a commit that needs nothing is never queued anywhere. A session waits for one ticket at a
// time, the first it has; an advance touches only the sessions whose ticket it opens.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <vector>

#include "cluster/group_types.h"
#include "store/commit.h"

namespace quoll::server {

class Session;

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
    return ticket.need == Need::nothing || line(ticket.need).reached >= ticket.seq;
  }
  // Positions only grow. Sessions whose tickets open are told.
  void advance(Need need, store::Seq seq) {
    Line& line = lines_[static_cast<size_t>(need)];
    line.reached = std::max(line.reached, seq);
    while (!line.waiting.empty() && line.waiting.front().seq <= line.reached) {
      std::ranges::pop_heap(line.waiting, kLaterFirst);
      Session* session = line.waiting.back().session;
      line.waiting.pop_back();
      if (session) on_open_(*session);
    }
  }
  // The session is told once, when the ticket opens; it is not open yet.
  void wait(Session& session, const Ticket& ticket) {
    std::vector<Waiting>& waiting = lines_[static_cast<size_t>(ticket.need)].waiting;
    waiting.push_back({ticket.seq, &session});
    std::ranges::push_heap(waiting, kLaterFirst);
  }
  // The session ends: it is not told any more.
  void forget(const Session& session) {
    for (Line& line : lines_)
      for (Waiting& one : line.waiting)
        if (one.session == &session) one.session = nullptr;
  }
  void on_open(std::function<void(Session&)> told) { on_open_ = std::move(told); }

 private:
  struct Waiting {
    store::Seq seq;
    Session* session;  // null: it ended
  };
  struct Line {
    store::Seq reached = 0;
    std::vector<Waiting> waiting;  // a heap, the first to open at its front
  };
  static constexpr auto kLaterFirst = [](const Waiting& a, const Waiting& b) {
    return a.seq > b.seq;
  };

  const Line& line(Need need) const { return lines_[static_cast<size_t>(need)]; }

  Need required_ = Need::nothing;
  std::array<Line, kNeeds> lines_;
  std::function<void(Session&)> on_open_;
};

}  // namespace quoll::server
