// Forwarding: commands of clients whose keys are other nodes', for clients that know no cluster.
//
//   cluster-routing proxy       a command of another node's slot is run there, and its reply handed
//                               back in its place
//   cluster-cross-slot fanout   MGET MSET DEL EXISTS UNLINK TOUCH of several slots are run slot by
//                               slot, here and there, and their replies put together
//
//   client -> Session (waits) -> Question::run -> node that leads the slot -> InnerRun -> reply
//
// At most one hop: a node never hands on what a node asked it to run. It answers MOVED, TRYAGAIN or
// CLUSTERDOWN, as to clients; then nothing ran, we learn from it, and ask who has the slot then,
// here included: a slot on its way is waited for as long as kForwardPatienceMs, and of other
// answers kForwardFailures are one too many. When a connection ends behind a write, nobody knows
// whether that ran: the reply is -UNCERTAIN, and it is not tried again. What only reads is.
//
// A command that waits for keys (BLPOP) is not left there, where it might take what its client is
// not there for any more: the other node says at once that it would wait, and is asked again every
// kForwardWaitMs until the timeout. A transaction goes as a whole, with EXEC.
//
// What is not forwarded answers MOVED as without: WATCH and what follows it, SSUBSCRIBE, MIGRATE,
// transactions with commands that name no keys, commands of more than kForwardedLinesBytesMax, and
// all commands of connections that track keys or ask for more consistency than the group's.
//
// The client's user must be known to both nodes, and each of them asks its own rules. A node runs
// commands for others if it is in proxy mode itself and strangers could not ask: there is a
// cluster-secret-file, or `default` needs no password.
//
// Bounds: kForwardedAtOnce questions per node are under way, others wait their turn; all commands
// together have kForwardedBytesMax. Cost: two encodings and a turn on either side.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster/fan_out.h"
#include "cluster/node_address.h"
#include "cluster/node_bus.h"
#include "cluster/run_frames.h"
#include "server/session.h"
#include "server/slot_routes.h"

namespace quoll::server {

class ClusterNode;
class Server;

constexpr size_t kForwardedAtOnce = 512;  // of kAskedMax
constexpr size_t kForwardedBytesMax = 256 * 1024 * 1024;
constexpr size_t kForwardedLinesBytesMax = 32 * 1024 * 1024;  // of one command: larger are not
constexpr base::Millis kForwardMs = 60'000;                   // then the node has not answered
constexpr base::Millis kForwardAgainMs = 20;
constexpr base::Millis kForwardPatienceMs = 2000;
constexpr unsigned kForwardFailures = 2;
constexpr base::Millis kForwardWaitMs = 20;

class Forwarding {
 public:
  Forwarding(Server& server, ClusterNode& node);
  ~Forwarding();

  // What becomes of a command that, by its route, does not run here: nothing of this, its route's
  // error; it may be queued, or says itself that it cannot run; the session waits for its reply.
  enum class Admission : uint8_t { none, run, taken };
  Admission admit(Session& session, Command& command, Args args, Route route, const SlotUse& use);
  bool waits(SessionId session) const { return requests_.count(session) > 0; }
  // CLIENT UNBLOCK, of a command that waits for keys; false: it is no such command, or not yet.
  bool unblock(SessionId session, Bytes error);

  // Question::run; `body` behind the id of the cluster.
  void serve(const cluster::NodeBus::Asked& asked, Bytes body, cluster::NodeBus::OnAnswer answer);
  void tick();
  // Since the start: commands of our clients that others were asked to run, and those that we ran.
  uint64_t forwarded() const { return forwarded_; }
  uint64_t served() const { return served_; }

 private:
  // What goes to one slot.
  struct Part {
    SlotUse use;
    cluster::CommandLines lines;
    std::string reply;  // or the error of the last try
    bool done = false;
  };
  struct Ask {
    cluster::NodeIndex node;
    std::vector<size_t> parts;
    bool open = true;
    bool sent = false;
  };
  struct Request {
    uint64_t number = 0;
    SessionId session = 0;
    const Command* command = nullptr;
    uint8_t flags = 0;
    std::string user;
    std::vector<Part> parts;
    std::optional<cluster::FanOut> fan;
    std::vector<Ask> asks;  // of this try
    size_t open = 0;
    size_t bytes = 0;
    unsigned failures = 0;
    bool failed = false;  // a part of this try has
    bool writes = false;
    base::Millis until = 0;       // a slot on its way is waited for
    base::Millis wait_until = 0;  // for keys; 0: it does not
    bool waits = false;           // nothing was there in this try
    std::string ended_with;  // by CLIENT UNBLOCK, while it was asked for; "": as by its timeout
    std::string reply;
  };
  struct Lane {  // to one node
    size_t asked = 0;
    bool sending = false;
    std::deque<std::pair<SessionId, std::pair<uint64_t, size_t>>> waiting;  // number, place in asks
  };

  bool proxies() const;
  bool may_queue(const Session& session, const Command& command, const SlotUse& use) const;
  bool take(Session& session, Command& command, Args args, Route route, const SlotUse& use);
  bool may_forward(const Session& session, const Command& command) const;
  bool take_transaction(const Session& session, Request& request) const;
  bool cut(Request& request, const Command& command, Args args) const;
  void begin(Session& session, Request request);
  void step(Request& request);
  void place(Request& request, size_t part, std::map<cluster::NodeIndex, size_t>& ask_of);
  void send(Request& request, size_t ask);
  void send_next(cluster::NodeIndex node);
  void run_here(const Request& request, size_t ask, std::string body);
  void answered(SessionId session, uint64_t number, size_t ask,
                const base::Result<std::string>& answer);
  void take_answer(Request& request, const Ask& ask, const cluster::RunAnswer& answer);
  void take_replies(Request& request, const Ask& ask, Bytes replies);
  void take_refusal(Request& request, const Ask& ask);
  void lost(Request& request, const Ask& ask, const std::string& why);
  void settle(Request& request);
  void step_later(const Request& request, base::Millis after);
  void finish(Request& request);
  void reply(Session& session);
  Request* find(SessionId session, uint64_t number);
  base::Millis now() const;

  Server& server_;
  ClusterNode& node_;
  std::map<SessionId, Request> requests_;
  std::map<cluster::NodeIndex, Lane> lanes_;
  size_t bytes_ = 0;
  uint64_t numbers_ = 0;
  uint64_t forwarded_ = 0;
  uint64_t served_ = 0;
  bool beginning_ = false;  // the session's command runs still: its reply comes later
  mutable std::vector<KeyArg> keys_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::server
