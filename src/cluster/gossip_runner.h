// GossipRunner: the gossip of a node at work on the side loop. It gives GossipCore the time, the
// datagrams and the age of the main loop, sends what the core says, and exchanges letters with the
// main loop.
//
//   main loop                          side loop
//   orders  --- mailbox, ring ----->   core: set_members, move, leave ...
//   turned  --- atomic ------------>   core: set_loop_age
//   reports <-- mailbox, ring ------   core: take(): what changed, what the main loop shall do
//                                      core <-> UDP, one timer
//
// A report that only says when nodes were asked and when they answered does not ring: the main loop
// finds it when it looks.
//
// Invariants: orders of one kind replace each other, and so do reports on one node; neither mailbox
// grows with time, only with the number of members. Nothing but GossipDesk is shared.
// Cost: per datagram one lock and an update of some 60 bytes.
#pragma once

#include <atomic>
#include <map>
#include <set>

#include "base/mailbox.h"
#include "cluster/gossip_cipher.h"
#include "cluster/gossip_core.h"
#include "host/host.h"

namespace quoll::cluster {

constexpr base::Millis kWaitMinMs = 1;        // of the timer: a core that is always due may wait
constexpr base::Millis kClockLookMs = 1000;   // between two comparisons of the clocks
constexpr size_t kTcpAnswersWaitingMax = 64;  // more are no answers to what is asked now

// What the main loop wants. Empty parts: nothing.
struct GossipOrders {
  struct Members {
    std::vector<GossipMember> members;
    TopologyVersion version;
  };
  std::optional<Members> members;
  std::optional<NodeAddress> address;  // where we are reached now
  bool leave = false;
  std::optional<std::vector<std::string>> secrets;
  std::vector<NodeIndex> tcp_answered;
};

// What the side loop has to say. Maps hold what changed since the last report.
struct GossipReport {
  struct Seen {
    GossipView view;
    NodeIndex from = kNoNode;  // who said that its state is this; kNoNode: its state is as it was
  };
  std::map<NodeIndex, Seen> nodes;
  std::map<NodeIndex, NodeAddress> try_tcp;
  std::set<NodeIndex> udp_blocked;
  std::optional<GossipActions::Pull> pull;
  std::optional<NodeIndex> compare;
  std::optional<TopologyVersion> forgotten;
  // As of now.
  Incarnation incarnation = 0;  // our own
  unsigned health = 0;
  std::optional<base::Millis> clock_ahead;
  GossipCore::Counts counts;
};

// What the two loops share.
struct GossipDesk {
  base::Mailbox<GossipOrders> orders;
  base::Mailbox<GossipReport> reports;
  std::atomic<base::Nanos> turned{0};  // when the main loop last said that it turns
};

struct GossipSetup {
  GossipConfig core;
  uint64_t seed = 0;
  std::vector<std::string> secrets;  // see GossipCipher
  std::string cluster_id;
  std::vector<host::Endpoint> binds;  // where datagrams are received; at least one
};

class GossipRunner final : public host::SideWork {
 public:
  // Desk and side loop outlive it.
  GossipRunner(GossipSetup setup, GossipDesk& desk, host::SideLoop& side);
  ~GossipRunner() override;

  base::Result<> begin(host::SideHost& host) override;
  void rung() override { turn(); }
  void end() override;

 private:
  base::Millis now() const { return host_->clock.steady() / base::kNanosPerMilli; }
  void turn();
  void obey(GossipOrders orders);
  void heard(const host::Endpoint& from, base::Bytes bytes);
  void look_at_main_loop(base::Millis now);
  void settle();
  void report(const GossipActions& actions);
  void note(const GossipActions& actions, GossipReport& report) const;
  void wait();

  GossipSetup setup_;
  GossipDesk& desk_;
  host::SideLoop& side_;
  GossipCipher cipher_;
  host::SideHost* host_ = nullptr;
  std::unique_ptr<GossipCore> core_;
  host::TimerId timer_ = 0;
  base::Millis timer_at_ = 0;
  std::optional<base::Millis> clock_ahead_;
  base::Millis clock_looked_at_ = 0;
};

}  // namespace quoll::cluster
