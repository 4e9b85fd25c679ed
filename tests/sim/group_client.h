// GroupClient: a cluster client inside a world. It asks one thing at a time of whatever member it
// is connected to, goes where -MOVED points, tries another member when a connection is lost or
// there is no quorum, and tells apart, as its caller must:
//
//   done      a reply came, also one that is an error of the command itself
//   refused   nothing happened: -MOVED, -CLUSTERDOWN, -LOADING, ..., or it was never sent
//   unknown   it was sent, and -UNCERTAIN came, or the connection broke, or nothing in time
//
// It repeats nothing by itself: the caller asks anew, with other values, so that what was refused
// and happened all the same is found.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/history.h"
#include "tests/sim/resp_reply.h"
#include "tests/sim/sim_client.h"
#include "tests/sim/sim_world.h"

namespace quoll::sim {

class GroupClient {
 public:
  enum class Outcome : uint8_t { done, refused, unknown };
  // `invoked`: when it was sent; `returned`: kNever unless done.
  using Told = std::function<void(Outcome, const Reply&, const Interval&)>;
  using Commands = std::vector<std::vector<std::string>>;

  GroupClient(SimWorld& world, std::vector<NodeId> nodes, Nanos patience);
  ~GroupClient() { *alive_ = false; }
  GroupClient(const GroupClient&) = delete;

  // Commands sent at once, of which the last one's reply counts: one, or MULTI to EXEC. One at a
  // time. `told` is called from the world, never from here.
  void ask(Commands commands, Told told);
  bool asking() const { return static_cast<bool>(told_); }
  uint64_t redirections() const { return redirections_; }

 private:
  void connect_to(NodeId node);
  void connect_to_another();
  void watch(Nanos delay);
  bool look();  // false: it is settled
  void send();
  void heard(const std::string& raw);
  void settle(const std::string& error);
  void finish(Outcome outcome, const Reply& reply = {});

  SimWorld& world_;
  std::vector<NodeId> nodes_;
  Nanos patience_;
  NodeId node_ = kNobody;
  std::unique_ptr<SimClient> client_;
  Nanos connecting_since_ = 0;
  Commands commands_;
  Told told_;
  Nanos asked_at_ = 0;
  Interval interval_;
  bool sent_ = false;
  size_t replies_due_ = 0;
  std::string first_error_;  // of MULTI's commands: the reason for EXECABORT
  Reply reply_;
  uint64_t redirections_ = 0;
  uint64_t question_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::sim
